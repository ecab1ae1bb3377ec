package main

import (
	"time"

	"github.com/tiproxy/tiproxy/access"
	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/metrics"
	"github.com/tiproxy/tiproxy/observe"
	"github.com/tiproxy/tiproxy/proxy"
	"github.com/tiproxy/tiproxy/supervisor"
	"github.com/tiproxy/tiproxy/wake"
	"golang.org/x/sys/unix"
)

// What the configuration says, in the words of those who do it.

func (s *service) supervision(o *observe.Observer) supervisor.Config {
	b := s.cfg.Backend
	var alive time.Duration
	if b.Alive != "" {
		alive = b.AliveInterval
	}
	c := supervisor.Config{
		Command: b.Exec, Path: b.ExecPath, Unit: b.Unit, Dir: b.WorkingDirectory, Surroundings: surroundings(&b), Address: b.Address, Auto: b.AddressAuto,
		Ready: supervisor.Readiness(b.Ready), ProbeInterval: b.ReadyInterval, ReadyDelay: b.ReadyDelay,
		ReadyCommand: b.ReadyCommand, ReadyLog: b.ReadyLog, ReadyFD: b.ReadyFD,
		StopSignal: b.StopSignal, StopCommand: b.StopCommand, AliveInterval: alive, AliveCommand: b.AliveCommand,
		StartTimeout: b.StartTimeout, IdleStop: b.IdleStop, StopTimeout: b.StopTimeout,
		MinUptime: b.MinUptime, Preload: b.Preload,
		RecycleConnections: b.RecycleConnections, RecycleAge: b.RecycleAge, RecycleMemory: b.RecycleMemory,
		RecycleJitter: b.RecycleJitter, RecycleGrace: b.RecycleGrace,
		Freeze: b.IdleAction == config.IdleFreeze, FreezeStop: b.IdleFreeze,
		Watchdog: b.Watchdog, NotifyMain: b.NotifyAccess == config.NotifyMain,
		Reap: true,
		Events: func(e supervisor.Event) {
			o.Backend(e)
			s.metrics.Backend(e)
			s.hookBackend(e)
			switch e := e.(type) {
			case supervisor.ExitEvent:
				s.proxy.BackendGone(e.Generation)
				if s.waker != nil {
					s.waker.BackendGone(e.Generation)
				}
			case supervisor.CutEvent:
				s.proxy.Cut(e.Generation)
			}
			if s.watch != nil {
				s.watch(e)
			}
		},
	}
	if b.Listens() {
		s.giveSockets(&c)
	}
	return c
}

// giveSockets is for Mode=listen: the backend has our sockets.
func (s *service) giveSockets(c *supervisor.Config) {
	c.SocketStdin = s.cfg.Backend.Mode == config.ModeListenStdin
	if c.Ready == supervisor.ReadyListen {
		c.Ready = supervisor.ReadyNone
	}
	for _, l := range s.listeners {
		c.Sockets = append(c.Sockets, supervisor.Socket{FD: l.FD, Name: l.Name})
	}
}

// waking is for Mode=listen, too.
func (s *service) waking() wake.Config {
	c := wake.Config{
		Backend: kept{s}, Idle: s.cfg.Backend.IdleStop, IdleExit: s.cfg.Service.IdleExit,
		Trouble: func(err error) { s.log.Warn(err) },
	}
	for _, l := range s.listeners {
		c.Listeners = append(c.Listeners, wake.Listener{FD: l.FD, Addr: l.Addr, V6Only: l.V6Only, Datagram: l.Datagram})
	}
	return c
}

// programming is supervision for Mode=stdio.
func (s *service) programming(o *observe.Observer) supervisor.ProgramConfig {
	b := s.cfg.Backend
	return supervisor.ProgramConfig{
		Command: b.Exec, Path: b.ExecPath, Dir: b.WorkingDirectory, Surroundings: surroundings(&b),
		SocketStderr: b.Mode == config.ModeStdioStderr,
		StopSignal:   b.StopSignal, StopTimeout: b.StopTimeout,
		Output: func(pid int, line string) { o.Backend(supervisor.OutputEvent{PID: pid, Line: line}) },
	}
}

func surroundings(b *config.Backend) supervisor.Surroundings {
	around := supervisor.Surroundings{
		User: b.User, Group: b.Group, OneGroup: !b.UserGroups, Environment: b.Environment, EnvironmentFiles: b.EnvironmentFiles,
		UMask: b.UMask, Nice: b.Nice, OOMScoreAdjust: b.OOMScoreAdjust,
	}
	if l := b.LimitNOFILE; l != nil {
		around.NoFile = &unix.Rlimit{Cur: l.Soft, Max: l.Hard}
	}
	return around
}

func (s *service) proxying(o *observe.Observer) proxy.Config {
	c := proxy.Config{Relay: s.relay, Backend: backend{s}, Rules: rulesOf(s.cfg), Events: func(e proxy.Event) {
		o.Connection(e)
		s.metrics.Connection(e)
		s.hookConnection(e)
	}}
	if s.program != nil {
		c.Server = programs{s.program}
	}
	if len(s.cfg.Hooks.BeforeNext) > 0 {
		c.Before = s.beforeNext
	}
	if s.cfg.Backend.Listens() {
		return c // nobody is accepted
	}
	for _, l := range s.listeners {
		c.Listeners = append(c.Listeners, proxy.Listener{FD: l.FD, Name: l.Name, Addr: l.Addr})
	}
	return c
}

// measured is what the metrics read when they are fetched.
func (s *service) measured() metrics.Sources {
	return metrics.Sources{
		Version: version,
		Gate:    func() gate.Stats { return s.proxy.Gate().Stats() },
		Denied:  func() uint64 { return s.proxy.Denied() },
		Backend: s.backendStatus,
		Memory: func() int64 {
			if s.backend == nil {
				return 0
			}
			return s.backend.Memory()
		},
	}
}

func rulesOf(cfg *config.Config) proxy.Rules {
	g, a := &cfg.Gate, &cfg.Access
	r := proxy.Rules{
		Gate: gate.Options{
			Limit: g.MaxConnections, Queue: g.QueueLength,
			PerSource: g.MaxPerSource, QueuePerSource: g.QueuePerSource, Fair: g.Fair == config.FairSource,
			QueueTimeout: bounded(g.QueueTimeout), SessionTimeout: bounded(g.SessionTimeout),
			BeforeMayFail: cfg.Hooks.Failure == config.FailureContinue,
		},
		Rate: gate.Rate(g.Rate),
		Access: access.Rules{
			AllowFrom: a.AllowFrom, DenyFrom: a.DenyFrom, Times: a.Times, Users: a.AllowUsers, Groups: a.AllowGroups,
		},
		Trusted: a.AcceptProxy, TrustUnix: a.AcceptProxyUnix,
		WakeOnData: cfg.Backend.WakeOn == config.WakeData, WakeTimeout: cfg.Backend.WakeTimeout,
		AbortOnClose: g.AbortOnClose, KeepAlive: g.KeepAlive,
		WhenFull:     proxy.Farewell{Kind: farewells[g.WhenFull], Text: g.FullMessage},
		QueueMessage: g.QueueMessage,
		SendProxy:    cfg.Backend.SendProxy, StartTimeout: cfg.Backend.StartTimeout, SessionIdle: g.SessionIdle,
		RestartLate: g.OnTimeout == config.TimeoutRestart,
		IdleExit:    cfg.Service.IdleExit, Drain: cfg.Service.Drain,
	}
	if cfg.Hooks.Timeout != config.Never {
		// The hook's own limit comes first, and kills it; this one is for what
		// cannot be killed.
		r.Gate.BeforeTimeout = cfg.Hooks.Timeout + time.Second
	}
	if g.OnTimeout == config.TimeoutReset {
		r.OnLate.Kind = proxy.FarewellReset
	}
	return r
}

var farewells = map[string]proxy.FarewellKind{
	config.FullRefuse: proxy.FarewellClose, config.FullReset: proxy.FarewellReset,
	config.FullMessage: proxy.FarewellMessage, config.FullBacklog: proxy.FarewellBacklog,
}

// bounded is a limit as the gate wants it, where 0 is none.
func bounded(d time.Duration) time.Duration {
	if d == config.Never {
		return 0
	}
	return d
}
