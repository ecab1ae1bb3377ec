package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAdmissionSettings(t *testing.T) {
	for _, tt := range []struct {
		text string // lines of [Gate] or [Access]
		want string // what show answers
	}{
		{"[Gate]\nRate=20/2s", "20 in 2s"},
		{"[Gate]\nRate=7", "7 in 1s"},
		{"[Gate]\nRate=7\nRate=", "0 in 0s"},
		{"[Gate]\nWhenFull=reset", "reset"},
		{"[Gate]\nWhenFull=message:busy, \"try\" later\\r\\n", "message \"busy, \\\"try\\\" later\\r\\n\""},
		{"[Gate]\nWhenFull=message:a:b", "message \"a:b\""},
		{"[Gate]\nQueueMessage=wait\\x07", "queue \"wait\\a\""},
		{"[Gate]\nQueueMessage=wait\nQueueMessage=", "queue \"\""},
		{"[Gate]\nKeepAliveSec=0", "keep-alive never"},
		{"[Gate]\nKeepAliveSec=90", "keep-alive 1m30s"},
		{"[Access]\nAllowFrom=10.0.0.0/8\nAllowFrom=localhost", "from 3"},
		{"[Access]\nAllowFrom=10.0.0.0/8\nAllowFrom=\nAllowFrom=192.0.2.7", "from 1"},
		{"[Access]\nAcceptProxy=unix", "proxies 0 unix true"},
		{"[Access]\nAcceptProxy=192.0.2.7 unix", "proxies 1 unix true"},
		{"[Access]\nAcceptProxy=192.0.2.7\nAcceptProxy=unix", "proxies 1 unix true"},
		{"[Access]\nAcceptProxy=unix 192.0.2.7\nAcceptProxy=", "proxies 0 unix false"},
		{"[Access]\nAllowUsers=root, 12\nAllowUsers=7", "users [0 12 7]"},
		{"[Backend]\nSendProxy=v2", "send 2"},
		{"[Backend]\nSendProxy=v2\nSendProxy=", "send 0"},
	} {
		c := Default()
		if faults := c.apply("f", tt.text); faults != nil {
			t.Errorf("%q: %v", tt.text, faults)
			continue
		}
		if got := show(c, tt.want); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.text, got, tt.want)
		}
	}
}

// show writes the part of a Config that like is about.
func show(c *Config, like string) string {
	g, a := &c.Gate, &c.Access
	word, _, _ := strings.Cut(like, " ")
	switch word {
	case "reset":
		return g.WhenFull
	case "message":
		return fmt.Sprintf("%s %q", g.WhenFull, g.FullMessage)
	case "queue":
		return fmt.Sprintf("queue %q", g.QueueMessage)
	case "keep-alive":
		if g.KeepAlive == Never {
			return "keep-alive never"
		}
		return fmt.Sprintf("keep-alive %v", g.KeepAlive)
	case "from":
		return fmt.Sprintf("from %d", len(a.AllowFrom))
	case "proxies":
		return fmt.Sprintf("proxies %d unix %v", len(a.AcceptProxy), a.AcceptProxyUnix)
	case "users":
		return fmt.Sprintf("users %v", a.AllowUsers)
	case "send":
		return fmt.Sprintf("send %d", c.Backend.SendProxy)
	}
	return fmt.Sprintf("%d in %v", g.Rate.N, g.Rate.Per)
}

// Each fault names file, line, section and key, and what to write.
func TestAdmissionFaults(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"[Gate]\nRate=0/0", "no rate"},
		{"[Gate]\nRate=5/0", "no rate"},
		{"[Gate]\nRate=5/infinity", "no rate"},
		{"[Gate]\nRate=-1/2s", "no rate"},
		{"[Gate]\nRate=9999999999/2s", "no rate"},
		{"[Gate]\nRate=5/soon", "soon"},
		{"[Gate]\nWhenFull=message", "none of refuse"},
		{"[Gate]\nWhenFull=message:", "0 bytes"},
		{"[Gate]\nWhenFull=message:\\q", "backslash"},
		{"[Gate]\nWhenFull=reset:now", "none of refuse"},
		{"[Gate]\nQueueMessage=" + strings.Repeat("a", 1025), "1025 bytes"},
		{"[Gate]\nKeepAliveSec=10ms", "1s at least"},
		{"[Gate]\nFair=very", "none of no, source"},
		{"[Access]\nAllowFrom=10.0.0.0/33", "10.0.0.0/33"},
		{"[Access]\nAllowFrom=example.com", "example.com"},
		{"[Access]\nAcceptProxy=10.0.0.1/8", "10.0.0.1/8"},
		{"[Access]\nAccessTimes=25:00-26:00", "25:00"},
		{"[Access]\nAllowUsers=,", "no name"},
		{"[Access]\nAllowUsers=root nobody-of-tiproxy", `cannot find the user "nobody-of-tiproxy"`},
		{"[Access]\nAllowGroups=nobody-of-tiproxy", `cannot find the group "nobody-of-tiproxy"`},
		{"[Access]\nAllowFrom=10.0.0.0/8\nDenyFrom=10.0.0.0/8", "10.0.0.0/8"},
		{"[Backend]\nSendProxy=v3", "neither v1 nor v2"},
		{"[Hooks]\nHookFailure=maybe", "none of continue, close"},
	} {
		faults := Default().apply("f", tt.line)
		if len(faults) != 1 {
			t.Errorf("%q: %v, want one fault", tt.line, faults)
			continue
		}
		lines := strings.Count(tt.line, "\n") + 1
		section, _, _ := strings.Cut(tt.line, "\n")
		_, key, _ := strings.Cut(tt.line[strings.LastIndex(tt.line, "\n"):], "\n")
		key, _, _ = strings.Cut(key, "=")
		for _, part := range []string{fmt.Sprintf("f:%d: ", lines), section, key + "=", tt.want} {
			if !strings.Contains(faults[0].Error(), part) {
				t.Errorf("%q: no %q in %q", tt.line, part, faults[0])
			}
		}
	}
}

func TestChanged(t *testing.T) {
	load := func(text string) *Config {
		c := Default()
		if faults := c.apply("f", text); faults != nil {
			t.Fatal(faults)
		}
		return c
	}
	a := load("[Backend]\nIdleStopSec=5\n[Gate]\nMaxConnections=3\nQueueLength=1024\n[Access]\nAllowFrom=localhost\n")
	b := load("[Backend]\nIdleStopSec=6\n[Gate]\nMaxConnections=3\nRate=5\n[Access]\nAllowFrom=localhost\nAllowFrom=192.0.2.1\n")
	var got []string
	for _, s := range Changed(a, b) {
		got = append(got, fmt.Sprintf("%v %v", s, s.Live()))
	}
	want := "[Backend] IdleStopSec= false, [Gate] Rate= true, [Access] AllowFrom= true"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
	both := a.With(b)
	if both.Gate.Rate.N != 5 || len(both.Access.AllowFrom) != 3 || both.Backend.IdleStop != 5*time.Second {
		t.Errorf("%+v", both)
	}
	if more := Changed(both, b); len(more) != 1 || more[0].Key != "IdleStopSec" {
		t.Errorf("still different: %v", more)
	}
	if len(Changed(a, a.Clone())) != 0 || len(Changed(a, b)) != 3 {
		t.Error("With or Clone has changed what it came from")
	}
}

func TestPut(t *testing.T) {
	c := Default()
	for _, tt := range []struct {
		key, value string
		want       error
		text       string
	}{
		{"MaxConnections", "3", nil, ""},
		{"OnTimeout", "reset", nil, ""},
		{"AllowFrom", "192.0.2.1", nil, ""},
		{"AllowFrom", "192.0.2.2", nil, ""},
		{"MaxConnections", "many", nil, `"many" is not`},
		{"IdleStopSec", "3", ErrFixed, "[Backend]"},
		{"MaxConections", "3", ErrUnknown, "MaxConnections="},
	} {
		err := c.Put(tt.key, tt.value)
		if tt.want == nil && tt.text == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s=%s: %v", tt.key, tt.value, err)
		}
	}
	if c.Gate.MaxConnections != 3 || c.Gate.OnTimeout != TimeoutReset || len(c.Access.AllowFrom) != 1 {
		t.Errorf("%+v %+v", c.Gate, c.Access)
	}
}

func FuzzAdmission(f *testing.F) {
	for _, s := range []string{"20/2s", "message:a\\x00\\\"", "backlog", "10.0.0.0/8 localhost", "unix,::/0", "22:00-06:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, key := range []string{"Rate", "WhenFull", "QueueMessage", "KeepAliveSec", "AllowFrom", "AcceptProxy", "AccessTimes", "AllowUsers"} {
			c := Default()
			if err := c.Put(key, value); err != nil {
				continue
			}
			if g := c.Gate; g.Rate.N < 0 || g.Rate.N > 0 && g.Rate.Per <= 0 || len(g.QueueMessage) > messageMost || g.KeepAlive < time.Second {
				t.Errorf("%s=%q: %+v", key, value, g)
			}
		}
	})
}
