package main

import (
	"context"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/tiproxy/tiproxy/activation"
	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/control"
	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/observe"
	"github.com/tiproxy/tiproxy/proxy"
	"github.com/tiproxy/tiproxy/relay"
	"github.com/tiproxy/tiproxy/supervisor"
	"golang.org/x/sys/unix"
)

const (
	// halfClosed is how long a backend may compute after its client has said
	// all: longer than any answer takes that somebody waits for.
	halfClosed = time.Hour
	// lingering is how long a silent client may stay after the backend has said
	// all, and keep its slot from the next.
	lingering = time.Minute
)

// service is a tiproxy that is being put together, or runs.
type service struct {
	cfg       *config.Config
	listeners []activation.Listener
	control   string // path of the control socket
	noBackend error  // nil, or why no client can be served
	log       *logrus.Logger
	watch     func(supervisor.Event) // told what the observer is told; nil: nobody

	gate    *gate.Gate
	backend *supervisor.Supervisor // nil: there is none
	proxy   *proxy.Proxy
}

// run serves until it is idle or told to stop.
func (s *service) run() error {
	stop, now := signals()
	defer closeAll(s.listeners)
	observer := observe.New(s.log, observe.ClientsFull, s.publish)
	s.gate = gate.New(s.cfg.Gate.MaxConnections, s.cfg.Gate.QueueLength)
	bytes, err := relay.New(relay.Options{HalfClosed: halfClosed, Lingering: lingering})
	if err != nil {
		return err
	}
	if s.proxy, err = proxy.New(s.proxying(observer, bytes)); err != nil {
		return err
	}
	if s.noBackend == nil { // after the proxy, which its events may concern at once
		if s.backend, err = supervisor.New(s.supervision(observer)); err != nil {
			return err
		}
	}
	defer s.answerControl()()
	s.publish()
	if err := activation.Ready(); err != nil {
		s.log.Warn(err)
	}
	for _, l := range s.listeners {
		s.log.Infof("listening at %s", l.Addr)
	}
	idle, err := s.proxy.Serve(stop, now)
	if idle {
		s.log.Info("nobody came for a while: exiting, the next client wakes tiproxy again")
	}
	if err := activation.Stopping(); err != nil {
		s.log.Warn(err)
	}
	if s.backend != nil {
		s.backend.Shutdown(now)
	}
	return err
}

func (s *service) supervision(o *observe.Observer) supervisor.Config {
	b := s.cfg.Backend
	around := supervisor.Surroundings{
		User: b.User, Group: b.Group, Environment: b.Environment, EnvironmentFiles: b.EnvironmentFiles,
		UMask: b.UMask, Nice: b.Nice, OOMScoreAdjust: b.OOMScoreAdjust,
	}
	if l := b.LimitNOFILE; l != nil {
		around.NoFile = &unix.Rlimit{Cur: l.Soft, Max: l.Hard}
	}
	var alive time.Duration
	if b.Alive != "" {
		alive = b.AliveInterval
	}
	return supervisor.Config{
		Command: b.Exec, Unit: b.Unit, Dir: b.WorkingDirectory, Surroundings: around, Address: b.Address, Auto: b.AddressAuto,
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
			switch e := e.(type) {
			case supervisor.ExitEvent:
				s.proxy.BackendGone(e.Generation)
			case supervisor.CutEvent:
				s.proxy.Cut(e.Generation)
			}
			if s.watch != nil {
				s.watch(e)
			}
		},
	}
}

func (s *service) proxying(o *observe.Observer, bytes *relay.Relay) proxy.Config {
	c := proxy.Config{
		Gate: s.gate, Relay: bytes, Backend: backend{s},
		WakeOnData: s.cfg.Backend.WakeOn == config.WakeData, WakeTimeout: s.cfg.Backend.WakeTimeout,
		QueueTimeout: s.cfg.Gate.QueueTimeout, StartTimeout: s.cfg.Backend.StartTimeout,
		SessionTimeout: s.cfg.Gate.SessionTimeout, RestartLate: s.cfg.Gate.OnTimeout == config.TimeoutRestart,
		IdleExit: s.cfg.Service.IdleExit, Drain: s.cfg.Service.Drain,
		Events: o.Connection,
	}
	for _, l := range s.listeners {
		c.Listeners = append(c.Listeners, proxy.Listener{FD: l.FD, Name: l.Name, Addr: l.Addr})
	}
	return c
}

// backend shows the supervisor to the proxy.
type backend struct{ s *service }

// Acquire implements proxy.Backend.
func (b backend) Acquire(ctx context.Context) (proxy.Lease, error) {
	if b.s.noBackend != nil {
		return nil, b.s.noBackend
	}
	l, err := b.s.backend.Acquire(ctx)
	if err != nil {
		return nil, err // a nil *Lease is no nil Lease
	}
	return l, nil
}

// status collects the snapshot.
func (s *service) status() observe.Status {
	st := observe.Status{Version: version, PID: os.Getpid(), Gate: observe.GateStatus(s.gate.Stats())}
	for _, l := range s.listeners {
		st.Listeners = append(st.Listeners, observe.Listener{Name: l.Name, Address: l.Addr.String()})
	}
	if s.backend != nil {
		st.Backend = observe.BackendStatus(s.backend.Status())
	} else {
		st.Backend.State = string(supervisor.Stopped)
	}
	return st
}

// publish renews the STATUS= line.
func (s *service) publish() {
	if err := activation.Status(s.status().Line()); err != nil {
		s.log.Warn(err)
	}
}

// answerControl opens the control socket, and answers how to close it. Serving
// clients does not depend on it.
func (s *service) answerControl() (end func()) {
	server, err := control.Listen(s.control, func() any {
		st := s.status()
		if s.backend != nil {
			st.Backend.MemoryBytes = s.backend.Memory()
		}
		return st
	})
	if err != nil {
		s.log.Warnf("tiproxy status will not work: %v", err)
		return func() {}
	}
	go func() {
		if err := server.Serve(); err != nil {
			s.log.Error(err)
		}
	}()
	return func() { _ = server.Close() }
}
