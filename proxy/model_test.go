package proxy

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"
)

// model is the gate as simple as can be: two lists of clients, by number.
type model struct {
	limit, queue int
	inside, line []uint64
}

// arrive answers what becomes of a client: inside, line, or neither.
func (m *model) arrive(number uint64) (fate string) {
	switch {
	case m.limit == 0 || len(m.inside) < m.limit:
		m.inside = append(m.inside, number)
		return "in"
	case len(m.line) < m.queue:
		m.line = append(m.line, number)
		return "waits"
	}
	return "refused"
}

// fill lets in whom there is room for.
func (m *model) fill() {
	for len(m.line) > 0 && (m.limit == 0 || len(m.inside) < m.limit) {
		m.inside = append(m.inside, m.line[0])
		m.line = m.line[1:]
	}
}

func without(list []uint64, number uint64) []uint64 {
	return slices.DeleteFunc(list, func(n uint64) bool { return n == number })
}

// walk is one run of clients through a Proxy, beside the model.
type walk struct {
	*running
	t       *testing.T
	rng     *rand.Rand
	b       *backend
	model   model
	last    uint64 // client
	clients map[uint64]*net.TCPConn
	said    map[uint64]bool // of a client: it half-closed
}

// Real clients arrive, leave and are served at random, limits change, and after
// each step the proxy is where a simple model is: who is inside, and who waits
// in which order. The backend counts, too.
func TestModel(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			b := newBackend(t, echo)
			w := &walk{
				t: t, b: b, rng: rand.New(rand.NewPCG(seed, 4)), model: model{limit: 2, queue: 6},
				clients: map[uint64]*net.TCPConn{}, said: map[uint64]bool{},
			}
			w.running = run(t, b, w.model.limit, w.model.queue, func(c *Config) {
				c.Listeners = []Listener{listen(t), listen(t)}
			})
			for step := range 150 {
				did := w.step()
				w.compare()
				if t.Failed() {
					t.Fatalf("at step %d: %s", step, did)
				}
			}
		})
	}
}

// step does one thing, and answers what.
func (w *walk) step() string {
	switch what := w.rng.IntN(10); {
	case what < 4:
		return w.arrives()
	case what < 6 && len(w.model.line) > 0:
		return w.leaves(w.model.line[w.rng.IntN(len(w.model.line))])
	case what < 9 && len(w.model.inside) > 0:
		return w.isDone(w.model.inside[w.rng.IntN(len(w.model.inside))])
	case what == 9:
		w.model.limit = w.rng.IntN(5)
		w.proxy.Gate().SetLimit(w.model.limit)
		w.model.fill()
		return fmt.Sprint("limit ", w.model.limit)
	}
	return w.arrives()
}

// arrives has a client come, half of them with a request and its end; one that
// waits may have little patience.
func (w *walk) arrives() string {
	w.last++
	impatient := w.rng.IntN(5) == 0
	if impatient {
		w.queueTimeout(time.Millisecond)
		defer w.queueTimeout(0)
	}
	c := w.dial(w.rng.IntN(2))
	w.clients[w.last] = c
	fate := w.model.arrive(w.last)
	switch fate {
	case "refused":
		w.mustEnd(w.last, Refused)
	case "in":
		for await[AdmitEvent](w.running).Client.Number != w.last {
		}
	default:
		if e := await[WaitEvent](w.running); e.Client.Number != w.last {
			w.t.Errorf("%+v, want client %d", e, w.last)
		}
		if impatient {
			w.mustEnd(w.last, Left)
			w.model.line = without(w.model.line, w.last)
		} else if w.rng.IntN(2) == 0 {
			fmt.Fprint(c, "request")
			c.CloseWrite()
			w.said[w.last] = true
		}
	}
	return fmt.Sprintf("client %d arrives: %s (impatient %v)", w.last, fate, impatient)
}

func (w *walk) queueTimeout(d time.Duration) {
	rules := w.cfg.Rules
	rules.Gate.Limit, rules.Gate.QueueTimeout = w.model.limit, d
	w.proxy.Configure(rules)
}

// leaves has a client go that waits. One that sent its request and half-closed
// can only reset its connection.
func (w *walk) leaves(number uint64) string {
	c := w.clients[number]
	how := w.rng.IntN(3)
	switch how {
	case 0:
		fmt.Fprint(c, "x") // not to be taken for a mere half-close
		fallthrough
	case 1:
		c.SetLinger(0)
		c.Close()
	default:
		w.proxy.Kick(number)
	}
	w.mustEnd(number, Left)
	w.model.line = without(w.model.line, number)
	return fmt.Sprintf("client %d leaves in way %d", number, how)
}

// isDone has a client that is inside end its session.
func (w *walk) isDone(number uint64) string {
	c := w.clients[number]
	if !w.said[number] {
		exchange(w.t, c, "request") // so that its end is not taken for a change of mind
	}
	c.CloseWrite()
	io.Copy(io.Discard, c) // the backend has ended, too
	w.model.inside = without(w.model.inside, number)
	w.mustEnd(number, Served)
	w.model.fill()
	return fmt.Sprintf("client %d is done", number)
}

func (w *walk) mustEnd(number uint64, how Outcome) {
	w.t.Helper()
	if e := w.endOf(number); e.Outcome != how {
		w.t.Errorf("%+v, want %s", e, how)
	}
	w.clients[number].Close()
	delete(w.clients, number)
}

// compare sees those off who were let in and had said all before, and then
// looks whether the proxy is where the model is.
func (w *walk) compare() {
	w.t.Helper()
	said := func(number uint64) bool { return w.said[number] }
	for i := slices.IndexFunc(w.model.inside, said); i >= 0; i = slices.IndexFunc(w.model.inside, said) {
		w.isDone(w.model.inside[i])
	}
	m := &w.model
	until(w.t, fmt.Sprintf("inside %v, line %v", m.inside, m.line), func() bool {
		s := w.proxy.Gate().Stats()
		return s.Active == len(m.inside) && s.Queued == len(m.line) && w.b.inside.Load() == int64(len(m.inside))
	})
	if got := numbers(w.proxy.Line()); got != fmt.Sprint(m.line) && len(m.line) > 0 {
		w.t.Errorf("line %v, want %v", got, m.line)
	}
	for _, s := range w.proxy.Sessions() {
		if want := slices.Contains(m.inside, s.Client.Number); want != (s.Inside > 0) {
			w.t.Errorf("client %d is inside: %v, want %v", s.Client.Number, s.Inside > 0, want)
		}
	}
}
