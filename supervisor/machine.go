package supervisor

import (
	"math/rand/v2"
	"time"
)

// State is what the backend is doing. Its text is what `tiproxy status` shows.
type State string

// The states; the package comment has the ways between them.
const (
	Stopped  State = "stopped"
	Starting State = "starting"
	Ready    State = "ready"
	Frozen   State = "frozen"   // ready, but its processes are stopped until somebody asks
	Draining State = "draining" // to be recycled once its leases are back
	Stopping State = "stopping"
	Backoff  State = "backoff"
	External State = "external" // no command: the backend is not ours to start
	Stdio    State = "stdio"    // there is none: each client has a Program of its own
)

const (
	// A failed start is tried again after 100 ms: a port in TIME_WAIT or a
	// lock file may be gone by then. Each further failure doubles that.
	backoffFirst = 100 * time.Millisecond
	// Nobody at a keyboard waits gladly for longer than half a minute after
	// having mended the cause.
	backoffMost = 30 * time.Second
	// A backend that lived for a minute was healthy; its failures are forgotten.
	healthy = time.Minute
)

// machine decides. It is a pure function of its fields and an input: it starts
// no process, reads no clock and sends nothing. owner carries out what step
// answers.
type machine struct {
	startTimeout time.Duration // forever: no limit
	stopTimeout  time.Duration // 0 after hurry
	idleStop     time.Duration // forever: never
	freeze       bool          // when idle, freeze instead of stop
	freezeStop   time.Duration // frozen for so long, stop; forever: never
	quota        int           // leases of one generation, then it is recycled; 0: any number
	grace        time.Duration // for the leases of a generation that is recycled

	state    State
	gen      uint64        // generation: counts the starts; each child has its own
	given    int           // leases of this generation
	leases   int           // of them, not released
	waiting  int           // askers without an answer
	failures int           // failed starts and crashes in a row
	failed   bool          // Stopping because it was not ready in time, or is not healthy
	fresh    bool          // Draining or Stopping to be started again, whether or not somebody waits
	closing  bool          // Shutdown was asked for: no start any more
	timer    uint64        // number of the armed timer; an elapsed with another number is stale
	armed    bool          // that timer is running
	pause    time.Duration // of the present or last Backoff
}

// What can happen. Inputs of a child carry its generation; those of an
// earlier one change nothing.
type (
	asked    struct{}             // somebody wants the backend
	quit     struct{}             // somebody who waited does not want it any more
	preload  struct{}             // start it, though nobody wants it yet
	released struct{ gen uint64 } // a lease came back
	launched struct{ gen uint64 } // the child runs, and can be signalled from now on
	isReady  struct{ gen uint64 } // the child is ready
	unborn   struct{ gen uint64 } // the child could not be started
	recycle  struct{ gen uint64 } // the child is to be replaced, between two leases
	ailing   struct{ gen uint64 } // the child does not answer any more
	leaving  struct {             // the child is about to end, and needs no signal
		gen   uint64
		crash bool // unasked, in disorder
	}
	extend struct { // the child wants more time to start or to stop
		gen uint64
		by  time.Duration // from now
	}
	exited struct { // the child is gone, and its tree with it
		gen    uint64
		clean  bool          // status 0 after it had served somebody
		uptime time.Duration // since it was ready; 0: it never was
	}
	elapsed struct{ timer uint64 } // the armed timer fired
	shutter struct{}               // no start any more; stop what runs
	hurry   struct{}               // no patience any more with what is to stop
)

// What is to be done.
type (
	start     struct{ gen uint64 }
	terminate struct{ gen uint64 } // SIGTERM to the tree
	kill      struct{ gen uint64 } // SIGKILL to the tree
	cut       struct{ gen uint64 } // the leases that are out are not waited for any more
	freeze    struct{ gen uint64 } // stop all processes of the tree where they are
	thaw      struct{ gen uint64 } // let them go on
	arm       struct {             // start the timer, instead of the one before
		timer uint64
		after time.Duration
		idle  bool // not before the child's shortest uptime
		later bool // not before it would have fired anyway
	}
	disarm  struct{}        // stop the timer
	grant   struct{ n int } // a lease for the first n who wait
	dismiss struct{}        // ErrShutdown for everybody who waits
)

// step takes one input and answers what is to be done, in order.
func (m *machine) step(in any) (do []any) {
	if m.stale(in) {
		return nil
	}
	switch in := in.(type) {
	case asked:
		m.waiting++
		return m.ask()
	case quit:
		m.waiting--
	case preload:
		if m.state == Stopped && !m.closing {
			return m.start()
		}
	case released:
		m.leases--
		return m.release()
	case launched:
		if m.state == Stopping { // told to stop before there was anything to signal
			return m.stop()
		}
	case isReady:
		if m.state == Starting {
			m.state = Ready
			return append(m.disarm(), m.give()...)
		}
	case unborn:
		return m.fail()
	case recycle:
		return m.recycle()
	case ailing:
		if m.state == Starting || m.state == Ready || m.state == Draining {
			m.failed = true
			return m.stop()
		}
	case leaving:
		if m.state == Ready || m.state == Draining {
			m.state, m.failed = Stopping, in.crash
			return m.arm(m.stopTimeout)
		}
	case extend:
		return m.extend(in.by)
	case exited:
		return m.exit(in)
	case elapsed:
		m.armed = false
		return m.timeout()
	case shutter:
		m.closing = true
		return append([]any{dismiss{}}, m.shut()...)
	case hurry:
		m.stopTimeout = 0
		if m.state == Stopping {
			return m.arm(0)
		}
	}
	return nil
}

// stale tells whether in belongs to an earlier child or timer.
func (m *machine) stale(in any) bool {
	switch in := in.(type) {
	case elapsed:
		return in.timer != m.timer || !m.armed
	case released:
		return in.gen != m.gen || m.state == Stopped || m.state == Backoff
	case launched:
		return in.gen != m.gen
	case isReady:
		return in.gen != m.gen
	case unborn:
		return in.gen != m.gen
	case recycle:
		return in.gen != m.gen
	case ailing:
		return in.gen != m.gen
	case leaving:
		return in.gen != m.gen
	case extend:
		return in.gen != m.gen
	case exited:
		return in.gen != m.gen
	}
	return false
}

func (m *machine) ask() []any {
	switch {
	case m.closing:
		m.waiting = 0
		return []any{dismiss{}}
	case m.state == Stopped:
		return m.start()
	case m.state == Ready:
		return append(m.disarm(), m.give()...)
	case m.state == Frozen:
		m.state = Ready
		return append(append([]any{thaw{m.gen}}, m.disarm()...), m.give()...)
	}
	return nil // Starting, Draining, Stopping, Backoff: the answer comes with what follows
}

// give turns those who wait into leases, as many as this generation may still
// have. The idle clock runs if there is none out, and the last lease that it
// may have is where it begins to drain.
func (m *machine) give() []any {
	n := m.waiting
	if m.quota > 0 {
		n = min(n, m.quota-m.given)
	}
	m.waiting -= n
	m.leases += n
	m.given += n
	do := []any{grant{n}}
	if m.quota > 0 && m.given == m.quota {
		return append(do, m.recycle()...)
	}
	return append(do, m.idle()...)
}

// release follows a lease that came back.
func (m *machine) release() []any {
	switch {
	case m.leases > 0:
		return nil
	case m.state == Ready:
		return m.idle()
	case m.state == Draining:
		return m.stop()
	}
	return nil
}

// idle starts the idle clock of a ready backend that nobody uses.
func (m *machine) idle() []any {
	if m.leases > 0 || m.idleStop == forever {
		return nil
	}
	m.timer++
	m.armed = true
	return []any{arm{timer: m.timer, after: m.idleStop, idle: true}}
}

// recycle has the child replaced once nobody uses it. A frozen one is only
// stopped: nobody has asked for it for a while.
func (m *machine) recycle() []any {
	switch {
	case m.state == Frozen:
		return m.stop()
	case m.state != Ready:
		return nil
	}
	m.fresh = true
	if m.leases == 0 {
		return m.stop()
	}
	m.state = Draining
	return m.arm(m.grace)
}

// extend gives a start or a stop under way more time, and never less.
func (m *machine) extend(by time.Duration) []any {
	patient := m.state == Starting || m.state == Stopping && m.stopTimeout > 0
	if !m.armed || !patient {
		return nil
	}
	m.timer++
	return []any{arm{timer: m.timer, after: by, later: true}}
}

func (m *machine) start() []any {
	m.state = Starting
	m.failed, m.fresh = false, false
	m.given, m.leases = 0, 0
	m.gen++
	return append([]any{start{m.gen}}, m.arm(m.startTimeout)...)
}

func (m *machine) stop() []any {
	var do []any
	if m.state == Frozen { // it could not hear the signal
		do = append(do, thaw{m.gen})
	}
	m.state = Stopping
	return append(append(do, terminate{m.gen}), m.arm(m.stopTimeout)...)
}

// fail waits before the next start.
func (m *machine) fail() []any {
	m.failures++
	m.leases = 0
	if m.closing {
		m.state = Stopped
		return m.disarm()
	}
	m.state = Backoff
	m.pause = backoff(m.failures, rand.Float64())
	return m.arm(m.pause)
}

// exit follows the end of the child, wanted or not.
func (m *machine) exit(in exited) []any {
	if in.uptime >= healthy {
		m.failures = 0
	}
	wanted := m.state == Stopping && !m.failed
	clean := in.clean && (m.state == Ready || m.state == Draining || m.state == Frozen)
	if !wanted && !clean {
		return m.fail()
	}
	again := m.waiting > 0 || m.fresh
	m.state, m.leases = Stopped, 0
	do := m.disarm()
	if again && !m.closing {
		return append(do, m.start()...)
	}
	return do
}

// timeout is what the armed timer meant, which depends on the state alone.
func (m *machine) timeout() []any {
	switch m.state {
	case Starting:
		m.failed = true
		return m.stop()
	case Ready:
		if m.freeze {
			m.state = Frozen
			return append([]any{freeze{m.gen}}, m.arm(m.freezeStop)...)
		}
		return m.stop()
	case Frozen:
		return m.stop()
	case Draining:
		return append([]any{cut{m.gen}}, m.stop()...)
	case Stopping:
		return []any{kill{m.gen}}
	case Backoff:
		m.state = Stopped
		if m.waiting > 0 {
			return m.start()
		}
	}
	return nil // Stopped has no timer
}

func (m *machine) shut() []any {
	m.waiting = 0
	switch m.state {
	case Starting, Ready, Frozen, Draining:
		return m.stop()
	case Backoff:
		m.state = Stopped
		return m.disarm()
	}
	return nil // Stopped, or Stopping already
}

// arm answers the order for a timer, or to stop the present one if it would
// never fire. A new number makes every earlier timer stale.
func (m *machine) arm(after time.Duration) []any {
	if after == forever {
		return m.disarm()
	}
	m.timer++
	m.armed = true
	return []any{arm{timer: m.timer, after: after}}
}

func (m *machine) disarm() []any {
	if !m.armed {
		return nil
	}
	m.armed = false
	return []any{disarm{}}
}

// backoff is the pause after so many failures: doubling, capped, and moved by
// up to a fifth either way (random is in [0,1)), so that many machines that
// lost the same database do not come back in step.
func backoff(failures int, random float64) time.Duration {
	d := backoffMost
	if n := failures - 1; n < 9 { // 100 ms << 9 is above the cap
		d = min(backoffFirst<<max(n, 0), backoffMost)
	}
	return time.Duration(float64(d) * (0.8 + 0.4*random))
}
