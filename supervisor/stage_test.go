package supervisor

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what should happen soon, on a busy machine.
const patience = 20 * time.Second

// stage is a supervisor under test, and what it told.
type stage struct {
	*Supervisor
	t    *testing.T
	addr string // where the backend is to listen, unless Auto

	mu   sync.Mutex
	told []Event
	more chan struct{} // closed, and made anew, when something is told
}

// open starts a supervisor with as much patience as cfg does not say. When the
// test ends it is shut down, and must leave nothing.
func open(t *testing.T, cfg Config) *stage {
	t.Helper()
	st := &stage{t: t, more: make(chan struct{}), addr: cfg.Address.String()}
	for _, d := range []*time.Duration{&cfg.StartTimeout, &cfg.StopTimeout, &cfg.IdleStop} {
		if *d == 0 {
			*d = forever
		}
	}
	cfg.Reap = true
	observe := cfg.Events
	cfg.Events = func(e Event) {
		st.tell(e)
		if observe != nil {
			observe(e)
		}
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	st.Supervisor = s
	t.Cleanup(func() {
		s.Shutdown(expired)
		st.leavesNothing()
		if t.Failed() {
			t.Logf("told:\n%s", st)
		}
	})
	return st
}

// expired is a context that has ended.
var expired = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// somewhere is an address that nobody else has.
func somewhere() sockaddr.Name { return name("@tiproxy/test/" + rand.Text()) }

func (st *stage) tell(e Event) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.told = append(st.told, e)
	close(st.more)
	st.more = make(chan struct{})
}

// String is all that was told, an event a line.
func (st *stage) String() string {
	st.mu.Lock()
	defer st.mu.Unlock()
	var b strings.Builder
	for _, e := range st.told {
		fmt.Fprintf(&b, "%T %.200v\n", e, fmt.Sprint(e))
	}
	return b.String()
}

// order is the kinds of what was told but for output, in order.
func (st *stage) order() string {
	st.mu.Lock()
	defer st.mu.Unlock()
	var kinds []string
	for _, e := range st.told {
		if kind := strings.TrimSuffix(reflect.TypeOf(e).Name(), "Event"); kind != "Output" {
			kinds = append(kinds, kind)
		}
	}
	return strings.Join(kinds, " ")
}

// events are those of one type, in order.
func events[T Event](st *stage) []T {
	st.mu.Lock()
	defer st.mu.Unlock()
	var all []T
	for _, e := range st.told {
		if e, ok := e.(T); ok {
			all = append(all, e)
		}
	}
	return all
}

// await answers the first event of a type for which is holds.
func await[T Event](st *stage, is func(T) bool) T {
	st.t.Helper()
	late := time.After(patience)
	for {
		st.mu.Lock()
		more := st.more
		st.mu.Unlock()
		if all := events[T](st); slices.ContainsFunc(all, is) {
			return all[slices.IndexFunc(all, is)]
		}
		select {
		case <-more:
		case <-late:
			st.t.Fatalf("no such %v was told", reflect.TypeFor[T]())
		}
	}
}

// hears waits until the backend has written a line that begins so, and answers
// the rest of it.
func (st *stage) hears(prefix string) string {
	st.t.Helper()
	e := await(st, func(e OutputEvent) bool { return strings.HasPrefix(e.Line, prefix) })
	return strings.TrimSpace(strings.TrimPrefix(e.Line, prefix))
}

// acquire answers a lease, which must come.
func (st *stage) acquire() *Lease {
	st.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	lease, err := st.Acquire(ctx)
	if err != nil {
		st.t.Fatal(err)
	}
	return lease
}

// acquiring is an Acquire under way, which ends with the test.
type acquiring struct {
	lease *Lease
	err   error
	done  chan struct{}
	leave context.CancelFunc
}

func (st *stage) begin() *acquiring {
	ctx, cancel := context.WithCancel(context.Background())
	a := &acquiring{done: make(chan struct{}), leave: cancel}
	go func() {
		defer close(a.done)
		a.lease, a.err = st.Acquire(ctx)
	}()
	st.t.Cleanup(cancel)
	return a
}

// await returns when the Acquire has.
func (a *acquiring) await(t *testing.T) (*Lease, error) {
	t.Helper()
	soon(t, "Acquire returns", func() { <-a.done })
	return a.lease, a.err
}

// soon runs what must not take long.
func soon(t *testing.T, what string, run func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("not in %v: %s", patience, what)
	}
}

// eventually waits for what nobody tells.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for late := time.After(patience); !holds(); {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-late:
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// leavesNothing demands that no process came from this test that is left.
func (st *stage) leavesNothing() {
	st.t.Helper()
	ours.Lock()
	defer ours.Unlock()
	for _, p := range processes() {
		if _, known := ours.pids[p.pid]; p.parent == os.Getpid() && !known {
			st.t.Errorf("process %d is left (zombie: %v)", p.pid, p.zombie)
		}
	}
}

func signalTo(t *testing.T, pid int, sig unix.Signal) {
	t.Helper()
	if err := unix.Kill(pid, sig); err != nil {
		t.Fatalf("cannot signal process %d: %v", pid, err)
	}
}

// outsider is a process that is not the backend's.
type outsider struct {
	*os.Process
	out *bufio.Reader // its stdout
}

// outside starts a program that is not the backend's. It is killed when the
// test ends, if it was not before.
func outside(t *testing.T, command ...string) *outsider {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	p, err := ours.start(func() (*os.Process, error) {
		return os.StartProcess(command[0], command, &os.ProcAttr{Files: []*os.File{nil, write, os.Stderr}, Env: os.Environ()})
	})
	if err != nil {
		t.Fatal(err)
	}
	o := &outsider{p, bufio.NewReader(read)}
	t.Cleanup(func() {
		o.end()
		read.Close()
	})
	return o
}

// end kills it; a second call does nothing.
func (o *outsider) end() {
	_ = o.Kill()
	if _, err := o.Wait(); err == nil {
		ours.forget(o.Pid)
	}
}

// line is the next one that it writes.
func (o *outsider) line(t *testing.T) string {
	t.Helper()
	text, err := o.out.ReadString('\n')
	if err != nil {
		t.Fatalf("heard %q, then: %v", text, err)
	}
	return strings.TrimSpace(text)
}
