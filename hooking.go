package main

import (
	"context"
	"strconv"
	"time"

	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/hook"
	"github.com/tiproxy/tiproxy/observe"
	"github.com/tiproxy/tiproxy/proxy"
	"github.com/tiproxy/tiproxy/supervisor"
	"golang.org/x/sys/unix"
)

// hooking says which commands run, and how.
func (s *service) hooking(o *observe.Observer) hook.Config {
	h := s.cfg.Hooks
	c := hook.Config{
		Commands: map[hook.Kind][]string{
			hook.BeforeNext: h.BeforeNext, hook.OnTimeout: h.OnTimeout, hook.OnStart: h.OnStart,
			hook.OnReady: h.OnReady, hook.OnStop: h.OnStop, hook.OnCrash: h.OnCrash,
		},
		Run: func(ctx context.Context, argv, env []string, output func(string)) error {
			return supervisor.Run(ctx, argv, env, output)
		},
		Events: func(e hook.Event) {
			o.Hook(e)
			s.metrics.Hook(e)
		},
	}
	if h.Timeout != config.Never {
		c.Limit = h.Timeout
	}
	return c
}

// beforeNext runs BeforeNext= for a client that has got its slot.
func (s *service) beforeNext(ctx context.Context, c proxy.Client) error {
	facts := s.facts("")
	facts.Client = clientOf(c)
	return s.hooks.Before(ctx, facts)
}

// hookConnection fires the hooks that an event of a client's is for.
func (s *service) hookConnection(e proxy.Event) {
	end, is := e.(*proxy.EndEvent)
	if !is || !end.TooLong() {
		return
	}
	facts := s.facts(end.Err.Error())
	facts.Client, facts.Generation = clientOf(end.Client), end.Generation
	s.hooks.Fire(hook.OnTimeout, facts)
}

// hookBackend fires the hooks that an event of the backend's is for.
func (s *service) hookBackend(e supervisor.Event) {
	fire := func(kind hook.Kind, generation uint64, pid int, reason string) {
		facts := s.facts(reason)
		facts.Generation, facts.PID = generation, pid
		s.hooks.Fire(kind, facts)
	}
	switch e := e.(type) {
	case supervisor.LaunchEvent:
		fire(hook.OnStart, e.Generation, e.PID, "a client came")
	case supervisor.ReadyEvent:
		fire(hook.OnReady, e.Generation, e.PID, "ready after "+e.After.Round(time.Millisecond).String())
	case supervisor.ExitEvent:
		if e.Wanted || e.Retry == 0 {
			fire(hook.OnStop, e.Generation, e.PID, e.Status)
		} else {
			fire(hook.OnCrash, e.Generation, e.PID, e.Status)
		}
	case supervisor.FailEvent:
		fire(hook.OnCrash, e.Generation, 0, e.Err.Error())
	}
}

// facts are what every hook is told.
func (s *service) facts(reason string) hook.Facts {
	gate := s.proxy.Gate().Stats()
	f := hook.Facts{Reason: reason, Served: gate.Served, Waiting: gate.Queued}
	if s.backend != nil { // nil while its first event comes out of New
		st := s.backend.Status()
		f.Generation, f.PID = st.Generation, st.PID
	}
	return f
}

// clientOf says where a client came from in the words of the hooks.
func clientOf(c proxy.Client) *hook.Client {
	h := &hook.Client{Session: c.Number, Listener: c.Listener}
	switch a := c.Addr; {
	case a.IsIP():
		h.Proto, h.Addr, h.Port = "TCP", a.IP.Addr().String(), int(a.IP.Port())
	case a.Family == unix.AF_VSOCK:
		h.Proto, h.Addr, h.Port = "VSOCK", strconv.FormatUint(uint64(a.CID), 10), int(a.Port)
	default:
		h.Proto = "UNIX"
	}
	return h
}
