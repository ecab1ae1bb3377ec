package observe

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/supervisor"
)

func TestLine(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 2, 12, 0, time.Local)
	for _, tt := range []struct {
		status Status
		want   string
	}{
		{Status{Backend: Backend{State: "stopped"}},
			"asleep · nobody inside, 0 served"},
		{Status{Gate: Gate{Served: 17}, Backend: Backend{State: "stopped", Starts: 3, LastExit: "exit status 0"}},
			"asleep · nobody inside, 17 served · last backend: exit status 0"},
		{Status{Time: now, Gate: Gate{Active: 1}, Backend: Backend{State: "starting", PID: 4711, Since: now.Add(-time.Second), Text: "loads 3 of 7\n\x1b[2J"}},
			"starting · 1 inside, 0 waiting · backend 4711 starting since Nov 22 14:02:11 · “loads 3 of 7��[2J”"},
		{Status{Time: now, State: Serving, Gate: Gate{Active: 1, Queued: 4, Served: 21, OldestWaitUsec: 12e6},
			Backend: Backend{State: "ready", PID: 4711, Since: now, UpUsec: 120e6, MemoryBytes: 212e6, Served: 17}},
			"ready · 1 inside, 4 waiting (oldest since Nov 22 14:02:00) · backend 4711 up since Nov 22 14:00:12, 212 MB, 17 served"},
		{Status{Gate: Gate{Active: 1, Queued: 2, OldestWaitUsec: 12e6}, Backend: Backend{State: "ready", PID: 7, UpUsec: 120e6}},
			"ready · 1 inside, 2 waiting · backend 7"},
		{Status{Gate: Gate{Queued: 2}, Backend: Backend{State: "backoff", LastExit: "signal: killed"}},
			"pausing after a failure · 0 inside, 2 waiting · last backend: signal: killed"},
		{Status{Gate: Gate{Active: 1}, Backend: Backend{State: "draining", PID: 7}},
			"replacing the backend · 1 inside, 0 waiting · backend 7"},
		{Status{Backend: Backend{State: "stopping", PID: 7}},
			"stopping the backend · nobody inside, 0 served · backend 7"},
		{Status{Backend: Backend{State: "frozen", PID: 7}},
			"frozen · nobody inside, 0 served · backend 7"},
		{Status{State: Draining, Gate: Gate{Active: 2}, Backend: Backend{State: "ready", PID: 7}},
			"stopping, nobody new is let in · 2 inside, 0 waiting · backend 7"},
		{Status{Backend: Backend{State: "external"}, Gate: Gate{Served: 1 << 40}},
			"ready · nobody inside, 1099511627776 served"},
	} {
		if got := tt.status.Line(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// systemd drops a message that is too long, and takes a second line for
// something else that it is told.
func TestLineFitsIntoAMessage(t *testing.T) {
	long := strings.Repeat("ä\n", 4000)
	s := Status{Backend: Backend{State: "ready", Text: long, LastExit: long}}
	if line := s.Line(); len(line) > 2000 || strings.Contains(line, "\n") {
		t.Errorf("the line has %d bytes: %q", len(line), line)
	}
}

// Each number has its own place.
func TestStatusOfTheOwners(t *testing.T) {
	wantGate := Gate{Limit: 1, Active: 2, Queued: 3, Served: 4, Refused: 5, Abandoned: 6, TimedOut: 7}
	if got := GateStatus(gate.Stats{Limit: 1, Active: 2, Queued: 3, Served: 4, Refused: 5, Abandoned: 6, TimedOut: 7}); got != wantGate {
		t.Errorf("got %+v, want %+v", got, wantGate)
	}
	wantBackend := Backend{State: "backoff", Since: at, PID: 1, Starts: 2, Text: "loads", LastExit: "signal: killed"}
	got := BackendStatus(supervisor.Status{State: supervisor.Backoff, Since: at, PID: 1, Starts: 2, Text: "loads", LastExit: "signal: killed"}, time.Time{})
	if got != wantBackend {
		t.Errorf("got %+v, want %+v", got, wantBackend)
	}
}

// Programs read these names: fields are only ever added.
func TestStatusJSON(t *testing.T) {
	s := Status{
		Version: "1", PID: 2, Time: at, State: Serving, Since: at, Listeners: []Listener{{"web", "[::]:80"}},
		Gate:    Gate{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
		Backend: Backend{"ready", at, 1, 2, 3, 4, 5, 6, "loads", "exit status 0"},
	}
	const want = `{"version":"1","pid":2,"time":"2026-02-03T04:05:06.0078Z","state":"serving","since":"2026-02-03T04:05:06.0078Z",` +
		`"listeners":[{"name":"web","address":"[::]:80"}],` +
		`"gate":{"limit":1,"active":2,"queued":3,"oldest_wait_usec":4,"served":5,"refused":6,"abandoned":7,"timed_out":8,"denied":9,"failed":10,"late":11},` +
		`"backend":{"state":"ready","since":"2026-02-03T04:05:06.0078Z","generation":1,"pid":2,"up_usec":3,"served":4,"starts":5,` +
		`"memory_bytes":6,"text":"loads","last_exit":"exit status 0"}}`
	if got, err := json.Marshal(s); err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	if got, _ := json.Marshal(Status{}); strings.Contains(string(got), "0001") {
		t.Errorf("a time that is not known is told: %s", got)
	}
}

func TestCut(t *testing.T) {
	for most, want := range map[int]string{9: "aäöüß", 8: "aäö…", 7: "aä…", 6: "aä…", 5: "a…", 4: "a…", 3: "…"} {
		if got := cut("aäöüß", most); got != want {
			t.Errorf("to %d bytes: got %q, want %q", most, got, want)
		}
	}
}

// How many the last backend served is not told of a backend that has ended.
func TestServedIsOfTheBackendThatRuns(t *testing.T) {
	for pid, want := range map[int]uint64{7: 3, 0: 0} {
		if got := BackendStatus(supervisor.Status{PID: pid, Leases: 3}, time.Now()).Served; got != want {
			t.Errorf("pid %d: %d served, want %d", pid, got, want)
		}
	}
}
