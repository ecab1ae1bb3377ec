package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// ourOwn are the variables that systemd has said to us alone.
var ourOwn = []string{
	"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
	"MAINPID", "MANAGERPID", "SYSTEMD_EXEC_PID", "JOURNAL_STREAM", "FDSTORE",
}

// environment is that of its surroundings, and over it what we say to the child.
func (c *child) environment() ([]string, error) {
	cfg := &c.s.cfg
	env, err := cfg.Surroundings.environment()
	if err != nil {
		return nil, err
	}
	said := []string{"NOTIFY_SOCKET=" + c.notify.name}
	if every := cfg.Watchdog; every > 0 && every != forever {
		said = append(said, "WATCHDOG_USEC="+strconv.FormatInt(every.Microseconds(), 10)) // the launcher adds for whom
	}
	said = append(said, cfg.socketVariables()...) // and here, too
	if cfg.Auto {
		said = append(said, "PORT="+strconv.Itoa(int(c.addrs[0].IP.Port())))
	}
	return setAll(env, said), nil
}

// environment is ours without what is ours alone, and over it, in this order,
// the user's and what the configuration says. No name stands there twice:
// programs differ in which one they read.
func (s *Surroundings) environment() ([]string, error) {
	env := withoutOurOwn(os.Environ())
	if name := s.User; name != "" {
		u, err := lookUser(name)
		if err != nil {
			return nil, fmt.Errorf("cannot find the user %q (User=): %w", name, err)
		}
		env = setAll(env, userVariables(u))
	}
	env = setAll(env, s.Environment)
	for _, file := range s.EnvironmentFiles {
		lines, err := readEnvironment(file)
		if err != nil {
			return nil, err
		}
		env = setAll(env, lines)
	}
	return env, nil
}

// withoutOurOwn answers env without what is ours alone.
func withoutOurOwn(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(ourOwn, name)
	})
}

// userVariables are those that systemd sets with User= (systemd.exec(5)).
func userVariables(u *user.User) []string {
	return []string{"USER=" + u.Username, "LOGNAME=" + u.Username, "HOME=" + u.HomeDir}
}

// setAll answers env with variables put over it, and leaves env as it is: the
// child's may be in use by two commands beside it at once.
func setAll(env, over []string) []string {
	env = slices.Clone(env)
	for _, v := range over {
		name, _, _ := strings.Cut(v, "=")
		env = slices.DeleteFunc(env, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		env = append(env, v)
	}
	return env
}

// readEnvironment reads an EnvironmentFile=.
func readEnvironment(file string) ([]string, error) {
	name, optional := strings.CutPrefix(file, "-")
	text, err := os.ReadFile(name)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read EnvironmentFile=%s: %w", name, err)
	}
	lines, err := parseEnvironment(string(text))
	if err != nil {
		return nil, fmt.Errorf("cannot use EnvironmentFile=%s: %w", name, err)
	}
	return lines, nil
}

// parseEnvironment reads lines of NAME=VALUE; a value may stand in quotes, and
// lines that begin with # or ; say nothing.
func parseEnvironment(text string) ([]string, error) {
	var env []string
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" || strings.ContainsAny(line, "\x00\n") || strings.ContainsAny(name, " \t\"'") {
			return nil, fmt.Errorf("line %d is not NAME=VALUE", number)
		}
		value = strings.TrimSpace(value)
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		env = append(env, name+"="+value)
	}
	return env, nil
}
