package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tiproxy/tiproxy/sockaddr"
)

// span parses a time span into the field at.
func span(at func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, value string) error {
		d, err := ParseSpan(value)
		if err != nil {
			return err
		}
		*at(c) = d
		return nil
	}
}

// limit is span for the longest that something may take, where 0 is no limit.
func limit(at func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, value string) error {
		d, err := ParseSpan(value)
		if err != nil {
			return err
		}
		if d == 0 {
			d = Never
		}
		*at(c) = d
		return nil
	}
}

// count parses a whole number from 0 on into the field at.
func count(at func(*Config) *int) func(*Config, string) error {
	return func(c *Config, value string) error {
		n, err := strconv.ParseUint(value, 10, 31)
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("%.60q is too large; write 0 for no limit", value)
		}
		if err != nil {
			return fmt.Errorf("%.60q is not a whole number from 0 on", value)
		}
		*at(c) = int(n)
		return nil
	}
}

// boolean parses yes and no, in the words of systemd.syntax(7).
func boolean(at func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, value string) error {
		switch strings.ToLower(value) {
		case "yes", "y", "true", "t", "on", "1":
			*at(c) = true
		case "no", "n", "false", "f", "off", "0":
			*at(c) = false
		default:
			return fmt.Errorf("%.60q is neither yes nor no", value)
		}
		return nil
	}
}

// choice parses one of a few words.
func choice(at func(*Config) *string, words ...string) func(*Config, string) error {
	return func(c *Config, value string) error {
		if !slices.Contains(words, value) {
			return fmt.Errorf("%.60q is none of %s", value, strings.Join(words, ", "))
		}
		*at(c) = value
		return nil
	}
}

// size parses a number of bytes, with K, M, G or T for powers of 1024, as
// systemd.directives writes them.
func size(at func(*Config) *int64) func(*Config, string) error {
	return func(c *Config, value string) error {
		digits, shift := value, 0
		if n := len(value); n > 0 {
			if power := strings.IndexByte("KMGT", value[n-1]); power >= 0 {
				digits, shift = value[:n-1], 10*(power+1)
			}
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || n > math.MaxInt64>>shift {
			return fmt.Errorf("%.60q is no number of bytes such as 800M", value)
		}
		*at(c) = int64(n) << shift
		return nil
	}
}

// percent parses a share from 0 to 100, with or without a percent sign.
func percent(at func(*Config) *int) func(*Config, string) error {
	return func(c *Config, value string) error {
		n, err := strconv.ParseUint(strings.TrimSuffix(value, "%"), 10, 7)
		if err != nil || n > 100 {
			return fmt.Errorf("%.60q is no share from 0 to 100 percent", value)
		}
		*at(c) = int(n)
		return nil
	}
}

// text takes a value as it is.
func text(at func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		if strings.ContainsAny(value, " \t\x00") {
			return fmt.Errorf("%.60q is not one word", value)
		}
		*at(c) = value
		return nil
	}
}

// number parses a whole number of a base and range; an empty value is none.
func number(at func(*Config) **int, base, least, most int) func(*Config, string) error {
	return func(c *Config, value string) error {
		if value == "" {
			*at(c) = nil
			return nil
		}
		n, err := strconv.ParseInt(value, base, 32)
		if err != nil || int(n) < least || int(n) > most {
			return fmt.Errorf("%.60q is not a number from %s to %s", value,
				strconv.FormatInt(int64(least), base), strconv.FormatInt(int64(most), base))
		}
		v := int(n)
		*at(c) = &v
		return nil
	}
}

// parseEnvironment adds to the list, and an empty value empties it, as in a
// unit file.
func parseEnvironment(c *Config, value string) error {
	words, err := split(value)
	if err != nil {
		return err
	}
	for _, w := range words {
		if name, _, ok := strings.Cut(w, "="); !ok || name == "" || strings.ContainsAny(name, " \t\"'") {
			return fmt.Errorf("%.60q is not NAME=VALUE", w)
		}
	}
	if value == "" {
		c.Backend.Environment = nil
		return nil
	}
	c.Backend.Environment = slices.Concat(c.Backend.Environment, words)
	return nil
}

func parseEnvironmentFile(c *Config, value string) error {
	if value == "" {
		c.Backend.EnvironmentFiles = nil
		return nil
	}
	if !filepath.IsAbs(strings.TrimPrefix(value, "-")) {
		return fmt.Errorf("%.60q is not an absolute path", value)
	}
	c.Backend.EnvironmentFiles = append(c.Backend.EnvironmentFiles, value)
	return nil
}

func parseLimitNOFILE(c *Config, value string) error {
	if value == "" {
		c.Backend.LimitNOFILE = nil
		return nil
	}
	softText, hardText, both := strings.Cut(value, ":")
	if !both {
		hardText = softText
	}
	soft, err1 := strconv.ParseUint(softText, 10, 31)
	hard, err2 := strconv.ParseUint(hardText, 10, 31)
	if err1 != nil || err2 != nil || soft == 0 || soft > hard {
		return fmt.Errorf("%.60q is no limit such as 1024 or 1024:524288, the lower one first", value)
	}
	c.Backend.LimitNOFILE = &Limit{soft, hard}
	return nil
}

// parseUnit wants the whole name: systemctl adds the suffix, D-Bus does not.
func parseUnit(c *Config, value string) error {
	if strings.ContainsAny(value, " \t\x00/") || value != "" && !strings.HasSuffix(value, ".service") {
		return fmt.Errorf("%.60q is no service: write its whole name, such as mariadb.service", value)
	}
	c.Backend.Unit = value
	return nil
}

func parseWorkingDirectory(c *Config, value string) error {
	if value != "" && !filepath.IsAbs(value) {
		return fmt.Errorf("%.60q is not an absolute path", value)
	}
	c.Backend.WorkingDirectory = value
	return nil
}

func parseAddress(c *Config, value string) error {
	if value == "" || value == "auto" {
		c.Backend.Address, c.Backend.AddressAuto = sockaddr.Name{}, value == "auto"
		return nil
	}
	name, err := sockaddr.Parse(value)
	if err != nil {
		return err
	}
	if name.Addr().Family != unix.AF_UNIX && strings.HasSuffix(name.String(), ":0") {
		return errors.New("nobody listens at port 0; write auto for a free port")
	}
	c.Backend.Address, c.Backend.AddressAuto = name, false
	return nil
}

func parseMetricsListen(c *Config, value string) error {
	if value == "" {
		c.Service.MetricsListen = sockaddr.Name{}
		return nil
	}
	name, err := sockaddr.Parse(value)
	if err == nil && name.Addr().Family == unix.AF_VSOCK {
		err = errors.New("want host:port, or a port")
	}
	c.Service.MetricsListen = name
	return err
}

func parseReady(c *Config, value string) error {
	b := &c.Backend
	how, rest, _ := strings.Cut(value, ":")
	r := Readiness(how)
	ready, command, line, fd := r, []string(nil), (*regexp.Regexp)(nil), 0
	var err error
	switch r {
	case ReadyListen, ReadyNotify, ReadyConnect, ReadyNone:
		if how != value {
			err = fmt.Errorf("%.60q: nothing stands behind %s", value, how)
		}
	case ReadyExec:
		command, err = nonEmpty(rest)
	case ReadyLog:
		if line, err = regexp.Compile(rest); err == nil && rest == "" {
			err = errors.New("log: stands alone, without an expression")
		}
	case ReadyFD:
		if fd, err = strconv.Atoi(rest); err != nil || fd < 3 || fd > readyFDMost {
			err = fmt.Errorf("%.60q is no fd from 3 to %d", rest, readyFDMost)
		}
	default:
		err = fmt.Errorf("%.60q is none of listen, notify, connect, exec:, log:, fd: and none", value)
	}
	if err != nil {
		return err
	}
	b.Ready, b.ReadyCommand, b.ReadyLog, b.ReadyFD = ready, command, line, fd
	return nil
}

// readyFDMost is the supervisor's ReadyFDMost.
const readyFDMost = 255

// nonEmpty splits a command line, which must not be empty.
func nonEmpty(text string) ([]string, error) {
	command, err := split(text)
	if err == nil && (len(command) == 0 || command[0] == "") {
		err = errors.New("exec: stands alone, without a command")
	}
	return command, err
}

// words parses a command line.
func words(at func(*Config) *[]string) func(*Config, string) error {
	return func(c *Config, value string) error {
		command, err := split(value)
		if err != nil {
			return err
		}
		if len(command) > 0 && command[0] == "" {
			return errors.New("the command is empty; its first word is the program to run")
		}
		*at(c) = command
		return nil
	}
}

// parseExec is words, and knows the @ of ExecStart= in systemd.service(5).
func parseExec(c *Config, value string) error {
	b := &c.Backend
	if err := words(func(*Config) *[]string { return &b.Exec })(c, value); err != nil {
		return err
	}
	b.ExecPath = ""
	if len(b.Exec) == 0 || b.Exec[0][0] != '@' {
		return nil
	}
	path := b.Exec[0][1:]
	if path == "" || len(b.Exec) < 2 {
		return fmt.Errorf("%.60q is no command; want @PATH ARGV0 and its arguments", value)
	}
	b.ExecPath, b.Exec = path, b.Exec[1:]
	return nil
}

func parseStopSignal(c *Config, value string) error {
	name := strings.ToUpper(value)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	sig := unix.SignalNum(name)
	if n, err := strconv.Atoi(value); err == nil && n > 0 && n < 65 {
		sig = unix.Signal(n)
	}
	if sig == 0 {
		return fmt.Errorf("%.60q is no signal such as SIGINT", value)
	}
	c.Backend.StopSignal = sig
	return nil
}

func parseAlive(c *Config, value string) error {
	how, rest, _ := strings.Cut(value, ":")
	switch {
	case value == "" || value == AliveConnect:
		c.Backend.Alive, c.Backend.AliveCommand = value, nil
		return nil
	case how == AliveExec:
		command, err := nonEmpty(rest)
		if err == nil {
			c.Backend.Alive, c.Backend.AliveCommand = AliveExec, command
		}
		return err
	}
	return fmt.Errorf("%.60q is neither connect nor exec:COMMAND", value)
}

func parseAliveInterval(c *Config, value string) error {
	d, err := ParseSpan(value)
	if err != nil {
		return err
	}
	if d < time.Second || d == Never {
		return fmt.Errorf("%.60q is no interval; want 1s at least, and less than infinity", value)
	}
	c.Backend.AliveInterval = d
	return nil
}

func parseReadyInterval(c *Config, value string) error {
	d, err := ParseSpan(value)
	if err != nil {
		return err
	}
	if d == 0 || d == Never {
		return fmt.Errorf("%.60q is no pause; want more than 0 and less than infinity", value)
	}
	c.Backend.ReadyInterval = d
	return nil
}

// idleExitMin keeps short-lived runs below systemd's trigger limit for a socket,
// 20 starts in 2 s (TriggerLimitBurst= in systemd.socket(5)), past which the
// socket fails and takes no client any more.
const idleExitMin = time.Second

func parseIdleExit(c *Config, value string) error {
	if value == "" {
		c.Service.IdleExit = Unset
		return nil
	}
	d, err := ParseSpan(value)
	if err != nil {
		return err
	}
	if d < idleExitMin {
		return fmt.Errorf("%.60q is too short; want 1s at least, or systemd may take so many starts for a fault and give the socket up", value)
	}
	c.Service.IdleExit = d
	return nil
}
