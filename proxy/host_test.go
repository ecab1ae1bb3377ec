package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

// hosting is a Server that is a function: what it is given is the program's
// own, and need not be closed.
type hosting func(ctx context.Context, conn net.Conn, c Client) error

const programPID = 4711

func (h hosting) Serve(ctx context.Context, fd int, c Client, _ sockaddr.Addr, begun func(int)) error {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(copied), "client")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return err
	}
	defer conn.Close()
	begun(programPID)
	return h(ctx, conn, c)
}

// refusing is a Server whose program cannot be started.
type refusing struct{ err error }

func (r refusing) Serve(context.Context, int, Client, sockaddr.Addr, func(int)) error { return r.err }

// runServer is run with a Server.
func runServer(t *testing.T, s Server, limit int, change func(*Config)) *running {
	t.Helper()
	nobody := newBackend(t, func(net.Conn) { t.Error("the backend was reached") })
	return run(t, nobody, limit, 10, func(c *Config) {
		c.Server = s
		if change != nil {
			change(c)
		}
	})
}

func hostedEcho(_ context.Context, conn net.Conn, _ Client) error {
	_, err := io.Copy(conn, conn)
	return err
}

// toTheEnd is a program that stays until it is ended.
func toTheEnd(ctx context.Context, _ net.Conn, _ Client) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestServerServes(t *testing.T) {
	r := runServer(t, hosting(hostedEcho), 1, nil)
	c := r.dial(0)
	exchange(t, c, "hello")
	if all := r.proxy.Sessions(); len(all) != 1 || all[0].Stage != Hosted || all[0].PID != programPID {
		t.Errorf("%+v", all)
	}
	c.CloseWrite()
	mustEOF(t, c)
	if e := await[EndEvent](r); e.Outcome != Served || e.Err != nil || e.PID != programPID || e.Generation != 0 {
		t.Errorf("%+v", e)
	}
}

// Who has nothing to say may want to hear, as from daytime.
func TestProgramSpeaksToWhoSaysNothing(t *testing.T) {
	r := runServer(t, hosting(func(_ context.Context, conn net.Conn, _ Client) error {
		_, err := io.WriteString(conn, "noon")
		return err
	}), 1, nil)
	for range 20 {
		c := r.dial(0)
		c.CloseWrite()
		if heard, err := io.ReadAll(c); string(heard) != "noon" || err != nil {
			t.Fatalf("heard %q, %v", heard, err)
		}
		await[EndEvent](r)
	}
}

func TestProgramThatFails(t *testing.T) {
	broken := errors.New("exit status 3")
	r := runServer(t, hosting(func(context.Context, net.Conn, Client) error { return broken }), 1, nil)
	mustEOF(t, r.dial(0))
	if e := await[EndEvent](r); e.Outcome != Served || e.Err != broken || e.FailedSide != "backend" {
		t.Errorf("%+v", e)
	}
}

// A program may have closed the connection and still run.
func TestSlotIsFreeWhenTheProgramIsGone(t *testing.T) {
	closed, gone := make(chan struct{}), make(chan struct{})
	r := runServer(t, hosting(func(_ context.Context, conn net.Conn, c Client) error {
		conn.Close()
		if c.Number == 1 {
			close(closed)
			<-gone
		}
		return nil
	}), 1, nil)
	first, next := r.dial(0), r.dial(0)
	<-closed
	mustEOF(t, first)
	await[WaitEvent](r)
	if st := r.proxy.Gate().Stats(); st.Active != 1 || st.Queued != 1 {
		t.Errorf("while it runs: %+v", st)
	}
	close(gone)
	mustEOF(t, next)
	await[EndEvent](r)
}

// What the program has read looks to the front like nothing having been sent.
func TestHalfCloseIsNoLeavingOnceTheProgramReads(t *testing.T) {
	reading, out := make(chan struct{}), make(chan error, 1)
	var r *running
	r = runServer(t, hosting(func(ctx context.Context, conn net.Conn, c Client) error {
		if c.Number == 1 {
			_, err := io.Copy(io.Discard, conn)
			return err
		}
		conn.Read(make([]byte, 1))
		close(reading)
		io.Copy(io.Discard, conn)
		for range 2 { // what the kernel has told the front by now it has dealt with
			_ = r.cfg.Relay.Ping(ctx)
		}
		out <- ctx.Err()
		_, err := io.WriteString(conn, "answer")
		return err
	}), 1, nil)
	first := r.dial(0)
	await[AdmitEvent](r)
	next := r.dial(0) // waits, and is watched
	await[WaitEvent](r)
	io.WriteString(next, "x")
	first.Close()
	<-reading
	next.CloseWrite()
	if err := <-out; err != nil {
		t.Errorf("its program was ended: %v", err)
	}
	if got, err := io.ReadAll(next); string(got) != "answer" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestProgramThatIsNotStarted(t *testing.T) {
	broken := errors.New("cannot execute it")
	r := runServer(t, refusing{broken}, 1, nil)
	c := r.dial(0)
	io.WriteString(c, "hello")
	mustEOF(t, c) // and no reset, though nobody has read that
	if e := await[EndEvent](r); e.Outcome != Unserved || !errors.Is(e.Err, ErrNoProgram) || !errors.Is(e.Err, broken) || e.PID != 0 {
		t.Errorf("%+v", e)
	}
}

func TestProgramIsEnded(t *testing.T) {
	for name, tt := range map[string]struct {
		rules func(*Rules)
		end   func(*running)
		want  error
	}{
		"by its time limit": {
			rules: func(r *Rules) { r.Gate.SessionTimeout = 20 * time.Millisecond },
			want:  ErrSessionTimeout,
		},
		"by the administrator": {
			end:  func(r *running) { r.proxy.Kick(1) },
			want: ErrKicked,
		},
		"with tiproxy": {
			rules: func(r *Rules) { r.Drain = 20 * time.Millisecond },
			end:   func(r *running) { r.stop() },
			want:  ErrStopping,
		},
	} {
		t.Run(name, func(t *testing.T) {
			begun := make(chan struct{})
			r := runServer(t, hosting(func(ctx context.Context, conn net.Conn, c Client) error {
				close(begun)
				return toTheEnd(ctx, conn, c)
			}), 1, func(c *Config) {
				if tt.rules != nil {
					tt.rules(&c.Rules)
				}
			})
			c := r.dial(0)
			<-begun
			if tt.end != nil {
				tt.end(r)
			}
			mustEOF(t, c)
			if e := await[EndEvent](r); e.Outcome != Served || e.Err != tt.want || e.FailedSide != "" {
				t.Errorf("%+v", e)
			}
		})
	}
}

// locals is a Server whose program ends at once, and that passes on what the
// client connected to.
type locals chan sockaddr.Addr

func (l locals) Serve(_ context.Context, _ int, _ Client, local sockaddr.Addr, begun func(int)) error {
	begun(programPID)
	l <- local
	return nil
}

func TestServerIsToldWhereTheClientConnectedTo(t *testing.T) {
	told := make(locals, 1)
	for header, want := range map[string]string{
		"": "",
		"PROXY TCP4 192.0.2.1 198.51.100.1 1234 79\r\n": "198.51.100.1:79",
	} {
		r := runServer(t, told, 1, func(c *Config) {
			if header != "" {
				c.Rules.Trusted = sources(t, "127.0.0.1")
			}
		})
		if want == "" {
			want = r.cfg.Listeners[0].Addr.String()
		}
		c := r.dial(0)
		io.WriteString(c, header)
		if got := <-told; got.String() != want {
			t.Errorf("with the header %q: %s, want %s", header, got, want)
		}
		mustEOF(t, c)
	}
}
