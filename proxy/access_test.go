package proxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/access"
)

func sources(t testing.TB, text string) access.Sources {
	t.Helper()
	s, err := access.ParseSources(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// later is a span of the day that now is not in.
func later(t testing.TB) access.Times {
	t.Helper()
	now := time.Now()
	times, err := access.ParseTimes(now.Add(2*time.Hour).Format("15:04") + "-" + now.Add(3*time.Hour).Format("15:04"))
	if err != nil {
		t.Fatal(err)
	}
	return times
}

// Who may not come in gets a FIN, although it has sent something, and costs
// neither slot nor backend.
func TestDenied(t *testing.T) {
	stranger := []uint32{uint32(os.Getuid()) + 1}
	for _, tt := range []struct {
		name   string
		unix   bool
		access access.Rules
	}{
		{"address", false, access.Rules{DenyFrom: sources(t, "127.0.0.2")}},
		{"no address allowed", false, access.Rules{AllowFrom: sources(t, "127.0.0.3")}},
		{"time", false, access.Rules{Times: later(t)}},
		{"time, over UNIX", true, access.Rules{Times: later(t)}},
		{"user", true, access.Rules{Users: stranger}},
		{"user and group", true, access.Rules{Users: stranger, Groups: []uint32{1<<32 - 2}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBackend(t, echo)
			r := run(t, b, 1, 1, func(c *Config) {
				c.Listeners = []Listener{listen(t), listenUnix(t)}
				c.Rules.Access = tt.access
			})
			var c conn
			if tt.unix {
				c = r.connect(&net.Dialer{}, 1)
			} else {
				c = r.dialFrom("127.0.0.2", 0)
			}
			fmt.Fprint(c, "what nobody reads must not turn the end into a reset")
			mustEOF(t, c)
			e := r.endOf(1)
			if refusal := new(access.Refusal); e.Outcome != Denied || !errors.As(e.Err, &refusal) || e.Inside != 0 {
				t.Errorf("%+v", e)
			}
			if tt.unix && e.Client.UID != os.Getuid() {
				t.Errorf("the client has user %d", e.Client.UID)
			}
			if s := r.proxy.Gate().Stats(); s.Served+s.Refused+s.Abandoned != 0 || b.acquired.Load() != 0 {
				t.Errorf("%+v; the backend was asked for %d times", s, b.acquired.Load())
			}
			if n := r.proxy.Denied(); n != 1 {
				t.Errorf("%d were denied", n)
			}
		})
	}
}

func TestNotDenied(t *testing.T) {
	rules := access.Rules{
		AllowFrom: sources(t, "127.0.0.2"), DenyFrom: sources(t, "127.0.0.0/8"), Users: []uint32{uint32(os.Getuid())},
	}
	r := run(t, newBackend(t, echo), 0, 0, func(c *Config) {
		c.Listeners = []Listener{listen(t), listenUnix(t)}
		c.Rules.Access = rules
	})
	exchange(t, r.dialFrom("127.0.0.2", 0), "by its address")
	exchange(t, r.connect(&net.Dialer{}, 1), "by its user")
	if e := await[AdmitEvent](r); e.Client.UID != -1 {
		t.Errorf("%+v", e)
	}
	if e := await[AdmitEvent](r); e.Client.UID != os.Getuid() || e.Client.String() != fmt.Sprint("unix user ", os.Getuid()) {
		t.Errorf("%+v", e)
	}
	if n := r.proxy.Denied(); n != 0 {
		t.Errorf("%d were denied", n)
	}
	// Who is inside stays when the rules change.
	changed := r.cfg.Rules
	changed.Access = access.Rules{Times: later(t)}
	in := r.dialFrom("127.0.0.2", 0)
	exchange(t, in, "in")
	r.proxy.Configure(changed)
	mustEOF(t, r.dialFrom("127.0.0.2", 0))
	exchange(t, in, "still in")
}

// However often it knocks, who is denied does not keep tiproxy awake.
func TestDeniedIsNoActivity(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 1, func(c *Config) {
		c.Rules.Access.DenyFrom = sources(t, "127.0.0.1")
		c.Rules.IdleExit = 200 * time.Millisecond
	})
	for range 1000 {
		c := r.dial(0)
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) // nobody answers after the end
		c.Read(make([]byte, 1))
		c.Close()
		select {
		case idle := <-r.ended:
			if !idle || r.proxy.Denied() == 0 {
				t.Errorf("idle %v, %d denied", idle, r.proxy.Denied())
			}
			return
		case <-time.After(5 * time.Millisecond): // the next one comes
		}
	}
	t.Fatal("it does not become idle")
}
