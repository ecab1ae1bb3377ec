package supervisor

import (
	"context"
	"fmt"
	"time"
)

// Requests to the owner, beside the inputs of the machine.
type (
	// asker is somebody who waits in Acquire.
	asker struct {
		answer chan *Lease // takes one lease, or nil for ErrShutdown
	}
	leaver struct{ *asker } // the asker's context ended
	// launch is the outcome of a start.
	launch struct {
		gen   uint64
		child *child // nil: it failed
		err   error
	}
	// ending is the end of a child and of its tree.
	ending struct {
		child  *child
		status string
		ok     bool // status 0
	}
	succession struct { // MAINPID= of the child
		gen uint64
		pid int
	}
	saying struct { // STATUS= of the child
		gen  uint64
		text string
	}
	// worn says that a child is to be recycled, and why.
	worn struct {
		recycle
		reason string
	}
	// replacement is wanted for whatever child there is, and why.
	replacement struct{ reason string }
	// ping is closed by who answers.
	ping chan struct{}
	// ill says that a child does not answer any more, and how that is known.
	ill struct {
		ailing
		cause error
	}
	suspicion struct{ gen uint64 } // a session was reset by the child
	pulse     struct {             // WATCHDOG=1 of the child
		gen   uint64
		every time.Duration // WATCHDOG_USEC=: the limit from now on; 0: as before
	}
)

// owner is the goroutine that owns the state. What it cannot do at once (fork,
// wait, probe) it has other goroutines do, and they answer to its inbox.
type owner struct {
	*Supervisor
	m       machine
	waiting []*asker    // in order of arrival; m.waiting is their number
	child   *child      // the one of generation m.gen; nil: none, or not launched yet
	timer   *time.Timer // the one that m armed last; nil: none yet
	began   time.Time   // when the present start was decided
	readyAt time.Time   // when the child was ready; zero: it is not
	cause   error       // why the child is not ready or not healthy; nil: unknown
	reason  string      // why the child is recycled; "": it is not
	fires   time.Time   // when timer fires
	age     *time.Timer // recycles the child at RecycleAge; nil: none
	weighed time.Time   // when the child's memory was looked at last

	abandon context.CancelCauseFunc // ends the launch of generation m.gen, and why; nil: there was none yet

	watchdog *time.Timer   // fires when the child is silent; nil: none
	silence  time.Duration // how long it may be silent; 0: for ever
}

func newOwner(s *Supervisor) *owner {
	return &owner{Supervisor: s, m: machine{
		startTimeout: s.cfg.StartTimeout,
		stopTimeout:  s.cfg.StopTimeout,
		idleStop:     s.cfg.IdleStop,
		freeze:       s.cfg.Freeze,
		freezeStop:   s.cfg.FreezeStop,
		grace:        s.cfg.RecycleGrace,
		state:        Stopped,
	}}
}

// run serves the inbox until the backend was shut down.
func (o *owner) run() {
	defer close(o.done)
	defer o.inbox.close()
	defer o.forker.stop()
	if o.cfg.Preload {
		o.input(preload{})
	}
	for {
		for _, in := range o.inbox.take() {
			o.take(in)
			if o.m.closing && o.m.state == Stopped {
				return
			}
		}
	}
}

// take turns a request into the machine's input.
func (o *owner) take(in any) {
	switch in := in.(type) {
	case *asker:
		o.waiting = append(o.waiting, in)
		o.input(asked{})
	case leaver:
		if o.forget(in.asker) {
			o.input(quit{})
		}
	case launch:
		o.launched(in)
	case isReady:
		o.ready(in)
	case ending:
		o.ended(in)
	case succession:
		if in.gen == o.m.gen && o.child != nil {
			o.status.Lock()
			o.status.PID = in.pid
			o.status.Unlock()
		}
	case saying:
		if in.gen == o.m.gen {
			o.status.Lock()
			o.status.Text = in.text
			o.status.Unlock()
			o.emit(TextEvent{in.gen, in.text})
		}
	case released:
		o.input(in)
		o.weigh(in.gen)
	case worn:
		if in.gen == o.m.gen {
			o.reason = in.reason
			o.input(in.recycle)
		}
	case ping:
		close(in)
	case replacement:
		o.take(worn{recycle{o.m.gen}, in.reason})
	case ill:
		o.fellIll(in)
	case suspicion:
		if in.gen == o.m.gen && o.child != nil && dying(int(o.child.main.Load())) {
			o.input(leaving{in.gen, true})
		}
	case pulse:
		if in.gen == o.m.gen {
			o.beat(in.every)
		}
	default:
		o.input(in)
	}
}

// input steps the machine and does what it answers. Whoever is answered finds
// the new state in Status.
func (o *owner) input(in any, tell ...Event) {
	all := o.m.step(in)
	o.publish()
	for _, e := range tell { // whoever hears it finds the new state, and nobody was answered yet
		o.emit(e)
	}
	for _, do := range all {
		switch do := do.(type) {
		case start:
			o.start(do.gen)
		case terminate:
			o.terminate()
		case kill:
			o.kill()
		case arm:
			o.arm(do)
		case disarm:
			o.timer.Stop()
		case grant:
			o.answer(do.n, func() *Lease {
				o.child.place.grant()
				return &Lease{s: o.Supervisor, at: &o.child.place}
			})
		case dismiss:
			o.answer(len(o.waiting), func() *Lease { return nil })
		case cut:
			o.emit(CutEvent{do.gen, o.cfg.RecycleGrace})
		case freeze:
			o.freeze()
		case thaw:
			o.thaw()
		}
	}
}

func (o *owner) start(gen uint64) {
	o.began, o.readyAt, o.cause, o.reason = time.Now(), time.Time{}, nil, ""
	o.silence = o.cfg.Watchdog
	o.m.quota = shorten(o.cfg.RecycleConnections, o.cfg.RecycleJitter)
	ctx, abandon := context.WithCancelCause(context.Background())
	o.abandon = abandon
	go func() {
		c, err := o.launchChild(ctx, gen)
		o.send(launch{gen, c, err})
	}()
}

// terminate has the child end. Before it is launched there is nothing to
// signal: a launch that takes its time is abandoned, and if it succeeds all the
// same the machine will say it again.
func (o *owner) terminate() {
	if o.child == nil {
		cause := ErrShutdown
		if !o.m.closing {
			cause = fmt.Errorf("it did not start within %v (StartTimeoutSec=, --start)", o.m.startTimeout)
		}
		o.abandon(cause)
		return
	}
	reason := o.reason
	switch {
	case o.m.closing:
		reason = "shutting down"
	case o.m.failed:
		if o.cause == nil {
			o.cause = o.child.notReady(o.m.startTimeout)
		}
		reason = o.cause.Error()
	case reason == "" && o.m.fresh: // the machine counts the leases itself
		reason = fmt.Sprintf("recycling it after %d connections (RecycleConnections=)", o.m.given)
	case reason == "":
		reason = fmt.Sprintf("nobody used it for %v", o.m.idleStop)
	}
	o.emit(StopEvent{o.m.gen, o.child.pid, reason})
	o.child.terminate()
}

func (o *owner) kill() {
	if o.child == nil {
		return
	}
	o.emit(KillEvent{o.m.gen, o.child.pid, o.m.stopTimeout})
	o.child.kill()
}

func (o *owner) arm(do arm) {
	if o.timer != nil {
		o.timer.Stop()
	}
	fires := time.Now().Add(do.after)
	if shortest := o.readyAt.Add(o.cfg.MinUptime); do.idle && fires.Before(shortest) {
		fires = shortest
	}
	if do.later && fires.Before(o.fires) {
		fires = o.fires
	}
	o.fires = fires
	o.timer = time.AfterFunc(time.Until(fires), func() { o.send(elapsed{do.timer}) })
}

// answer gives the first n who wait what lease makes, in order.
func (o *owner) answer(n int, lease func() *Lease) {
	for _, a := range o.waiting[:n] {
		a.answer <- lease()
	}
	o.waiting = append([]*asker(nil), o.waiting[n:]...)
}

// forget takes an asker out of those who wait; false if it was answered.
func (o *owner) forget(a *asker) bool {
	for i, w := range o.waiting {
		if w == a {
			o.waiting = append(o.waiting[:i:i], o.waiting[i+1:]...)
			return true
		}
	}
	return false
}

func (o *owner) launched(in launch) {
	if in.err != nil {
		o.input(unborn{in.gen})
		o.emit(FailEvent{in.gen, in.err, o.retry()})
		return
	}
	o.child = in.child
	o.status.Lock()
	o.status.PID, o.status.tree, o.status.place, o.status.Text = in.child.pid, in.child.tree, &in.child.place, ""
	o.status.Starts++
	o.status.Unlock()
	o.emit(LaunchEvent{in.gen, in.child.pid, in.child.argv})
	in.child.follow()
	o.input(launched{in.gen})
}

// ready follows what says that the child is ready; that may be said again.
func (o *owner) ready(in isReady) {
	if o.m.state != Starting || in.gen != o.m.gen {
		return
	}
	o.readyAt = time.Now()
	o.input(in, ReadyEvent{in.gen, o.child.pid, time.Since(o.began)})
	o.beginAge()
}

// ended follows the end of the child and of all of its tree.
func (o *owner) ended(in ending) {
	c := in.child
	served := c.served.Load()
	e := ExitEvent{Generation: c.gen, PID: c.pid, Status: in.status, Served: served}
	if !o.readyAt.IsZero() {
		e.Uptime = time.Since(o.readyAt)
	}
	e.Wanted = o.m.state == Stopping && !o.m.failed
	unready := o.m.state == Starting
	o.child = nil
	o.endAge()
	o.status.Lock()
	o.status.PID, o.status.tree, o.status.LastExit = 0, nil, in.status
	o.status.Unlock()
	o.input(exited{gen: c.gen, clean: in.ok && served, uptime: e.Uptime})
	e.Retry = o.retry()
	o.emit(e)
	switch {
	case o.cause != nil: // it was stopped because it was not ready, or not healthy
		o.emit(FailEvent{c.gen, o.cause, e.Retry})
	case unready:
		o.emit(FailEvent{c.gen, c.diedUnready(in.status), e.Retry})
	}
}

// retry is the pause that the machine has just begun; 0 if it did not.
func (o *owner) retry() time.Duration {
	if o.m.state != Backoff {
		return 0
	}
	return o.m.pause
}

// publish makes the state known to Status.
func (o *owner) publish() {
	o.status.Lock()
	defer o.status.Unlock()
	if o.status.State != o.m.state {
		o.status.State, o.status.Since = o.m.state, time.Now()
	}
	o.status.Generation, o.status.Leases, o.status.Ready = o.m.gen, o.m.given, time.Time{}
	if o.child != nil {
		o.status.Ready = o.readyAt
	}
	// Who counts each lease, or looks at the memory after each, has to hear of each.
	if o.m.state == Ready && o.cfg.RecycleConnections == 0 && o.cfg.RecycleMemory == 0 {
		o.shared.Store(&o.child.place)
	} else {
		o.shared.Store(nil)
	}
}
