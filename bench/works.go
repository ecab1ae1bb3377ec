package main

import (
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/tiproxy/tiproxy/bench/backend"
	"github.com/tiproxy/tiproxy/bench/load"
	"github.com/tiproxy/tiproxy/bench/peer"
	"github.com/tiproxy/tiproxy/bench/record"
)

// plan is how much one measurement takes.
type plan struct {
	time   time.Duration // of one load
	quiet  int           // quiet connections
	line   int           // clients in line
	forks  int           // the most connections where each has a process
	trials int           // of a cold start and of a thaw
	calm   time.Duration // after which a program is taken to do nothing any more
	idle   time.Duration // for how long it is then looked at
	files  int           // that a process may have open
}

// values are what a measurement gives, by key, in seconds, bytes and pieces.
type values = map[string]float64

// work is one piece of work that peers are compared at.
type work struct {
	name    string
	seldom  bool                 // it takes long: in some rounds only
	can     func(peer.Peer) bool // nil: every peer
	pinned  bool                 // peer, backend and load on one CPU; else the scheduler decides
	measure func(*bench, peer.Peer) (values, error)
}

// works are all of them. A unit of CPU is what the table in the documentation
// divides by: 10,000 requests or sessions, or 10^9 bytes.
var works = []work{
	{name: record.HalfClose, measure: halfClose},
	{name: "requests-1", measure: throughput(load.Requests, 1, 10_000)},
	{name: "requests-1-pinned", pinned: true, measure: throughput(load.Requests, 1, 10_000)},
	{name: "requests-64", measure: throughput(load.Requests, 64, 10_000)},
	{name: "connects-32", measure: throughput(load.Connects, 32, 10_000)},
	{name: "up-1", measure: throughput(load.Up, 1, 1e9)},
	{name: "down-1", measure: throughput(load.Down, 1, 1e9)},
	{name: "up-8", measure: throughput(load.Up, 8, 1e9)},
	{name: "down-8", measure: throughput(load.Down, 8, 1e9)},
	{name: "quiet", seldom: true, measure: quiet},
	{name: "line", seldom: true, can: func(p peer.Peer) bool { return p.Queues }, measure: line},
	{name: "cold", seldom: true, can: func(p peer.Peer) bool { return p.Starts }, measure: cold},
	{name: "thaw", seldom: true, can: func(p peer.Peer) bool { return p.Starts }, measure: thaw},
	{name: "idle", seldom: true, can: func(p peer.Peer) bool { return p.Name != peer.None }, measure: idle},
}

// halfClose measures nothing: it only finds those who lose a reply.
func halfClose(b *bench, p peer.Peer) (values, error) {
	const sessions = 20
	st, err := b.up(p, backend.Stream, peer.Setup{Most: sessions})
	if err != nil {
		return nil, err
	}
	defer st.down()
	_, err = b.load(st, load.Spec{Kind: load.Late, Connections: sessions}, nil)
	return nil, err
}

// throughput is how fast a load gets through, and the peer's CPU time for a
// number of its units.
func throughput(kind load.Kind, connections int, units float64) func(*bench, peer.Peer) (values, error) {
	to, bulk := backend.Echo, kind == load.Up || kind == load.Down
	if bulk {
		to = backend.Stream
	}
	return func(b *bench, p peer.Peer) (values, error) {
		st, err := b.up(p, to, peer.Setup{Most: 100, Bulk: bulk})
		if err != nil {
			return nil, err
		}
		defer st.down()
		before, err := st.cpu()
		if err != nil {
			return nil, err
		}
		res, err := b.load(st, load.Spec{Kind: kind, Connections: connections, Time: b.time}, nil)
		if err != nil {
			return nil, err
		}
		after, err := st.cpu()
		v := values{"rate": res.Rate}
		if p.Name != peer.None {
			v["cpu"] = (after - before).Seconds() / float64(res.Units) * units
		}
		if l := res.Latency; !bulk {
			v["p50"], v["p99"], v["p999"] = l.P50.Seconds(), l.P99.Seconds(), l.P999.Seconds()
		}
		return v, err
	}
}

// cost is what connections take, in sum.
type cost struct{ memory, files, kernel float64 }

func (st *stand) cost() (c cost, err error) {
	if st.proxy != nil {
		tree := st.proxy.Tree()
		if err := tree.Settle(); err != nil {
			return c, err
		}
		m, err := tree.Memory()
		if err != nil {
			return c, err
		}
		n, err := tree.Files()
		if err != nil {
			return c, err
		}
		c.memory, c.files = float64(m.PSS), float64(n)
	}
	kernel, _ := peer.KernelMemory()
	c.kernel = float64(kernel)
	return c, nil
}

// grow measures what each connection costs that a load opens between its two
// stages.
func (b *bench) grow(st *stand, spec load.Spec) (values, load.Result, error) {
	var costs []cost
	res, err := b.load(st, spec, func() error {
		c, err := st.cost()
		costs = append(costs, c)
		return err
	})
	if err != nil {
		return nil, res, err
	}
	few, all, n := costs[0], costs[1], float64(spec.Connections-load.Warm(spec.Connections))
	v := values{"connections": float64(spec.Connections)}
	if st.proxy != nil {
		v["memory"], v["files"] = (all.memory-few.memory)/n, (all.files-few.files)/n
	}
	if all.kernel > 0 {
		v["kernel"] = (all.kernel - few.kernel) / n
	}
	return v, res, nil
}

// fitting is how many of n connections fit through a peer here.
func (b *bench) fitting(n int, p peer.Peer) int {
	const spare = 100 // files that a process needs besides
	if p.Forks {
		return min(n, b.forks)
	}
	return min(n, (b.files-spare)/p.Files)
}

// quiet is what a connection costs on which nothing happens.
func quiet(b *bench, p peer.Peer) (values, error) {
	n := b.fitting(b.quiet, p)
	st, err := b.up(p, backend.Echo, peer.Setup{Most: n})
	if err != nil {
		return nil, err
	}
	defer st.down()
	v, _, err := b.grow(st, load.Spec{Kind: load.Quiet, Connections: n})
	return v, err
}

// line is what a client in line costs, and how fast the line moves.
func line(b *bench, p peer.Peer) (values, error) {
	n := b.fitting(b.line, p)
	st, err := b.up(p, backend.Echo, peer.Setup{Most: n, AtOnce: 1})
	if err != nil {
		return nil, err
	}
	defer st.down()
	v, res, err := b.grow(st, load.Spec{Kind: load.Line, Connections: n})
	if err != nil {
		return nil, err
	}
	v["rate"], v["overtaken"] = res.Rate, float64(res.Overtaken)
	return v, nil
}

// cold is how long a backend takes to listen when we start it, and how long a
// client of the peer waits for its first byte when there is none.
func cold(b *bench, p peer.Peer) (values, error) {
	st, err := b.up(p, backend.Echo, peer.Setup{Most: 10, Command: []string{b.self, "backend"}})
	if err != nil {
		return nil, err
	}
	defer st.down()
	var own, first, above []float64
	for range b.trials {
		begin := time.Now()
		backend, err := b.backend(backend.Echo, b.address())
		if err != nil {
			return nil, err
		}
		alone := time.Since(begin)
		backend.Stop()
		if err := st.rest("the end of its idle backend", func() (bool, error) {
			pids, err := st.proxy.Tree().Processes()
			return len(pids) == 1, err
		}); err != nil {
			return nil, err
		}
		took, err := load.First(st.address)
		if err != nil {
			return nil, err
		}
		own, first = append(own, alone.Seconds()), append(first, took.Seconds())
		above = append(above, (took - alone).Seconds())
	}
	return values{"own": median(own), "first": median(first), "above": median(above)}, nil
}

// thaw is how long a client waits for its first byte when the backend is
// frozen, and when it is not.
func thaw(b *bench, p peer.Peer) (values, error) {
	st, err := b.up(p, backend.Echo, peer.Setup{Most: 10, Command: []string{b.self, "backend"}, Freeze: true})
	if err != nil {
		return nil, err
	}
	defer st.down()
	var frozen, warm []float64
	for range b.trials {
		if err := st.rest("its backend frozen", st.proxy.Tree().Frozen); err != nil {
			return nil, err
		}
		took, err := load.First(st.address)
		if err != nil {
			return nil, err
		}
		frozen = append(frozen, took.Seconds())
		if took, err = firstBesideAnother(st.address); err != nil {
			return nil, err
		}
		warm = append(warm, took.Seconds())
	}
	return values{"first": median(frozen), "warm": median(warm)}, nil
}

// firstBesideAnother is load.First while another connection keeps the backend
// in use.
func firstBesideAnother(address string) (time.Duration, error) {
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0}); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return 0, err
	}
	return load.First(address)
}

// rest waits until something is so, and the proxy does nothing any more.
func (st *stand) rest(what string, so func() (bool, error)) error {
	err := st.proxy.Until(what, func() error {
		ok, err := so()
		if err == nil && !ok {
			err = fmt.Errorf("not yet")
		}
		return err
	})
	if err != nil {
		return err
	}
	return st.proxy.Tree().Settle()
}

// idle is what a peer does and takes while nobody is there, after a first
// client.
func idle(b *bench, p peer.Peer) (values, error) {
	st, err := b.up(p, backend.Echo, peer.Setup{Most: 1000})
	if err != nil {
		return nil, err
	}
	defer st.down()
	if err := b.pause(b.calm); err != nil {
		return nil, err
	}
	tree := st.proxy.Tree()
	wakeups, err := tree.Wakeups()
	if err != nil {
		return nil, err
	}
	cpu, err := tree.CPU()
	if err != nil {
		return nil, err
	}
	if err := b.pause(b.idle); err != nil {
		return nil, err
	}
	cpuNow, err := tree.CPU()
	if err != nil {
		return nil, err
	}
	wakeupsNow, err := tree.Wakeups()
	if err != nil {
		return nil, err
	}
	m, err := tree.Memory()
	return values{
		"wakeups": float64(wakeupsNow-wakeups) / b.idle.Seconds(),
		"cpu":     (cpuNow - cpu).Seconds() / b.idle.Seconds(),
		"rss":     float64(m.RSS), "pss": float64(m.PSS),
	}, err
}

// pause lets time pass.
func (b *bench) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
}

// median of what is not empty.
func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
