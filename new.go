package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/tiproxy/tiproxy/activation"
	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/control"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// Where the files of an instance are, beneath --root.
const (
	settingsFile = "/etc/tiproxy/%s.conf"
	listenFile   = "/etc/systemd/system/tiproxy@%s.socket.d/listen.conf"
)

// lineMax is the longest line that is read of either file, in bytes.
const lineMax = 2047

// text is a file that is to be.
type text struct{ path, content string }

func newCommand() *cobra.Command {
	var o options
	var root string
	cmd := &cobra.Command{
		Use:   "new NAME --listen ADDR [flags] [-- COMMAND [ARG...]]",
		Short: "Write the files of one more instance, tiproxy@NAME.socket with a backend of its own",
		Long: "Write " + fmt.Sprintf(settingsFile, "NAME") + " with the flags as settings, and the drop-in of tiproxy@NAME.socket\n" +
			"that says where it listens. Nothing is overwritten, and nothing begins to listen yet.",
		Args: func(cmd *cobra.Command, args []string) error {
			if before, _ := cutAtDash(cmd, args); len(before) != 1 {
				return fmt.Errorf("wrong number of arguments; want %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			before, command := cutAtDash(cmd, args)
			files, err := o.instance(cmd.Context(), before[0], command)
			if err != nil {
				return err
			}
			if err := lay(root, files); err != nil {
				return exitWith(exitFailed, err)
			}
			for _, f := range files {
				fmt.Fprintf(cmd.OutOrStdout(), "written: %s\n", filepath.Join(root, f.path))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "To listen:\n    systemctl daemon-reload\n    systemctl enable --now tiproxy@%s.socket\n", before[0])
			return err
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringArrayVarP(&o.listen, "listen", "l", nil, "listen at `ADDR`: host:port, port or path; repeatable")
	o.addSettings(flags)
	flags.StringVar(&root, "root", "/", "write the files beneath `DIR`, such as a machine's that does not run")
	return cmd
}

// cutAtDash cuts arguments in those before the -- and those behind it.
func cutAtDash(cmd *cobra.Command, args []string) (before, behind []string) {
	if at := cmd.ArgsLenAtDash(); at >= 0 {
		return args[:at], args[at:]
	}
	return args, nil
}

// instance makes the two files of an instance. Its errors have their exit
// status: what would not work is refused here already.
func (o *options) instance(ctx context.Context, name string, command []string) ([]text, error) {
	if err := checkName(name); err != nil {
		return nil, exitWith(exitUsage, err)
	}
	listeners, err := o.places(ctx)
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	cfg, err := o.configure(command, false)
	if err != nil {
		return nil, err
	}
	if err := notOurselves(cfg.Backend.Address, listeners); err != nil {
		return nil, exitWith(exitConfig, err)
	}
	listen, err := listenText(name, listeners)
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	settings, err := settingsText(name, command, o.settings)
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	return []text{
		{fmt.Sprintf(settingsFile, name), settings},
		{fmt.Sprintf(listenFile, name), listen},
	}, nil
}

// instanceName is what systemd takes for an instance and for the name of a
// listener (FileDescriptorName=). Its length is checked beside it: a count in an
// expression is made into that many copies, at each start of the program.
var instanceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// nameMost is short enough for the path of a control socket beneath
// /run/tiproxy@NAME (unix(7)).
const nameMost = 64

func checkName(name string) error {
	switch {
	case len(name) > nameMost || !instanceName.MatchString(name):
		return fmt.Errorf("cannot use %.80q as NAME: want up to %d letters, digits, dashes, dots and underscores, and a letter or digit first", name, nameMost)
	case name == "tiproxy":
		return errors.New("cannot use tiproxy as NAME: its settings would be those of tiproxy.service")
	case strings.HasPrefix(name, control.Inetd):
		return fmt.Errorf("cannot use %.80q as NAME: names that begin with %s are for the services of tiproxy-inetd", name, control.Inetd)
	}
	return nil
}

// places are the listeners that systemd is to make. It takes addresses alone,
// so that names are resolved now.
func (o *options) places(ctx context.Context) (all []activation.Listener, err error) {
	if len(o.listen) == 0 {
		return nil, errors.New("nowhere to listen; want --listen ADDR, such as --listen 127.0.0.1:4001")
	}
	for _, at := range o.listen {
		name, err := sockaddr.Parse(at)
		if err != nil {
			return nil, fmt.Errorf("cannot use --listen: %w", err)
		}
		addrs, err := name.Resolve(ctx)
		if err != nil {
			return nil, fmt.Errorf("cannot use --listen: %w", err)
		}
		for _, a := range addrs {
			switch {
			case a.IsIP() && a.IP.Port() == 0, a.IsIP() && a.IP.Addr().Zone() != "":
				return nil, fmt.Errorf("cannot use --listen %s: systemd wants a port other than 0, and no zone", at)
			case a.Family == unix.AF_UNIX && strings.HasPrefix(a.Path, "."):
				return nil, fmt.Errorf("cannot use --listen %s: want an absolute path", at)
			}
			all = append(all, activation.Listener{Addr: a})
		}
	}
	return all, nil
}

// listenText is the drop-in of the socket unit, systemd.socket(5).
func listenText(name string, listeners []activation.Listener) (string, error) {
	lines := []string{"# Where tiproxy@" + name + ".socket listens. The empty line forgets the place that the template has.",
		"[Socket]", "ListenStream="}
	for _, l := range listeners {
		place := strings.ReplaceAll(l.Addr.String(), "%", "%%") // no specifier, systemd.unit(5)
		line, err := assign("ListenStream", place)
		if err != nil {
			return "", fmt.Errorf("cannot use --listen: %w", err)
		}
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// settingsText is a configuration file that says what the flags and the command
// say, in the order of the table of settings.
func settingsText(name string, command []string, said []assignment) (string, error) {
	lines := []string{"# The settings of tiproxy@" + name + ".service. tiproxy.conf in this folder has all there are, with their meaning."}
	section := ""
	add := func(s config.Setting, flag, value string) error {
		line, err := assign(s.Key, value)
		if err != nil {
			return fmt.Errorf("cannot write %s into a file: %w", flag, err)
		}
		if section != s.Section {
			section = s.Section
			lines = append(lines, "", "["+section+"]")
		}
		lines = append(lines, line)
		return nil
	}
	for _, s := range config.Settings() {
		if s.Section == "Backend" && s.Key == "Exec" && len(command) > 0 {
			if strings.HasPrefix(command[0], "@") {
				return "", fmt.Errorf("cannot write the command %.60q into a file: its @ would be read as that of Exec=@PATH ARGV0; give its whole path", command[0])
			}
			if err := add(s, "the command", quote(command)); err != nil {
				return "", err
			}
		}
		for _, a := range said {
			if a.flag != s.Flag {
				continue
			}
			if err := add(s, "--"+a.flag, a.value); err != nil {
				return "", err
			}
		}
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// assign is the line that sets a key. It refuses a value that would be read as
// another one: systemd.syntax(7) takes the space around a value away, and a
// backslash at the end of a line joins it with the next.
func assign(key, value string) (string, error) {
	line := key + "=" + value
	switch {
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return "", fmt.Errorf("%.60q is no line of plain text", value)
	case strings.TrimSpace(value) != value:
		return "", fmt.Errorf("%.60q begins or ends with space", value)
	case strings.HasSuffix(value, `\`):
		return "", fmt.Errorf("%.60q ends with a backslash", value)
	case len(line) > lineMax:
		return "", fmt.Errorf("a line of %d bytes; %d are the most", len(line), lineMax)
	}
	return line, nil
}

// quote writes words so that systemd.syntax(7), QUOTING, reads the same ones.
func quote(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		if word != "" && !strings.ContainsFunc(word, wantsQuotes) {
			quoted[i] = word
			continue
		}
		var b strings.Builder
		for at, r := range word {
			_, size := utf8.DecodeRuneInString(word[at:])
			switch {
			case r == '"' || r == '\\':
				b.WriteString(`\` + string(r))
			case !unicode.IsPrint(r) || r == utf8.RuneError:
				for _, c := range []byte(word[at : at+size]) {
					fmt.Fprintf(&b, `\x%02x`, c)
				}
			default:
				b.WriteRune(r)
			}
		}
		quoted[i] = `"` + b.String() + `"`
	}
	return strings.Join(quoted, " ")
}

// wantsQuotes tells whether a word with that character in it is quoted.
func wantsQuotes(r rune) bool {
	return r == '"' || r == '\'' || r == '\\' || r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r)
}

// lay writes files that are not there yet: all of them, or none.
func lay(root string, files []text) error {
	for i, f := range files {
		if err := create(filepath.Join(root, f.path), f.content); err != nil {
			for _, made := range files[:i] {
				err = errors.Join(err, os.Remove(filepath.Join(root, made.path)))
			}
			return err
		}
	}
	return nil
}

// create writes one file that is not there yet. tiproxy's own user has to read
// it, whatever the umask.
func create(path, content string) error {
	failed := func(err error) error { return fmt.Errorf("cannot write the instance: %w", err) }
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return failed(err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot write the instance: %s is there already; choose another NAME, or edit that", path)
	}
	if err != nil {
		return failed(err)
	}
	_, err = file.WriteString(content)
	if err = errors.Join(err, file.Chmod(0o644), file.Close()); err != nil {
		return failed(errors.Join(err, os.Remove(path)))
	}
	return nil
}
