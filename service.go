package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/tiproxy/tiproxy/activation"
	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/hook"
	"github.com/tiproxy/tiproxy/metrics"
	"github.com/tiproxy/tiproxy/observe"
	"github.com/tiproxy/tiproxy/proxy"
	"github.com/tiproxy/tiproxy/relay"
	"github.com/tiproxy/tiproxy/sockaddr"
	"github.com/tiproxy/tiproxy/supervisor"
	"github.com/tiproxy/tiproxy/wake"
)

const (
	// halfClosed is how long a backend may compute after its client has said
	// all: longer than any answer takes that somebody waits for.
	halfClosed = time.Hour
	// lingering is how long a silent client may stay after the backend has said
	// all, and keep its slot from the next.
	lingering = time.Minute
)

// spare is how many more goroutines than event loops in use may run at once. While
// none of these places is free, Go's monitor takes the processor from a loop each time
// it waits, and watches it every 20 µs for that. Where more are free, the garbage
// collector has threads for them, which then want the CPUs of loops and clients.
const spare = 1

const (
	// servingGarbage is garbage while clients are served: memory is what thousands of
	// quiet ones cost.
	servingGarbage = 8
	// ballastSize is bytes that are live, but never touched, and so not in memory. A
	// small heap may have 2.5 MB of garbage with it, and that of ten thousand clients
	// not much more. Without, short sessions have the collector come ten times a
	// second, and many of them wait for it.
	ballastSize = 32 << 20
)

// ballast is that, for as long as it is kept; nil if the environment says how much
// garbage there may be. The collector comes at once, for it to count, so this is
// nothing for a start that somebody waits for.
func ballast() []byte {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	debug.SetGCPercent(servingGarbage)
	return make([]byte, ballastSize)
}

// loops is one for each CPU that Go found, or that GOMAXPROCS allows.
var loops = runtime.GOMAXPROCS(0)

// service is a tiproxy that is being put together, or runs.
type service struct {
	reread    func() (*config.Config, error) // reads the configuration again; nil: there is no file of it
	listeners []activation.Listener
	control   string // path of the control socket, if systemd did not pass one
	looking   sockets
	noBackend error // nil, or why no client can be served
	log       *logrus.Logger
	watch     func(supervisor.Event) // told what the observer is told; nil: nobody

	stopping atomic.Bool // we were told to stop; written by run

	mu  sync.Mutex     // held by who changes cfg
	cfg *config.Config // is replaced, never changed

	backend *supervisor.Supervisor // nil: there is none
	program *supervisor.Program    // instead, Mode=stdio; nil: there is none
	waker   *wake.Waker            // serves instead of the proxy, Mode=listen; nil: the proxy does
	hooks   *hook.Set
	metrics *metrics.Metrics
	relay   *relay.Relay
	proxy   *proxy.Proxy
}

// run serves until it is idle or told to stop.
func (s *service) run() error {
	stop, now := signals()
	defer closeAll(s.listeners)
	observer := observe.New(s.log, observe.Clients(s.cfg.Service.LogClients), s.publish)
	var err error
	if s.relay, err = relay.New(relay.Options{Loops: loops, HalfClosed: halfClosed, Lingering: lingering}); err != nil {
		return err
	}
	s.metrics = metrics.New(s.measured())
	s.hooks = hook.New(s.hooking(observer))
	if s.noBackend == nil && s.cfg.Backend.Stdio() {
		s.program = supervisor.NewProgram(s.programming(observer))
		defer s.program.Close()
		context.AfterFunc(now, s.program.Hurry)
	}
	s.proxy = proxy.New(s.proxying(observer))
	if s.noBackend == nil && s.cfg.Backend.Listens() {
		if s.waker, err = wake.New(s.waking()); err != nil {
			return err
		}
	}
	if s.noBackend == nil && s.program == nil { // after the proxy, which its events may concern at once
		if s.backend, err = supervisor.New(s.supervision(observer)); err != nil {
			return err
		}
	}
	defer s.reloadOnHangUp(observer)()
	defer s.answerControl(observer)()
	s.publish()
	if err := activation.Ready(); err != nil {
		s.log.Warn(err)
	}
	for _, l := range s.listeners {
		s.log.Infof("listening at %s", l.Addr)
	}
	defer runtime.KeepAlive(ballast())
	context.AfterFunc(stop, func() { s.stopping.Store(true) })
	alive, dead := context.WithCancel(context.Background())
	defer dead()
	go s.feedWatchdog(alive)
	go s.followLoops(alive)
	idle, err := s.serve(stop, now)
	if idle {
		s.log.Info("nobody came for a while: exiting, the next client wakes tiproxy again")
	}
	if err := activation.Stopping(); err != nil {
		s.log.Warn(err)
	}
	if s.backend != nil {
		s.backend.Shutdown(now)
	}
	s.hooks.Close(now)
	return err
}

// followLoops has Go run as many goroutines at once as the loops in use want.
func (s *service) followLoops(ctx context.Context) {
	for {
		runtime.GOMAXPROCS(s.relay.InUse() + spare)
		select {
		case <-s.relay.Changes():
		case <-ctx.Done():
			return
		}
	}
}

// serve serves clients until it is idle or told to stop.
func (s *service) serve(stop, now context.Context) (idle bool, err error) {
	if s.waker != nil {
		return s.waker.Serve(stop)
	}
	return s.proxy.Serve(stop, now)
}

// kept shows the supervisor to the waker.
type kept struct{ s *service }

// Acquire implements wake.Backend.
func (k kept) Acquire(ctx context.Context) (wake.Lease, error) {
	return k.s.backend.Acquire(ctx)
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

// TryAcquire implements proxy.Backend.
func (b backend) TryAcquire() proxy.Lease {
	if b.s.noBackend != nil {
		return nil
	}
	if l := b.s.backend.TryAcquire(); l != nil {
		return l
	}
	return nil // a nil *Lease is no nil Lease
}

// programs shows the program of each client to the proxy.
type programs struct{ *supervisor.Program }

// Serve implements proxy.Server.
func (p programs) Serve(ctx context.Context, fd int, c proxy.Client, local sockaddr.Addr, begun func(pid int)) error {
	who := clientOf(c)
	if local.IsIP() {
		who.LocalAddr, who.LocalPort = local.IP.Addr().String(), int(local.IP.Port())
	}
	return p.Program.Serve(ctx, fd, who.Environment, begun)
}

// backendStatus is how the backend does, or what stands in for it.
func (s *service) backendStatus() supervisor.Status {
	switch {
	case s.backend != nil:
		return s.backend.Status()
	case s.program != nil:
		return s.program.Status()
	}
	return supervisor.Status{State: supervisor.Stopped}
}

// status collects the snapshot, without the memory, which takes a moment.
func (s *service) status() observe.Status {
	gate := s.proxy.Gate().Stats()
	st := observe.Status{Version: version, PID: os.Getpid(), State: observe.Idle, Gate: observe.GateStatus(gate)}
	busy, since, oldest := s.proxy.Activity()
	if s.waker != nil { // the proxy meets nobody
		busy, since = s.waker.Awake(), time.Time{}
	}
	st.Since, st.Gate.OldestWaitUsec, st.Gate.Denied = since, oldest.Microseconds(), s.proxy.Denied()
	switch {
	case s.stopping.Load():
		st.State = observe.Draining
	case gate.Paused:
		st.State = observe.Paused
	case busy:
		st.State = observe.Serving
	}
	for _, l := range s.listeners {
		st.Listeners = append(st.Listeners, observe.Listener{Name: l.Name, Address: l.Addr.String()})
	}
	backend := s.backendStatus()
	st.Time = time.Now() // last: nothing in it began later
	st.Backend = observe.BackendStatus(backend, st.Time)
	return st
}

// publish renews the STATUS= line.
func (s *service) publish() {
	st := s.status()
	if s.backend != nil {
		st.Backend.MemoryBytes = s.backend.MemoryCounted()
	}
	if err := activation.Status(st.Line()); err != nil {
		s.log.Warn(err)
	}
}
