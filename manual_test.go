package main_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/control"
	"github.com/tiproxy/tiproxy/hook"
	"github.com/tiproxy/tiproxy/observe"
)

// manual writes the pages, and answers each as somebody reads it: without fonts,
// and in one line.
func manual(t *testing.T) (pages map[string]string) {
	t.Helper()
	dir := t.TempDir()
	out, err := prepare(dir, "tiproxy", []string{"manual", dir}, "SOURCE_DATE_EPOCH=1795000000").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pages = map[string]string{}
	for _, page := range []string{"tiproxy.7", "tiproxy.8", "tiproxy-inetd.8", "tiproxy.conf.5"} {
		text, err := os.ReadFile(filepath.Join(dir, page))
		must(t, err)
		if !strings.Contains(string(text), ` "2026-11-18" "tiproxy `) {
			t.Errorf("%s is not of the time of SOURCE_DATE_EPOCH:\n%.200s", page, text)
		}
		read := strings.NewReplacer(`\fB`, "", `\fI`, "", `\fR`, "", `\%`, "", `\-`, "-", `\(dq`, `"`, `\(aq`, "'", `\(ti`, "~").Replace(string(text))
		pages[page] = strings.Join(strings.Fields(read), " ")
	}
	return pages
}

// Whatever help knows stands in the manual.
func TestManualHasAllCommandsAndFlags(t *testing.T) {
	t.Parallel()
	page := manual(t)["tiproxy.8"]
	help := func(args ...string) string {
		stdout, stderr, status := steer(t, t.TempDir(), append(args, "--help")...)
		if status != 0 {
			t.Fatalf("%s --help: status %d, %s", args, status, stderr)
		}
		return stdout
	}
	flags := func(help string) {
		for _, flag := range regexp.MustCompile(`(?m)^ +(?:-\w, +)?(--\S+)(?: ([A-Z]\S*))?  `).FindAllStringSubmatch(help, -1) {
			if head := strings.TrimSpace(flag[1] + " " + flag[2]); !strings.Contains(page, head) {
				t.Errorf("the manual does not have the flag %s", head)
			}
		}
	}
	all := help()
	flags(all)
	_, list, _ := strings.Cut(all, "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	commands := strings.Split(list, "\n")
	if len(commands) < 10 {
		t.Fatalf("help has the commands %q", commands)
	}
	for _, line := range commands {
		name, short, _ := strings.Cut(strings.TrimSpace(line), " ")
		if usage := "tiproxy " + name; !strings.Contains(page, ".TP "+usage) || !strings.Contains(page, strings.TrimSpace(short)) {
			t.Errorf("the manual does not have %s", usage)
		}
		flags(help(name))
	}
	for _, status := range []string{"0 It was told", "1 It failed", "2 The command line", "78 The configuration"} {
		if !strings.Contains(page, ".TP "+status) {
			t.Errorf("the manual does not have the exit status %s", status)
		}
	}
}

func TestManualHasAllSettings(t *testing.T) {
	t.Parallel()
	page := manual(t)["tiproxy.conf.5"]
	for _, s := range config.Settings() {
		for _, part := range []string{".TP " + s.Key + "=" + s.Arg + " ", s.Usage, "Flag: --" + s.Flag + "."} {
			if s.Flag == "" && strings.HasPrefix(part, "Flag:") {
				continue
			}
			if part = strings.ReplaceAll(part, `\`, `\e`); !strings.Contains(page, part) {
				t.Errorf("the manual does not have %q of %s", part, s)
			}
		}
	}
}

func TestManualHasTheJournal(t *testing.T) {
	t.Parallel()
	page := manual(t)["tiproxy.7"]
	for _, k := range observe.Kinds() {
		if want := k.Event + ", MESSAGE_ID=" + k.MessageID + " " + k.Usage; !strings.Contains(page, want) {
			t.Errorf("the manual does not have %q", want)
		}
	}
	for _, f := range observe.Fields() {
		if want := ".TP " + f.Journal() + ", " + f.Key + " "; !strings.Contains(page, want) {
			t.Errorf("the manual does not have %q", want)
		}
	}
}

func TestManualHasAllUnits(t *testing.T) {
	t.Parallel()
	pages := manual(t)
	for folder, page := range map[string]string{"systemd": "tiproxy.7", "inetd": "tiproxy-inetd.8"} {
		_, section, _ := strings.Cut(pages[page], ".SH UNITS")
		section, _, _ = strings.Cut(section, ".SH ")
		units, err := filepath.Glob("packaging/" + folder + "/tiproxy*.*")
		must(t, err)
		found := 0
		for _, unit := range units {
			if slices.Contains([]string{".conf", ".sysusers", ".tmpfiles"}, filepath.Ext(unit)) {
				continue
			}
			found++
			if name := strings.Replace(filepath.Base(unit), "@.", "@NAME.", 1); !strings.Contains(section, name) {
				t.Errorf("%s does not have the unit %s", page, name)
			}
		}
		if found < 4 {
			t.Errorf("of %q only %d are units", units, found)
		}
	}
}

// The environment of the hooks is what a hook gets that is told everything.
func TestManualHasTheEnvironmentOfTheHooks(t *testing.T) {
	t.Parallel()
	var got []string
	hooks := hook.New(hook.Config{
		Commands: map[hook.Kind][]string{hook.BeforeNext: {"true"}},
		Run: func(_ context.Context, _, env []string, _ func(string)) error {
			for _, v := range env {
				if name, _, _ := strings.Cut(v, "="); !slices.Contains(os.Environ(), v) {
					got = append(got, name)
				}
			}
			return nil
		},
	})
	must(t, hooks.Before(t.Context(), hook.Facts{
		Reason: "any", Generation: 1, Served: 1, Waiting: 1, PID: 1,
		Client: &hook.Client{Session: 1, Listener: "web", Proto: "TCP", Addr: "192.0.2.1", Port: 1},
	}))
	_, section, _ := strings.Cut(manual(t)["tiproxy.conf.5"], ".SS Environment of the hooks")
	section, _, _ = strings.Cut(section, ".SH ")
	var has []string
	for _, head := range regexp.MustCompile(`\.TP ((?:[A-Z_]+, )*[A-Z_]+) `).FindAllStringSubmatch(section, -1) {
		has = append(has, strings.Split(head[1], ", ")...)
	}
	slices.Sort(got)
	slices.Sort(has)
	if !slices.Equal(got, has) {
		t.Errorf("the hooks get %q\nthe manual has %q", got, has)
	}
}

// The requests are those that the control socket itself says it knows, and the
// fields those that its answers have.
func TestManualHasTheControlSocket(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	new(steered).serve(t, dir, "tiproxy")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "tiproxy", "control.sock"))
	}}}
	ask := func(path string) (*http.Response, string) {
		request, err := http.NewRequestWithContext(t.Context(), "BREW", "http://tiproxy"+path, nil)
		must(t, err)
		response, err := client.Do(request)
		must(t, err)
		defer response.Body.Close()
		var refusal struct{ Error string }
		must(t, json.NewDecoder(response.Body).Decode(&refusal))
		return response, refusal.Error
	}
	_, all := ask("/")
	paths := regexp.MustCompile(`/[a-z1/]+`).FindAllString(all, -1)
	page := manual(t)["tiproxy.7"]
	for _, path := range paths {
		response, _ := ask(path)
		if head := ".TP " + response.Header.Get("Allow") + " " + path + " "; !strings.Contains(page, head) {
			t.Errorf("the manual does not have %q", head)
		}
	}
	if n := len(regexp.MustCompile(`\.TP (GET|POST) `).FindAllString(page, -1)); n != len(paths) {
		t.Errorf("the manual has %d requests, the control socket knows %d: %s", n, len(paths), all)
	}
	_, section, _ := strings.Cut(page, ".SH CONTROL SOCKET")
	for _, answer := range []any{observe.Status{}, control.Queue{}, control.Sessions{}, control.Events{}} {
		for _, field := range fieldsOf(reflect.TypeOf(answer)) {
			if !regexp.MustCompile(`\b` + field + `\b`).MatchString(section) {
				t.Errorf("the manual does not have the field %q of %T", field, answer)
			}
		}
	}
}

// fieldsOf are the names in JSON of all fields of a struct, and of those in it.
func fieldsOf(t reflect.Type) (names []string) {
	switch t.Kind() {
	case reflect.Slice:
		return fieldsOf(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" {
				names = append(append(names, name), fieldsOf(t.Field(i).Type)...)
			}
		}
	}
	return names
}

func TestManualWantsADate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, stderr, status := steer(t, dir, "manual", dir)
	if status != 1 || !strings.HasPrefix(stderr, "tiproxy: cannot date the manual pages: SOURCE_DATE_EPOCH= is no number") {
		t.Errorf("status %d, %s", status, stderr)
	}
}
