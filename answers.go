package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/tiproxy/tiproxy/activation"
	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/control"
	"github.com/tiproxy/tiproxy/observe"
	"github.com/tiproxy/tiproxy/proxy"
)

// answers is what the control socket shows of a service, and has it do. It
// implements control.Service.
type answers struct {
	s    *service
	o    *observe.Observer
	tidy *time.Timer // gives memory back a while after the last look
}

// tidying is how long nobody looks before the memory is given back that looks
// have taken: HTTP and JSON take more of it than thousands of clients.
const tidying = time.Second

// sockets are those that systemd passed for who looks at tiproxy.
type sockets struct {
	control, metrics *activation.Listener // nil: there is none
}

// take takes the sockets out of the listeners that have such names
// (FileDescriptorName= of a socket unit).
func take(all []activation.Listener) (clients []activation.Listener, s sockets) {
	for _, l := range all {
		switch {
		case l.Name == "control" && s.control == nil:
			s.control = &l
		case l.Name == "metrics" && s.metrics == nil:
			s.metrics = &l
		default:
			clients = append(clients, l)
		}
	}
	return clients, s
}

// answerControl opens the sockets for who looks at tiproxy, and answers how to
// close them. Serving clients does not depend on them.
func (s *service) answerControl(o *observe.Observer) (end func()) {
	var servers []*control.Server
	serve := func(server *control.Server, err error) {
		if err != nil {
			s.log.Warn(err)
			return
		}
		servers = append(servers, server)
		go func() {
			if err := server.Serve(); err != nil {
				s.log.Error(err)
			}
		}()
	}
	a := answers{s, o, time.AfterFunc(tidying, debug.FreeOSMemory)}
	serve(s.controlServer(a))
	if l := s.looking.metrics; l != nil {
		serve(control.NewMetricsServer(l.FD, a))
	}
	if name := s.cfg.Service.MetricsListen; !name.IsZero() {
		all, err := activation.Listen(context.Background(), name)
		if err != nil {
			serve(nil, fmt.Errorf("%w; choose another MetricsListen= (--metrics-listen)", err))
		}
		for _, l := range all {
			serve(control.NewMetricsServer(l.FD, a))
		}
	}
	return func() {
		for _, server := range servers {
			_ = server.Close()
		}
	}
}

func (s *service) controlServer(a answers) (*control.Server, error) {
	var socket *control.Socket
	var err error
	if l := s.looking.control; l != nil {
		socket, err = control.Inherit(l.FD)
	} else {
		socket, err = control.Bind(s.control, s.cfg.Service.ControlGroup)
	}
	if err != nil {
		return nil, fmt.Errorf("tiproxy status will not work: %w", err)
	}
	return control.NewServer(socket, a), nil
}

func (a answers) Status() any {
	a.tidy.Reset(tidying)
	st := a.s.status()
	if a.s.backend != nil {
		st.Backend.MemoryBytes = a.s.backend.Memory()
	}
	return st
}

func (a answers) Queue() []control.Waiting {
	a.tidy.Reset(tidying)
	line := a.s.proxy.Line()
	all := make([]control.Waiting, len(line))
	for i, c := range line {
		all[i] = control.Waiting{
			Position: i + 1, Session: c.Client.Number, Client: c.Client.String(), Source: c.Client.Source(),
			Listener: c.Client.Listener, WaitedUsec: c.Waited.Microseconds(),
		}
	}
	return all
}

func (a answers) Sessions() []control.Session {
	a.tidy.Reset(tidying)
	states := map[proxy.Stage]string{proxy.Entering: "connecting", proxy.Joined: "relaying", proxy.Hosted: "running"}
	var all []control.Session
	for _, c := range a.s.proxy.Sessions() {
		state, inside := states[c.Stage]
		if !inside {
			continue
		}
		all = append(all, control.Session{
			Session: c.Client.Number, Client: c.Client.String(), Listener: c.Client.Listener, State: state,
			SinceUsec: c.Inside.Microseconds(), WaitedUsec: c.Waited.Microseconds(),
			In: c.FromClient, Out: c.FromBackend, Generation: c.Generation, PID: c.PID,
		})
	}
	return all
}

func (a answers) Events() []control.Event {
	var all []control.Event
	for _, e := range a.o.Recent() {
		all = append(all, control.Event{Time: e.Time, Level: e.Level, Event: e.Event, Text: e.Text})
	}
	return all
}

func (a answers) Restart(now bool) error {
	s := a.s
	switch {
	case s.program != nil:
		return fmt.Errorf("each connection has a process of its own (Mode=stdio), which ends with it: %w", control.ErrConflict)
	case s.backend == nil:
		return fmt.Errorf("no backend is configured: %w", control.ErrConflict)
	}
	st := s.backend.Status()
	if st.PID == 0 {
		return fmt.Errorf("no backend runs: the next client starts one: %w", control.ErrConflict)
	}
	s.backend.Recycle("an administrator wants it (restart)")
	if now {
		s.proxy.Cut(st.Generation)
	}
	return nil
}

// errNoGate answers who would pause a gate that nobody goes through.
var errNoGate = fmt.Errorf("the backend accepts its clients itself (Mode=listen): %w", control.ErrConflict)

func (a answers) Drain() error {
	if a.s.waker != nil {
		return errNoGate
	}
	a.s.proxy.Gate().Pause()
	a.o.Paused(true)
	return nil
}

func (a answers) Resume() error {
	if a.s.waker != nil {
		return errNoGate
	}
	a.s.proxy.Gate().Resume()
	a.o.Paused(false)
	return nil
}

func (a answers) Set(name, value string) error {
	err := a.s.set(name, value)
	switch {
	case errors.Is(err, config.ErrFixed):
		return fmt.Errorf("%w: %w", err, control.ErrConflict)
	case err != nil:
		return fmt.Errorf("%w: %w", err, control.ErrInvalid)
	}
	a.o.Set(name + "=" + value)
	return nil
}

func (a answers) Kick(session uint64) error {
	if !a.s.proxy.Kick(session) {
		return fmt.Errorf("there is no session %d: %w", session, control.ErrNotFound)
	}
	return nil
}

func (a answers) Metrics(w io.Writer) error {
	a.tidy.Reset(tidying)
	_, err := a.s.metrics.WriteTo(w)
	return err
}
