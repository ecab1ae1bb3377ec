package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"syscall"
	"time"

	"github.com/tiproxy/tiproxy/bench/peer"
	"github.com/tiproxy/tiproxy/bench/record"
)

// size is how much of everything is measured.
type size struct {
	rounds int
	seldom int // rounds of the pieces of work that take long
	plan
}

var (
	full = size{rounds: 9, seldom: 3, plan: plan{
		time: time.Second, quiet: 10000, line: 10000, forks: 1000, trials: 15, calm: 3 * time.Second, idle: 10 * time.Second,
	}}
	quick = size{rounds: 3, seldom: 1, plan: plan{
		time: time.Second / 4, quiet: 1000, line: 1000, forks: 100, trials: 5, calm: 3 * time.Second, idle: time.Second,
	}}
)

// measure runs the rounds: in each of them every piece of work is done with
// every peer, one right after the other and in an order dealt anew, so that
// what changes on the machine meets them all.
func (s size) measure(ctx context.Context, works []work, peers []peer.Peer, progress io.Writer) ([]record.Sample, error) {
	runtime.LockOSThread() // what is started ends with this thread
	defer runtime.UnlockOSThread()
	b, err := newBench(ctx, s.plan)
	if err != nil {
		return nil, err
	}
	defer b.close()
	one, err := peer.OneCPU()
	if err != nil {
		return nil, err
	}
	var samples []record.Sample
	for round := range s.rounds {
		for _, w := range works {
			if w.seldom && round >= s.seldom {
				continue
			}
			b.cpus = nil
			if w.pinned {
				b.cpus = one
			}
			fmt.Fprintf(progress, "round %d of %d: %s\n", round+1, s.rounds, w.name)
			for _, i := range rand.Perm(len(peers)) {
				if w.can != nil && !w.can(peers[i]) {
					continue
				}
				sample := record.Sample{Round: round, Work: w.name, Peer: peers[i].Name}
				sample.Values, err = w.measure(b, peers[i])
				switch {
				case ctx.Err() != nil:
					return nil, errors.New("interrupted: the rounds so far are not kept")
				case err != nil && peers[i].Name == peer.None:
					return nil, fmt.Errorf("cannot measure %s without a proxy: %w", w.name, err)
				case err != nil:
					sample.Fault = err.Error()
					fmt.Fprintf(progress, "\t%s: %v\n", peers[i].Name, err)
				}
				samples = append(samples, sample)
			}
		}
	}
	return samples, nil
}

// fileLimit is how many files each process may have open, if we may have it
// so: enough for ten thousand connections through any of the peers.
const fileLimit = 100_000

// raiseFileLimit sets that limit, or the highest that we may have, and answers
// it. Children inherit it.
func raiseFileLimit() (int, error) {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
		return 0, fmt.Errorf("cannot tell how many files may be open: %w", err)
	}
	want := syscall.Rlimit{Cur: fileLimit, Max: max(fileLimit, now.Max)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want) != nil { // CAP_SYS_RESOURCE, setrlimit(2)
		want = syscall.Rlimit{Cur: min(fileLimit, now.Max), Max: now.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want); err != nil {
			return 0, fmt.Errorf("cannot have %d files open: %w", want.Cur, err)
		}
	}
	return int(want.Cur), nil
}
