package main_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// SIGTERM: those inside are served to their end, those in line are sent away.
func TestTerminateDrains(t *testing.T) {
	t.Parallel()
	p, addr := run(t, "--drain infinity", "-l", "-k")
	inside := mustConnect(t, addr)
	pid := inside.mustTalk(t, "before")
	waiting := mustConnect(t, addr)
	p.awaitStatus(t, "one in line", func(s status) bool { return s.Gate.Queued == 1 })
	p.signal(t, syscall.SIGTERM)
	waiting.mustBeEnded(t)
	if after := inside.mustTalk(t, "after"); after != pid {
		t.Errorf("process %d goes on serving for %d", after, pid)
	}
	inside.Close()
	p.mustEnd(t)
	mustBeGone(t, pid)
}

func TestTerminateTwiceCuts(t *testing.T) {
	t.Parallel()
	p, addr := run(t, "--drain infinity --stop infinity", "-l", "-k")
	inside := mustConnect(t, addr)
	pid := inside.mustTalk(t, "before")
	p.signal(t, syscall.SIGTERM)
	p.await(t, `stopping: no new clients; 1 still here`)
	p.signal(t, syscall.SIGTERM)
	inside.mustBeEnded(t)
	p.mustEnd(t)
	mustBeGone(t, pid)
}

// mustBeGone looks whether a process is left.
func mustBeGone(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d of the backend is left (%v)", pid, err)
	}
}

// The fields that scripts may rely on: all of them, and no others.
func TestStatusFields(t *testing.T) {
	t.Parallel()
	p, addr := run(t, "", "-l", "-k")
	pid := mustConnect(t, addr).mustTalk(t, "hello")
	text := p.askStatus(t, "--json")
	var got any
	must(t, json.Unmarshal(text, &got))
	want := []string{
		"backend.generation", "backend.last_exit", "backend.memory_bytes", "backend.pid", "backend.served", "backend.since",
		"backend.starts", "backend.state", "backend.text", "backend.up_usec",
		"gate.abandoned", "gate.active", "gate.denied", "gate.failed", "gate.late", "gate.limit", "gate.oldest_wait_usec", "gate.queued", "gate.refused", "gate.served", "gate.timed_out",
		"listeners.0.address", "listeners.0.name", "pid", "since", "state", "time", "version",
	}
	if fields := paths("", got); !slices.Equal(fields, want) {
		t.Errorf("the fields are\n%v\nwant\n%v", fields, want)
	}
	var s status
	must(t, json.Unmarshal(text, &s))
	if s.PID != p.cmd.Process.Pid || s.Gate.Active != 1 || s.Backend.State != "ready" || s.Backend.PID != pid || s.Backend.Starts != 1 {
		t.Errorf("got %s", text)
	}
	forPeople := fmt.Sprintf(`(?m)^listener +%s$(.|\n)*^backend +ready, pid %d,`, regexp.QuoteMeta(addr), pid)
	if text := p.askStatus(t); !regexp.MustCompile(forPeople).Match(text) {
		t.Errorf("got\n%swant a match of %s", text, forPeople)
	}
}

// paths answers where the values of decoded JSON are, in order.
func paths(at string, value any) []string {
	var all []string
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			all = append(all, paths(at+"."+key, v[key])...)
		}
	case []any:
		for i := range v {
			all = append(all, paths(fmt.Sprintf("%s.%d", at, i), v[i])...)
		}
	default:
		return []string{strings.TrimPrefix(at, ".")}
	}
	return all
}

// The demonstration: three clients in order at one backend, its end, and a
// second backend; then Ctrl-C.
func TestDemo(t *testing.T) {
	t.Parallel()
	p := launch(t, prepare(shortDir(t), "tiproxy", []string{"demo", "--listen", "127.0.0.1:0"}))
	var story strings.Builder
	for !strings.Contains(story.String(), "Now you") {
		line, err := p.stdout.ReadString('\n')
		story.WriteString(line)
		if err != nil {
			t.Fatalf("the demo ended early: %v\n%s", err, &story)
		}
	}
	p.signal(t, syscall.SIGINT)
	p.mustEnd(t)

	answers := regexp.MustCompile(`(client \d) was answered after .*: pid (\d+), (connection \d)`).FindAllStringSubmatch(story.String(), -1)
	var got []string
	for _, a := range answers {
		got = append(got, a[1]+": "+a[3])
	}
	slices.Sort(got[:min(3, len(got))])
	want := []string{"client 1: connection 1", "client 2: connection 2", "client 3: connection 3", "client 4: connection 1"}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q\nwant %q in\n%s", got, want, &story)
	}
	if answers[0][2] != answers[2][2] || answers[0][2] == answers[3][2] {
		t.Errorf("want one backend for the first three clients and another for the fourth:\n%s", &story)
	}
	acts := regexp.MustCompile(`(?s)-- 1\. .*Three clients.*-- 2\. .*-- 3\. .*-- Now you`)
	if !acts.MatchString(story.String()) {
		t.Errorf("the acts are missing or out of order:\n%s", &story)
	}
}
