package observe

import (
	"testing"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/supervisor"
)

func TestLine(t *testing.T) {
	for _, tt := range []struct {
		status Status
		want   string
	}{
		{Status{Backend: Backend{State: "stopped"}},
			"backend stopped, 0 inside, 0 waiting, 0 served"},
		{Status{Backend: Backend{State: "ready", PID: 7}, Gate: Gate{Active: 1, Queued: 2, Served: 3, Refused: 4}},
			"backend ready (pid 7), 1 inside, 2 waiting, 3 served"},
		{Status{Backend: Backend{State: "external"}, Gate: Gate{Served: 1 << 40}},
			"backend external, 0 inside, 0 waiting, 1099511627776 served"},
	} {
		if got := tt.status.Line(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// Each number has its own place.
func TestStatusOfTheOwners(t *testing.T) {
	wantGate := Gate{Limit: 1, Active: 2, Queued: 3, Served: 4, Refused: 5, Abandoned: 6, TimedOut: 7}
	if got := GateStatus(gate.Stats{Limit: 1, Active: 2, Queued: 3, Served: 4, Refused: 5, Abandoned: 6, TimedOut: 7}); got != wantGate {
		t.Errorf("got %+v, want %+v", got, wantGate)
	}
	wantBackend := Backend{State: "backoff", PID: 1, Starts: 2, LastExit: "signal: killed"}
	if got := BackendStatus(supervisor.Status{State: supervisor.Backoff, PID: 1, Starts: 2, LastExit: "signal: killed"}); got != wantBackend {
		t.Errorf("got %+v, want %+v", got, wantBackend)
	}
}
