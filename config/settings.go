package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tiproxy/tiproxy/internal/sockaddr"
)

// Setting is one line of the table of settings.
type Setting struct {
	Section string // in tiproxy.conf, without brackets
	Key     string // in tiproxy.conf, without "="
	Flag    string // long flag without dashes; "": the command line says it another way
	Short   string // flag of one letter; "": none
	Arg     string // what stands for the value in help, such as DURATION
	Default string // as it is written in tiproxy.conf; "": nothing is set
	Usage   string // one sentence, without its full stop

	// parse writes a value, or "" for nothing, into its field.
	parse func(*Config, string) error
}

// set gives the setting a value; an empty one is its default again, as an empty
// assignment resets a setting in a unit file.
func (s Setting) set(c *Config, value string) error {
	if value == "" {
		value = s.Default
	}
	return s.parse(c, value)
}

// Settings is the table, in the order of the example file.
func Settings() []Setting { return slices.Clone(settings) }

var settings = []Setting{
	{"Backend", "Exec", "", "", "COMMAND", "",
		"Command that starts the backend, quoted as in a unit file; without one tiproxy only queues and relays",
		parseExec},
	{"Backend", "WorkingDirectory", "workdir", "", "DIR", "",
		"Where the command runs, an absolute path; without one where tiproxy runs",
		parseWorkingDirectory},
	{"Backend", "Address", "dest", "d", "ADDR", "",
		"Where the backend listens: host:port, a UNIX socket's path, vsock:CID:PORT, or auto for a free port told to the command as $PORT and {port}",
		parseAddress},
	{"Backend", "Ready", "ready-when", "", "HOW", "listen",
		"When a started backend counts as ready: listen (it listens at the address), notify (it says so with sd_notify), connect (a connection succeeds), or none (at once)",
		parseReady},
	{"Backend", "ReadyIntervalSec", "ready", "", "DURATION", "500ms",
		"Longest pause between two looks at whether the backend is ready",
		parseReadyInterval},
	{"Backend", "StartTimeoutSec", "start", "", "DURATION", "30s",
		"Longest a start may take until the backend is ready, with 0 or infinity no limit",
		limit(func(c *Config) *time.Duration { return &c.Backend.StartTimeout })},
	{"Backend", "IdleStopSec", "idle", "", "DURATION", "30s",
		"Stop the backend after that long without a connection, with 0 at once, with infinity never",
		span(func(c *Config) *time.Duration { return &c.Backend.IdleStop })},
	{"Backend", "StopTimeoutSec", "stop", "", "DURATION", "30s",
		"Patience between SIGTERM and SIGKILL when the backend is stopped, with 0 none",
		span(func(c *Config) *time.Duration { return &c.Backend.StopTimeout })},

	{"Gate", "MaxConnections", "connections", "n", "N", "1",
		"How many connections reach the backend at once, with 0 any number",
		count(func(c *Config) *int { return &c.Gate.MaxConnections })},
	{"Gate", "QueueLength", "queue", "", "N", "1024",
		"How many connections may wait for their turn, with 0 none; those beyond are closed",
		count(func(c *Config) *int { return &c.Gate.QueueLength })},
	{"Gate", "QueueTimeoutSec", "queue-timeout", "", "DURATION", "infinity",
		"Longest a connection may wait for its turn, with 0 or infinity no limit",
		limit(func(c *Config) *time.Duration { return &c.Gate.QueueTimeout })},
	{"Gate", "SessionTimeoutSec", "timeout", "t", "DURATION", "infinity",
		"Longest a connection may last once it is let through, with 0 or infinity no limit",
		limit(func(c *Config) *time.Duration { return &c.Gate.SessionTimeout })},

	{"Service", "IdleExitSec", "exit-idle-time", "", "DURATION", "",
		"Exit after that long without a connection, 1s at least; when not set, 5min if systemd passed the sockets, else infinity",
		parseIdleExit},
	{"Service", "DrainSec", "drain", "", "DURATION", "30s",
		"How long those already let in are served on when tiproxy is told to stop, with 0 not at all",
		span(func(c *Config) *time.Duration { return &c.Service.Drain })},
}

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

func parseExec(c *Config, value string) error {
	words, err := split(value)
	if err != nil {
		return err
	}
	if len(words) > 0 && words[0] == "" {
		return errors.New("the command is empty; its first word is the program to run")
	}
	c.Backend.Exec = words
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

func parseReady(c *Config, value string) error {
	r := Readiness(value)
	switch r {
	case ReadyListen, ReadyNotify, ReadyConnect, ReadyNone:
		c.Backend.Ready = r
		return nil
	}
	return fmt.Errorf("%.60q is none of listen, notify, connect and none", value)
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
