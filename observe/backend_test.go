package observe

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tiproxy/tiproxy/supervisor"
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

// A blank STATUS= takes back what was said, and is no news.
func TestBlankStatus(t *testing.T) {
	for _, text := range []string{"", " \t"} {
		if got := observed(func(o *Observer) { o.Backend(supervisor.TextEvent{Generation: 2, Text: text}) }); got != "" {
			t.Errorf("%q: got %s", text, got)
		}
	}
}

// A backend that knows sd-daemon(3) says itself how much a line matters; what
// it writes is passed on, whatever level of our own messages is wanted.
func TestPriorityOfOutput(t *testing.T) {
	for line, want := range map[string]string{
		"<0>a": "<3>backend: a", "<1>a": "<3>backend: a", "<2>a": "<3>backend: a", "<3>a": "<3>backend: a",
		"<4>a": "<4>backend: a", "<5>a": "<6>backend: a", "<6>a": "<6>backend: a", "<7>a": "<7>backend: a",
		"<3>": "<3>backend: ", "<3><4>a": "<3>backend: <4>a",
		"a": "<6>backend: a", "": "<6>backend: ", "<8>a": "<6>backend: <8>a", "<30>a": "<6>backend: <30>a", "<3": "<6>backend: <3", " <3>a": "<6>backend:  <3>a",
	} {
		var log bytes.Buffer
		New(NewLog(Options{Out: &log, IsJournal: true, Format: FormatText, Level: "error"}), ClientsFull, nil).
			Backend(supervisor.OutputEvent{Line: line, PID: 7})
		if got := log.String(); got != want+" pid=7\n" {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func FuzzPriorityOf(f *testing.F) {
	f.Add("<3>disk full")
	f.Add("<30>")
	f.Add("<")
	f.Fuzz(func(t *testing.T, line string) {
		_, rest := priorityOf(line)
		if prefix, whole := strings.CutSuffix(line, rest); !whole || len(prefix) != 0 && (len(prefix) != 3 || !strings.Contains("01234567", prefix[1:2])) {
			t.Errorf("of %q remains %q", line, rest)
		}
	})
}

// A stranger that writes to the notify socket without end fills no disk, and
// it is said how much was left out.
func TestFloodOfTroubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := New(streamed(&log), ClientsFull, nil)
		flood := func(n int) (told []string) {
			for i := range n {
				o.Backend(supervisor.NotifyEvent{Generation: 2, Err: fmt.Errorf("stranger %d", i)})
			}
			told = strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
			log.Reset()
			return told
		}
		if got := flood(1000); len(got) != troublesMost {
			t.Errorf("%d of 1000 were told, want %d", len(got), troublesMost)
		}
		time.Sleep(reminder)
		got := flood(1000)
		if want := "<4>stranger 0; 995 more like this since the last one told generation=2"; len(got) != troublesMost || got[0] != want {
			t.Errorf("a minute later %d were told, the first is %q, want %q", len(got), got[0], want)
		}
		if want := "<4>stranger 1 generation=2"; got[1] != want {
			t.Errorf("the second is %q, want %q", got[1], want)
		}
	})
}
