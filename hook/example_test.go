package hook_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tiproxy/tiproxy/hook"
	"github.com/tiproxy/tiproxy/supervisor"
)

// A command that is run before each connection is let through, and one that
// is run when the backend has stopped.
func Example() {
	hooks := hook.New(hook.Config{
		Commands: map[hook.Kind][]string{
			hook.BeforeNext: {"/bin/sh", "-c", "echo $REMOTE_ADDR is next"},
			hook.OnStop:     {"/bin/sh", "-c", "echo it served $TIPROXY_SERVED"},
		},
		Limit: 10 * time.Second,
		Run:   supervisor.Run,
		Events: func(e hook.Event) {
			switch e := e.(type) {
			case hook.OutputEvent:
				fmt.Printf("%s says: %s\n", e.Kind, e.Line)
			case hook.RunEvent:
				fmt.Println(e.Kind, "has ended, error:", e.Err)
			}
		},
	})
	client := &hook.Client{Session: 1, Proto: "TCP", Addr: "192.0.2.7", Port: 50000}
	if err := hooks.Before(context.Background(), hook.Facts{Client: client}); err == nil {
		fmt.Println("it goes through")
	}
	hooks.Fire(hook.OnStop, hook.Facts{Reason: "nobody used it for 30s", Served: 1})
	hooks.Close(context.Background())
	// Output:
	// BeforeNext says: 192.0.2.7 is next
	// BeforeNext has ended, error: <nil>
	// it goes through
	// OnStop says: it served 1
	// OnStop has ended, error: <nil>
}
