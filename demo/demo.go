// Package demo shows a newcomer what tiproxy does, with nothing installed: a
// small backend in the same binary, and clients that act out a day of it.
package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// startup is how long the backend takes to listen, so that a first client
	// is seen to wait for it.
	startup = 300 * time.Millisecond
	// work is how long each answer takes, so that a line can form.
	work = 500 * time.Millisecond
)

// ServeBackend is the backend: it answers each HTTP request on $PORT of
// 127.0.0.1 with its pid, the number of the connection, and the time since its
// start. It returns only if it cannot listen.
func ServeBackend() error {
	time.Sleep(startup) // a real one would read its data now
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", os.Getenv("PORT")))
	if err != nil {
		return fmt.Errorf("cannot serve the demo: %w", err)
	}
	fmt.Println("listening at", l.Addr())
	started := time.Now()
	var connections atomic.Int64
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(work) // "computing" the answer
			fmt.Fprintf(w, "pid %d, connection %d, %v after the start\n",
				os.Getpid(), connections.Add(1), time.Since(started).Round(10*time.Millisecond))
		}),
	}
	server.SetKeepAlivesEnabled(false)
	return server.Serve(l)
}

// Play acts out the demonstration against the tiproxy that listens at addr
// (host:port), and tells the story to w. awaitStop returns when the backend has
// stopped. Play ends early when ctx does.
func Play(ctx context.Context, w io.Writer, addr string, awaitStop func(context.Context)) {
	fmt.Fprintf(w, "\n-- 1. tiproxy listens at %s; no backend runs. Three clients come at once:\n", addr)
	var clients sync.WaitGroup
	for i := 1; i <= 3; i++ {
		if v := arrive(w, addr, fmt.Sprintf("client %d", i)); v != nil {
			clients.Go(func() { v.ask(ctx, w) })
		}
	}
	clients.Wait()
	if ctx.Err() != nil {
		return
	}
	fmt.Fprintf(w, "-- The first one started the backend, the others waited their turn: one at a time.\n")
	fmt.Fprintf(w, "\n-- 2. Nobody is here any more. The backend is stopped when it has been idle for a while:\n")
	awaitStop(ctx)
	if ctx.Err() != nil {
		return
	}
	fmt.Fprintf(w, "\n-- 3. The next client starts a new one:\n")
	if v := arrive(w, addr, "client 4"); v != nil {
		v.ask(ctx, w)
	}
	if ctx.Err() != nil {
		return
	}
	fmt.Fprintf(w, "\n-- Now you, from another terminal:  curl http://%s/     (Ctrl-C ends the demo)\n\n", addr)
}

// arrive connects one client; nil if it could not.
func arrive(w io.Writer, addr, name string) *visitor {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		fmt.Fprintf(w, "   %s: %v\n", name, err)
		return nil
	}
	return &visitor{name: name, conn: conn, began: time.Now()}
}

// visitor is one client and its connection.
type visitor struct {
	name  string
	conn  net.Conn
	began time.Time
}

// ask sends a request and tells the answer. It ends early when ctx does.
func (v *visitor) ask(ctx context.Context, w io.Writer) {
	defer v.conn.Close()
	stop := context.AfterFunc(ctx, func() { v.conn.Close() })
	defer stop()
	answer, err := v.talk()
	if err != nil {
		fmt.Fprintf(w, "   %s: %v\n", v.name, err)
		return
	}
	fmt.Fprintf(w, "   %s was answered after %v: %s", v.name, time.Since(v.began).Round(10*time.Millisecond), answer)
}

func (v *visitor) talk() ([]byte, error) {
	if _, err := io.WriteString(v.conn, "GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n"); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(v.conn), nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}
