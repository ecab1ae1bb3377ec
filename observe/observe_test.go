package observe

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/proxy"
	"github.com/tiproxy/tiproxy/sockaddr"
	"github.com/tiproxy/tiproxy/supervisor"
)

// observed is what the journal gets for the events that tell makes.
func observed(tell func(*Observer)) string {
	var log bytes.Buffer
	tell(New(NewLog(&log, true), nil))
	return log.String()
}

var (
	errBusy = errors.New("address in use by process 7")
	visitor = proxy.Client{Number: 5, Addr: sockaddr.TCP(netip.MustParseAddrPort("192.0.2.9:1234"))}
	named   = proxy.Client{Number: 6, Addr: sockaddr.Unix(""), Listener: "web"}
)

func TestBackendEvents(t *testing.T) {
	for _, tt := range []struct {
		event supervisor.Event
		want  string
	}{
		{supervisor.LaunchEvent{Generation: 2, PID: 7, Command: []string{"/bin/sh", "-c", "serve"}},
			"<6>starting the backend: /bin/sh -c serve generation=2 pid=7"},
		{supervisor.ReadyEvent{Generation: 2, PID: 7, After: 123456 * time.Microsecond},
			"<6>the backend is ready after 123.46ms generation=2 pid=7"},
		{supervisor.StopEvent{Generation: 2, PID: 7, Reason: "nobody used it for 30s"},
			"<6>stopping the backend: nobody used it for 30s generation=2 pid=7"},
		{supervisor.KillEvent{Generation: 2, PID: 7, After: 30 * time.Second},
			"<4>the backend did not end within 30s (StopTimeoutSec=): killing it generation=2 pid=7"},
		{supervisor.ExitEvent{Generation: 2, PID: 7, Status: "exit status 0", Wanted: true},
			"<6>the backend has ended: exit status 0 generation=2 pid=7"},
		{supervisor.ExitEvent{Generation: 2, PID: 7, Status: "exit status 0", Served: true},
			"<6>the backend has ended by itself: exit status 0; the next client starts it again generation=2 pid=7"},
		{supervisor.ExitEvent{Generation: 2, PID: 7, Status: "signal: killed", Retry: 100 * time.Millisecond},
			"<4>the backend has ended unasked: signal: killed; next start in 100ms, if somebody waits generation=2 pid=7"},
		{supervisor.FailEvent{Generation: 2, Err: errBusy, Retry: 1600 * time.Millisecond},
			"<3>cannot start the backend: address in use by process 7; next start in 1.6s, if somebody waits generation=2"},
		{supervisor.FailEvent{Generation: 2, Err: errBusy},
			"<3>cannot start the backend: address in use by process 7 generation=2"},
		{supervisor.StrangerEvent{Generation: 2, Err: errBusy},
			"<3>address in use by process 7 generation=2"},
		{supervisor.OutputEvent{Generation: 2, PID: 7, Line: "one\ttwo \x1b[31mred\u0085"},
			"<6>backend: one\ttwo �[31mred� pid=7"},
		{supervisor.TextEvent{Generation: 2, Text: "warm\n<0>forged"},
			"<6>backend status: warm�<0>forged generation=2"},
		{supervisor.NotifyEvent{Generation: 2, Err: errBusy},
			"<4>address in use by process 7 generation=2"},
	} {
		got := observed(func(o *Observer) { o.Backend(tt.event) })
		if got != tt.want+"\n" {
			t.Errorf("%T%+v:\n got %swant %s", tt.event, tt.event, got, tt.want)
		}
	}
}

func TestConnectionEvents(t *testing.T) {
	for _, tt := range []struct {
		event proxy.Event
		want  string
	}{
		{proxy.WaitEvent{Client: visitor},
			"<6>clients wait in line, because MaxConnections= (--connections) lets no more in at once"},
		{proxy.StarvedEvent{Err: syscall.EMFILE},
			"<3>cannot accept connections for now: too many open files; raise LimitNOFILE= of the service or lower MaxConnections="},
		{proxy.DrainEvent{Clients: 3, Limit: 30 * time.Second},
			"<6>stopping: no new clients; 3 still here, for at most 30s (DrainSec=)"},
		{proxy.EndEvent{Client: visitor, Outcome: proxy.Served, Waited: 1500 * time.Microsecond, Inside: 2 * time.Second, FromClient: 78, FromBackend: 204},
			"<6>served client=192.0.2.9:1234 in=78 out=204 served=2s session=5 waited=1.5ms"},
		{proxy.EndEvent{Client: named, Outcome: proxy.Served, Err: syscall.ECONNRESET, FailedSide: "client"},
			"<6>served, and ended by the client: connection reset by peer client=unix in=0 listener=web out=0 served=0s session=6 waited=0s"},
		{proxy.EndEvent{Client: visitor, Outcome: proxy.Served, Err: proxy.ErrStopping},
			"<6>served, and ended: tiproxy is stopping client=192.0.2.9:1234 in=0 out=0 served=0s session=5 waited=0s"},
		{proxy.EndEvent{Client: visitor, Outcome: proxy.Refused, Err: gate.ErrFull},
			"<4>refused: the line is full; QueueLength= (--queue) bounds the line, MaxConnections= (--connections) those inside client=192.0.2.9:1234 session=5 waited=0s"},
		{proxy.EndEvent{Client: visitor, Outcome: proxy.Left, Err: proxy.ErrHungUp, Waited: time.Minute},
			"<6>left: client hung up client=192.0.2.9:1234 session=5 waited=1m0s"},
		{proxy.EndEvent{Client: visitor, Outcome: proxy.Unserved, Err: errBusy},
			"<4>not served: address in use by process 7 client=192.0.2.9:1234 session=5 waited=0s"},
	} {
		got := observed(func(o *Observer) { o.Connection(tt.event) })
		if got != tt.want+"\n" {
			t.Errorf("%T%+v:\n got %swant %s", tt.event, tt.event, got, tt.want)
		}
	}
}

// What clients run into is said once a minute, each thing for itself; what
// happened to one client is said each time.
func TestReminders(t *testing.T) {
	crowd := func(o *Observer) {
		for range 3 {
			o.Connection(proxy.WaitEvent{Client: visitor})
			o.Connection(proxy.StarvedEvent{Err: syscall.EMFILE})
			o.Connection(proxy.EndEvent{Client: visitor, Outcome: proxy.Refused, Err: gate.ErrFull})
			o.Connection(proxy.EndEvent{Client: visitor, Outcome: proxy.Left, Err: proxy.ErrHungUp})
		}
	}
	count := func(log string) map[string]int {
		n := map[string]int{}
		for _, begin := range []string{"<6>clients wait", "<3>cannot accept", "<4>refused", "<6>left"} {
			n[begin] = strings.Count(log, begin)
		}
		return n
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := New(NewLog(&log, true), nil)
		for _, tt := range []struct {
			after     time.Duration // since the step before
			said, all int           // so far: reminders of each kind, and lines about a client that left
		}{
			{0, 1, 3},
			{reminder - 1, 1, 6},
			{1, 2, 9},
			{reminder - 1, 2, 12},
			{time.Hour, 3, 15},
		} {
			time.Sleep(tt.after)
			crowd(o)
			for begin, got := range count(log.String()) {
				want := tt.said
				if begin == "<6>left" {
					want = tt.all
				}
				if got != want {
					t.Fatalf("after %v more: %d lines %q, want %d", tt.after, got, begin, want)
				}
			}
		}
	})
}

// The STATUS= line is renewed once things have settled, and no timer is left.
func TestChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		var o *Observer
		o = New(NewLog(&bytes.Buffer{}, true), func() {
			if calls.Add(1) == 1 {
				o.Backend(supervisor.TextEvent{}) // happens while the line is made: it needs one more
			}
		})
		expect := func(after time.Duration, want int32) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := calls.Load(); got != want {
				t.Fatalf("changed was called %d times, want %d", got, want)
			}
		}
		o.Backend(supervisor.OutputEvent{Line: "the output of a backend changes nothing"})
		expect(time.Hour, 0)
		for range 100 {
			o.Connection(proxy.WaitEvent{})
			o.Backend(supervisor.ReadyEvent{})
		}
		expect(settle-1, 0)
		expect(1, 1)
		expect(settle-1, 1)
		expect(1, 2)
		expect(time.Hour, 2)
		o.Connection(proxy.EndEvent{})
		expect(settle, 3)
	})
}
