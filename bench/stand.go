package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/tiproxy/tiproxy/bench/backend"
	"github.com/tiproxy/tiproxy/bench/load"
	"github.com/tiproxy/tiproxy/bench/peer"
)

// bench starts what a piece of work needs.
type bench struct {
	plan
	ctx  context.Context // ends when the user wants no more
	self string          // our own program, which is the backend and the load, too
	dir  string          // for files of peers
	port int             // the last one that was given out
	cpus []int           // on which the present piece of work is to be done; nil: all
}

func newBench(ctx context.Context, p plan) (*bench, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench-")
	return &bench{plan: p, ctx: ctx, self: self, dir: dir, port: firstPort + rand.IntN(lastPort-firstPort)}, err
}

func (b *bench) close() { os.RemoveAll(b.dir) }

// Ports below those that the kernel gives to clients. Each listener has one
// that was not used for a while: connections that were closed less than a
// minute ago still hold theirs towards it.
const firstPort, lastPort = 20000, 32000

// address answers one where nobody listens.
func (b *bench) address() string {
	for {
		b.port++
		if b.port >= lastPort {
			b.port = firstPort
		}
		address := fmt.Sprintf("127.0.0.1:%d", b.port)
		if l, err := net.Listen("tcp4", address); err == nil {
			l.Close()
			return address
		}
	}
}

// stand is a proxy before a backend, ready for clients.
type stand struct {
	address string        // for the clients
	backend *peer.Process // nil: the proxy starts it
	proxy   *peer.Process // nil: there is none
}

// up starts a backend of a kind and the peer before it. Listen and Backend of
// the setup are filled in.
func (b *bench) up(p peer.Peer, kind string, s peer.Setup) (*stand, error) {
	st := &stand{address: b.address()}
	s.Listen, s.Backend = st.address, b.address()
	var err error
	if s.Command == nil {
		if st.backend, err = b.backend(kind, s.Backend); err != nil {
			return nil, err
		}
	}
	if p.Name == peer.None {
		st.address = s.Backend
		return st, nil
	}
	if s.Command != nil {
		s.Command = append(s.Command, kind, s.Backend)
	}
	if st.proxy, err = p.Start(b.dir, b.cpus, s); err != nil {
		st.down()
		return nil, err
	}
	err = st.proxy.Until("a first connection through it", func() error {
		_, err := load.First(st.address)
		return err
	})
	if err != nil {
		st.down()
		return nil, err
	}
	return st, st.proxy.Tree().Settle()
}

// backend starts one and returns when it listens.
func (b *bench) backend(kind, address string) (*peer.Process, error) {
	p, err := peer.Run("backend", b.dir, b.cpus, b.self, "backend", kind, address)
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(p.Stdout, make([]byte, len(backend.Ready))); err != nil {
		p.Stop()
		return nil, fmt.Errorf("cannot start a backend: %w", p.Wait())
	}
	return p, nil
}

func (s *stand) down() {
	if s.proxy != nil {
		s.proxy.Stop()
	}
	if s.backend != nil {
		s.backend.Stop()
	}
}

// cpu is what the proxy has used so far.
func (s *stand) cpu() (time.Duration, error) {
	if s.proxy == nil {
		return 0, nil
	}
	if err := s.proxy.Tree().Settle(); err != nil {
		return 0, err
	}
	return s.proxy.Tree().CPU()
}

// load puts work on the stand from a process of its own. Wrong bytes and lost
// replies are errors here.
func (b *bench) load(st *stand, spec load.Spec, stage load.Stage) (load.Result, error) {
	spec.Address = st.address
	arg, err := json.Marshal(spec)
	if err != nil {
		return load.Result{}, err
	}
	p, err := peer.Run("load", b.dir, b.cpus, b.self, "load", string(arg))
	if err != nil {
		return load.Result{}, err
	}
	defer p.Stop()
	defer context.AfterFunc(b.ctx, p.Stop)()
	for lines := json.NewDecoder(p.Stdout); ; {
		var m load.Message
		if err := lines.Decode(&m); err != nil {
			p.Stop()
			return load.Result{}, fmt.Errorf("cannot put a load on: %w", p.Wait())
		}
		if m.Result != nil {
			if m.Result.Fault != "" {
				err = fmt.Errorf("%s", m.Result.Fault)
			}
			return *m.Result, err
		}
		if err := stage(); err != nil {
			return load.Result{}, err
		}
		if _, err := p.Stdin.Write([]byte{'\n'}); err != nil {
			return load.Result{}, err
		}
	}
}
