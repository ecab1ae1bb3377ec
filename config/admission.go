package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tiproxy/tiproxy/access"
)

// rateMost bounds the N of Rate=: each of them is remembered for the stretch.
const rateMost = 1_000_000

// parseRate reads N/DURATION; without a duration it is one second.
func parseRate(c *Config, value string) error {
	if value == "" {
		c.Gate.Rate = Rate{}
		return nil
	}
	digits, stretch, bounded := strings.Cut(value, "/")
	per := time.Second
	var err error
	if bounded {
		if per, err = ParseSpan(stretch); err != nil {
			return err
		}
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || n == 0 || n > rateMost || per == 0 || per == Never {
		return fmt.Errorf("%.60q is no rate; want a number from 1 to %d and a time span, such as 20/2s", value, rateMost)
	}
	c.Gate.Rate = Rate{N: int(n), Per: per}
	return nil
}

func parseWhenFull(c *Config, value string) error {
	how, rest, colon := strings.Cut(value, ":")
	switch {
	case how == FullMessage && colon:
		text, err := message(rest)
		if err != nil {
			return err
		}
		c.Gate.WhenFull, c.Gate.FullMessage = FullMessage, text
	case !colon && slices.Contains([]string{FullRefuse, FullReset, FullBacklog}, how):
		c.Gate.WhenFull, c.Gate.FullMessage = how, nil
	default:
		return fmt.Errorf("%.60q is none of refuse, reset, message:TEXT and backlog", value)
	}
	return nil
}

func parseQueueMessage(c *Config, value string) (err error) {
	if value == "" {
		c.Gate.QueueMessage = nil
		return nil
	}
	c.Gate.QueueMessage, err = message(value)
	return err
}

// messageMost is how long a message to a client may be: it goes out at once
// into an empty socket.
const messageMost = 1024

// message takes a text apart in which \r, \n, \t, \\ and \xHH stand for bytes.
func message(text string) ([]byte, error) {
	plain, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read the text %.60q: write a backslash as \\\\, and else only \\r, \\n, \\t or \\xHH behind one", text)
	case plain == "" || len(plain) > messageMost:
		return nil, fmt.Errorf("the text has %d bytes; want 1 to %d", len(plain), messageMost)
	}
	return []byte(plain), nil
}

func parseKeepAlive(c *Config, value string) error {
	d, err := ParseSpan(value)
	switch {
	case err != nil:
		return err
	case d == 0:
		d = Never
	case d < time.Second:
		return fmt.Errorf("%.60q is too short; want 1s at least", value)
	}
	c.Gate.KeepAlive = d
	return nil
}

// sources adds to a list of addresses, and an empty value empties it.
func sources(at func(*Config) *access.Sources) func(*Config, string) error {
	return func(c *Config, value string) error {
		if value == "" {
			*at(c) = nil
			return nil
		}
		more, err := access.ParseSources(value)
		if err != nil {
			return err
		}
		*at(c) = at(c).And(more)
		return (&access.Rules{AllowFrom: c.Access.AllowFrom, DenyFrom: c.Access.DenyFrom}).Check()
	}
}

// parseAcceptProxy is sources with one word more.
func parseAcceptProxy(c *Config, value string) error {
	var addresses []string
	local := false
	for _, word := range strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		if word == "unix" {
			local = true
		} else {
			addresses = append(addresses, word)
		}
	}
	if value != "" && len(addresses) == 0 {
		c.Access.AcceptProxyUnix = local
		return nil
	}
	err := sources(func(c *Config) *access.Sources { return &c.Access.AcceptProxy })(c, strings.Join(addresses, " "))
	if err == nil {
		c.Access.AcceptProxyUnix = local || value != "" && c.Access.AcceptProxyUnix
	}
	return err
}

func parseAccessTimes(c *Config, value string) (err error) {
	if value == "" {
		c.Access.Times = nil
		return nil
	}
	more, err := access.ParseTimes(value)
	if err == nil {
		c.Access.Times = slices.Concat(c.Access.Times, more)
	}
	return err
}

// names adds users or groups to a list, and an empty value empties it; lookup
// finds them by name.
func names(at func(*Config) *[]uint32, lookup func(names []string) (ids []uint32, err error)) func(*Config, string) error {
	return func(c *Config, value string) error {
		if value == "" {
			*at(c) = nil
			return nil
		}
		words := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
		if len(words) == 0 {
			return errors.New("no name stands there")
		}
		more, err := lookup(words)
		if err == nil {
			*at(c) = slices.Concat(*at(c), more)
		}
		return err
	}
}

func parseSendProxy(c *Config, value string) error {
	version, known := map[string]int{"": 0, "no": 0, "v1": 1, "v2": 2}[value]
	if !known {
		return fmt.Errorf("%.60q is neither v1 nor v2", value)
	}
	c.Backend.SendProxy = version
	return nil
}
