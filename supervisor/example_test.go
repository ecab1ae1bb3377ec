package supervisor_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tiproxy/tiproxy/supervisor"
)

// A backend that listens at the port it is told is started by the first who
// asks, and stopped when the last has gone.
func Example() {
	stopped := make(chan struct{})
	s, err := supervisor.New(supervisor.Config{
		// These tests stand in for a backend here.
		Command:      []string{"/proc/self/exe", "act", "listen=127.0.0.1:{port}", "greet=hello"},
		Auto:         true,
		StartTimeout: time.Minute,
		IdleStop:     time.Millisecond,
		StopTimeout:  10 * time.Second,
		Reap:         true,
		Events: func(e supervisor.Event) {
			switch e := e.(type) {
			case supervisor.ReadyEvent:
				fmt.Println("ready: generation", e.Generation)
			case supervisor.ExitEvent:
				fmt.Println("ended, as it was told:", e.Wanted)
				close(stopped)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	lease, err := s.Acquire(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	conn, err := net.Dial("tcp", lease.Addresses()[0].String())
	if err != nil {
		fmt.Println(err)
		return
	}
	lease.Connected()
	greeting, _ := io.ReadAll(conn)
	fmt.Printf("%s\n", greeting)
	conn.Close()
	lease.Release()
	<-stopped
	s.Shutdown(context.Background())
	fmt.Println("children started:", s.Status().Starts)

	// Output:
	// ready: generation 1
	// hello
	// ended, as it was told: true
	// children started: 1
}
