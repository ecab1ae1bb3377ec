package observe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/sirupsen/logrus"
	"github.com/tiproxy/tiproxy/proxy"
	"github.com/tiproxy/tiproxy/sockaddr"
	"github.com/tiproxy/tiproxy/supervisor"
)

// streamed makes a log that writes lines as for the journal's stream.
func streamed(out io.Writer) *logrus.Logger {
	log := NewLog(Options{Out: out, IsJournal: true, Format: FormatText})
	log.AddHook(promises{})
	return log
}

// promises is a hook that finds a field which its kind does not promise, or a
// kind that is not in the list.
type promises struct{}

// Levels implements logrus.Hook.
func (promises) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (promises) Fire(e *logrus.Entry) error {
	kind := kindOf(e)
	if !slices.ContainsFunc(Kinds(), func(k Kind) bool { return k.Event == kind.Event }) {
		panic(kind.Event + " is not among the kinds")
	}
	for key := range e.Data {
		if key != keyEvent && !slices.Contains(kind.Fields, key) {
			panic(kind.Event + " carries " + key + ", which its kind does not promise")
		}
	}
	return nil
}

// observed is what the log gets for the events that tell makes.
func observed(tell func(*Observer)) string {
	var log bytes.Buffer
	tell(New(streamed(&log), ClientsFull, nil))
	return log.String()
}

var (
	errBusy = errors.New("address in use by process 7")
	visitor = proxy.Client{Number: 5, Addr: sockaddr.TCP(netip.MustParseAddrPort("192.0.2.9:1234"))}
	named   = proxy.Client{Number: 6, Addr: sockaddr.Unix(""), Listener: "web"}
)

// The STATUS= line is renewed once things have settled, and no timer is left.
func TestChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		var o *Observer
		o = New(streamed(io.Discard), ClientsFull, func() {
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
		o.Connection(&proxy.EndEvent{})
		expect(settle, 3)
	})
}

func TestReloaded(t *testing.T) {
	for _, tt := range []struct {
		changed, later []string
		err            error
		want           string
	}{
		{nil, nil, nil, "<6>the configuration was read again: nothing has changed"},
		{[]string{"MaxConnections=", "IdleStopSec="}, nil, nil, "<6>the configuration was read again: MaxConnections=, IdleStopSec= changed"},
		{[]string{"MaxConnections="}, []string{"WakeOn="}, nil,
			"<6>the configuration was read again: MaxConnections= changed; WakeOn= will change when tiproxy is restarted"},
		{nil, nil, errBusy, "<3>cannot reload the configuration: address in use by process 7; the one before stays"},
	} {
		if got := observed(func(o *Observer) { o.Reloaded(tt.changed, tt.later, tt.err) }); got != tt.want+"\n" {
			t.Errorf("got %swant %s", got, tt.want)
		}
	}
}

func TestRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := New(NewLog(Options{Out: io.Discard, Level: "error"}), ClientsFull, nil)
		o.Backend(supervisor.ReadyEvent{Generation: 2, PID: 7, After: time.Second})
		o.Backend(supervisor.OutputEvent{Line: "<3>not an event of ours"})
		o.Connection(proxy.WaitEvent{Client: visitor}) // one at level info, about the line, and one at debug
		began := time.Now()
		time.Sleep(time.Second)
		o.Connection(&proxy.EndEvent{Client: visitor, Outcome: proxy.Left, Err: proxy.ErrHungUp, Waited: time.Second})
		o.Connection(&proxy.EndEvent{Client: visitor, Outcome: proxy.Served, Waited: time.Second, Inside: time.Minute, FromClient: 3, FromBackend: 4})
		time.Sleep(time.Second) // what becomes an entry only now has its own time
		want := []Entry{
			{began, "info", "backend-ready", "the backend is ready after 1s"},
			{began, "info", "line-limit", "clients wait in line, because MaxConnections= (--connections) lets no more in at once"},
			{began.Add(time.Second), "info", "session-end", "left: client hung up client=192.0.2.9:1234 session=5 waited=1s"},
			{began.Add(time.Second), "info", "session-end", "served client=192.0.2.9:1234 session=5 waited=1s served=1m0s in=3 out=4"},
		}
		if got := o.Recent(); !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

// Neither many events nor large ones make it grow.
func TestRecentIsBounded(t *testing.T) {
	o := New(streamed(io.Discard), ClientsFull, nil)
	for i := range uint64(3*recentMost + 7) {
		o.Backend(supervisor.TextEvent{Generation: i, Text: fmt.Sprint(i, strings.Repeat("ä", recentText))})
	}
	got := o.Recent()
	if len(got) != recentMost {
		t.Fatalf("%d events are kept, want %d", len(got), recentMost)
	}
	for i, e := range got {
		want := fmt.Sprintf("backend status: %dä", 2*recentMost+7+i)
		if !strings.HasPrefix(e.Text, want) || !strings.HasSuffix(e.Text, "ä…") || len(e.Text) > recentText || !utf8.ValidString(e.Text) {
			t.Errorf("event %d is %q, %d bytes; want %s…", i, e.Text, len(e.Text), want)
		}
	}
}
