package observe

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tiproxy/tiproxy/access"
	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/proxy"
	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

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
		{&proxy.EndEvent{Client: visitor, Outcome: proxy.Served, Waited: 1500 * time.Microsecond, Inside: 2 * time.Second, FromClient: 78, FromBackend: 204},
			"<6>served client=192.0.2.9:1234 session=5 waited=1.5ms served=2s in=78 out=204"},
		{&proxy.EndEvent{Client: named, Outcome: proxy.Served, Err: syscall.ECONNRESET, FailedSide: "client"},
			"<6>served, and ended by the client: connection reset by peer client=unix session=6 listener=web waited=0s served=0s in=0 out=0"},
		{&proxy.EndEvent{Client: visitor, Outcome: proxy.Served, Err: proxy.ErrStopping},
			"<6>served, and ended: tiproxy is stopping client=192.0.2.9:1234 session=5 waited=0s served=0s in=0 out=0"},
		{&proxy.EndEvent{Client: visitor, Outcome: proxy.Served, Inside: time.Second, PID: 4711}, // nobody counts its bytes
			"<6>served client=192.0.2.9:1234 session=5 waited=0s served=1s pid=4711"},
		{&proxy.EndEvent{Client: visitor, Outcome: proxy.Refused, Err: gate.ErrFull},
			"<4>refused: the line is full; QueueLength= (--queue) bounds the line, MaxConnections= (--connections) those inside client=192.0.2.9:1234 session=5 waited=0s"},
		{&proxy.EndEvent{Client: visitor, Outcome: proxy.Left, Err: proxy.ErrHungUp, Waited: time.Minute},
			"<6>left: client hung up client=192.0.2.9:1234 session=5 waited=1m0s"},
		{&proxy.EndEvent{Client: visitor, Outcome: proxy.Unserved, Err: errBusy},
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
			o.Connection(&proxy.EndEvent{Client: visitor, Outcome: proxy.Refused, Err: gate.ErrFull})
			o.Connection(&proxy.EndEvent{Client: visitor, Outcome: proxy.Left, Err: proxy.ErrHungUp})
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
		o := New(streamed(&log), ClientsFull, nil)
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

// Who is kept out is said by name, or not at all, and never more often than
// once a minute.
func TestDenied(t *testing.T) {
	stranger := &access.Refusal{Who: access.Caller{IP: netip.MustParseAddr("192.0.2.9")}, Why: "is refused by DenyFrom=192.0.2.9"}
	user := &access.Refusal{Who: access.Caller{Unix: &access.Peer{UID: 1001}}, Why: "stands in neither AllowUsers= nor AllowGroups="}
	for _, tt := range []struct {
		clients Clients
		who     proxy.Client
		err     error
		want    string
	}{
		{ClientsFull, visitor, stranger, "denied: 192.0.2.9 is refused by DenyFrom=192.0.2.9%s client=192.0.2.9:1234 session=5 waited=0s"},
		{ClientsMasked, visitor, stranger, "denied: is refused by DenyFrom=192.0.2.0/24%s client=192.0.2.0/24 session=5 waited=0s"},
		{ClientsNone, visitor, stranger, "denied: is refused by DenyFrom=the client%s session=5 waited=0s"},
		{ClientsFull, named, user, "denied: user 1001 stands in neither AllowUsers= nor AllowGroups=%s client=unix session=6 listener=web waited=0s"},
		{ClientsMasked, named, user, "denied: stands in neither AllowUsers= nor AllowGroups=%s client=unix session=6 listener=web waited=0s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			o := New(streamed(&log), tt.clients, nil)
			for range 3 {
				o.Connection(&proxy.EndEvent{Client: tt.who, Outcome: proxy.Denied, Err: fmt.Errorf("wrapped: %w", tt.err)})
			}
			time.Sleep(reminder)
			o.Connection(&proxy.EndEvent{Client: tt.who, Outcome: proxy.Denied, Err: tt.err})
			want := fmt.Sprintf("<4>"+tt.want+"\n<4>"+tt.want+"\n", "", "; 2 more like this since the last one told")
			if got := strings.Replace(log.String(), "wrapped: ", "", 1); got != want {
				t.Errorf("LogClients=%s:\n got %swant %s", tt.clients, got, want)
			}
		})
	}
}

// Each client that waits is told at level debug.
func TestDebug(t *testing.T) {
	var log bytes.Buffer
	o := New(NewLog(Options{Out: &log, IsJournal: true, Format: FormatText, Level: "debug"}), ClientsFull, nil)
	for range 2 {
		o.Connection(proxy.WaitEvent{Client: named})
	}
	if got := strings.Count(log.String(), "<7>waits in line client=unix session=6 listener=web\n"); got != 2 {
		t.Errorf("%d of 2 clients are told:\n%s", got, log.String())
	}
}

func client(address string) proxy.Client {
	return proxy.Client{Number: 5, Addr: sockaddr.TCP(netip.MustParseAddrPort(address))}
}

func TestClients(t *testing.T) {
	var (
		v4    = client("192.0.2.9:1234")
		v6    = client("[2001:db8:1:2::3]:1234")
		scope = client("[fe80::1:2%7]:1234")
		path  = proxy.Client{Addr: sockaddr.Unix("/home/ann/s")}
		vm    = proxy.Client{Addr: sockaddr.Addr{Family: unix.AF_VSOCK, CID: 7, Port: 9}}
		here  = client("127.0.0.1:1234")
	)
	for _, tt := range []struct {
		clients Clients
		who     proxy.Client
		name    string
		text    string
		hidden  string
	}{
		{ClientsFull, v4, "192.0.2.9:1234", "x 192.0.2.9 y 192.0.2.9:1234", "x 192.0.2.9 y 192.0.2.9:1234"},
		{ClientsMasked, v4, "192.0.2.0/24", "x 192.0.2.9 y 192.0.2.9:1234", "x 192.0.2.0/24 y 192.0.2.0/24"},
		{ClientsNone, v4, "", "x 192.0.2.9 y 192.0.2.9:1234", "x the client y the client"},
		{"typo", v4, "", "192.0.2.9", "the client"},
		{"", v4, "", "192.0.2.9", "the client"},
		{ClientsMasked, v6, "2001:db8:1::/48", "x 2001:db8:1:2::3 y [2001:db8:1:2::3]:1234", "x 2001:db8:1::/48 y 2001:db8:1::/48"},
		{ClientsMasked, scope, "fe80::/48", "fe80::1:2%7", "fe80::/48"},
		{ClientsMasked, path, "unix", "bind /home/ann/s", "bind unix"},
		{ClientsNone, path, "", "bind /home/ann/s", "bind the client"},
		{ClientsMasked, named, "unix", "no path", "no path"},
		{ClientsMasked, vm, "vsock", "x", "x"},
		{ClientsNone, vm, "", "x", "x"},
		{ClientsMasked, here, "127.0.0.0/24", "the backend at 127.0.0.1:8000", "the backend at 127.0.0.1:8000"},
	} {
		if got := tt.clients.name(tt.who); got != tt.name {
			t.Errorf("%s %v: named %q, want %q", tt.clients, tt.who.Addr, got, tt.name)
		}
		if got := tt.clients.hide(tt.text, tt.who); got != tt.hidden {
			t.Errorf("%s %v: of %q is told %q, want %q", tt.clients, tt.who.Addr, tt.text, got, tt.hidden)
		}
	}
}

// What LogClients= hides is in no format, whatever happens to a client and
// however its error names it, and not among the last events.
func TestHiddenClientsAreHiddenEverywhere(t *testing.T) {
	who := client("192.0.2.77:1234")
	fault := fmt.Errorf("bad header from %v, of %v", who.Addr, who.Addr.IP.Addr())
	for _, clients := range []Clients{ClientsMasked, ClientsNone} {
		for _, format := range []Format{FormatText, FormatJSON, FormatJournal} {
			journald := fakeJournal(t)
			var log bytes.Buffer
			o := New(NewLog(Options{Out: &log, Format: format, Level: "debug"}), clients, nil)
			for _, how := range []proxy.Outcome{proxy.Served, proxy.Refused, proxy.Denied, proxy.Left, proxy.Unserved} {
				o.Connection(&proxy.EndEvent{Client: who, Outcome: how, Err: fault, FailedSide: "client"})
			}
			o.Connection(proxy.WaitEvent{Client: who}) // two entries
			if format == FormatJournal {
				for range 7 {
					fmt.Fprint(&log, received(t, journald))
				}
			}
			fmt.Fprint(&log, o.Recent())
			if text := log.String(); !strings.Contains(text, "bad header") || strings.Contains(text, "192.0.2.77") || strings.Contains(text, ":1234") {
				t.Errorf("LogClients=%s, %s tells:\n%s", clients, format, text)
			}
		}
	}
}
