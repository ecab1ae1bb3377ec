package metrics

import (
	"errors"
	"slices"
	"sync"

	"github.com/tiproxy/tiproxy/hook"
	"github.com/tiproxy/tiproxy/proxy"
	"github.com/tiproxy/tiproxy/supervisor"
)

// tallied is what nobody but us counts. It is a plain value: a copy is a
// snapshot.
type tallied struct {
	outcomes [len(outcomes)]uint64 // of the clients that are gone, by place in outcomes
	failures [len(sides)]uint64    // of sessions, by place in sides
	idle     uint64                // sessions ended by SessionIdleSec=
	starved  uint64                // times that accepting had to rest
	in, out  uint64                // bytes of the sessions that have ended, from and to the clients
	waits    histogram             // from being accepted to being let in
	sessions histogram             // inside, of those who reached the backend

	starts        histogram          // from the decision to start until ready
	startFailures uint64             // starts after which there was no ready backend
	kills         uint64             // backends that StopTimeoutSec= was over for
	exits         [len(exits)]uint64 // by place in exits
	ready         uint64             // the last generation that was ready; 0: none yet

	hookFailures [len(hooks)]uint64 // by place in hooks
	hookDrops    uint64             // hooks that were never run
}

// tally takes the events.
type tally struct {
	mu  sync.Mutex
	now tallied // under mu
}

// outcomes are the values of the label outcome that are tallied. How many were
// denied is known to the proxy.
var outcomes = [...]proxy.Outcome{proxy.Served, proxy.Refused, proxy.Left, proxy.Unserved}

// sides are the values of the label side.
var sides = [...]string{"client", "backend"}

// exits are the values of the label reason.
var exits = [...]string{
	"stopped", // it was told to
	"ended",   // by itself, and in order
	"failed",  // it crashed, or was not ready in time, or fell silent
}

// hooks are the values of the label hook.
var hooks = [...]hook.Kind{hook.BeforeNext, hook.OnStart, hook.OnReady, hook.OnStop, hook.OnCrash, hook.OnTimeout}

// Connection takes an event of the proxy.
func (m *Metrics) Connection(e proxy.Event) {
	m.tally.mu.Lock()
	defer m.tally.mu.Unlock()
	t := &m.tally.now
	switch e := e.(type) {
	case *proxy.AdmitEvent:
		t.waits.observe(e.Waited)
	case *proxy.EndEvent:
		t.ended(e)
	case proxy.StarvedEvent:
		t.starved++
	}
}

// ended takes the end of a client.
func (t *tallied) ended(e *proxy.EndEvent) {
	count(t.outcomes[:], outcomes[:], e.Outcome)
	if e.Outcome != proxy.Served {
		return
	}
	t.sessions.observe(e.Inside)
	t.in += e.FromClient
	t.out += e.FromBackend
	count(t.failures[:], sides[:], e.FailedSide)
	if errors.Is(e.Err, proxy.ErrSessionIdle) {
		t.idle++
	}
}

// Backend takes an event of the supervisor.
func (m *Metrics) Backend(e supervisor.Event) {
	m.tally.mu.Lock()
	defer m.tally.mu.Unlock()
	t := &m.tally.now
	switch e := e.(type) {
	case supervisor.ReadyEvent:
		t.ready = e.Generation
		t.starts.observe(e.After)
	case supervisor.FailEvent:
		if e.Generation != t.ready { // else it was ready, and then fell silent
			t.startFailures++
		}
	case supervisor.KillEvent:
		t.kills++
	case supervisor.ExitEvent:
		count(t.exits[:], exits[:], reason(e))
	}
}

// reason is one of exits.
func reason(e supervisor.ExitEvent) string {
	switch {
	case e.Wanted:
		return "stopped"
	case e.Retry == 0:
		return "ended"
	}
	return "failed"
}

// Hook takes an event of the hooks.
func (m *Metrics) Hook(e hook.Event) {
	m.tally.mu.Lock()
	defer m.tally.mu.Unlock()
	t := &m.tally.now
	switch e := e.(type) {
	case hook.RunEvent:
		if e.Err != nil {
			count(t.hookFailures[:], hooks[:], e.Kind)
		}
	case hook.DropEvent:
		t.hookDrops += uint64(e.Number)
	}
}

// count adds one to the place that which has among values, if it has one.
func count[T comparable](places []uint64, values []T, which T) {
	if i := slices.Index(values, which); i >= 0 {
		places[i]++
	}
}

// copy is the tally of this moment.
func (t *tally) copy() tallied {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}
