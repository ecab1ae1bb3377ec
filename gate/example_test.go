package gate_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tiproxy/tiproxy/gate"
)

// guest is who waits in the first example: a connection, say, with its turn.
type guest struct {
	gate.Turn
	name string
}

func (g *guest) Moved(err error) {
	if err != nil {
		fmt.Println(g.name, "goes:", err)
		return
	}
	fmt.Println(g.name, "is inside")
}

// One at a time, in the order of arrival; the second of the four does not wait,
// and the last one waits in vain.
func Example() {
	g := gate.New(gate.Options{Limit: 1, Queue: 3})
	guests := []*guest{{name: "Anna"}, {name: "Ben"}, {name: "Cleo"}, {name: "Dan"}}
	for _, who := range guests {
		if in, err := g.Enter(&who.Turn, who, ""); in {
			fmt.Println(who.name, "finds room")
		} else if err == nil {
			fmt.Println(who.name, "waits")
		}
	}
	guests[1].Leave()
	guests[0].Done()
	g.Close()
	guests[2].Done()

	s := g.Stats()
	fmt.Println(s.Served, "served,", s.Abandoned, "left")
	// Output:
	// Anna finds room
	// Ben waits
	// Cleo waits
	// Dan waits
	// Cleo is inside
	// Dan goes: the gate is closed
	// 2 served, 2 left
}

func ExampleGate_Acquire() {
	g := gate.New(gate.Options{Limit: 3, Queue: 100, QueueTimeout: time.Minute})
	turn, err := g.Acquire(context.Background(), "192.0.2.7")
	if err != nil {
		fmt.Println("cannot get in:", err)
		return
	}
	defer turn.Done()
	fmt.Println("inside:", g.Stats().Active)
	// Output: inside: 1
}

// What TCPLock does, as a library: one client at a time on a machine with one
// seat. It is cleared before each client; a client who could not be given a
// clean one is sent away, and the next is tried. Who stays for too long is cut
// off.
func Example_tcplock() {
	cut := make(chan struct{})                                      // closed: the connection of the one inside is to end
	cleaning := []error{nil, errors.New("the seat is broken"), nil} // what comes of it, each time
	g := gate.New(gate.Options{
		Limit: 1, Queue: 100, PerSource: 1,
		Before: func(context.Context, *gate.Turn) error {
			result := cleaning[0]
			cleaning = cleaning[1:]
			return result
		},
		BeforeTimeout:  10 * time.Second,
		SessionTimeout: 20 * time.Millisecond,
		Late:           func(*gate.Turn) { close(cut) },
	})
	serve := func(client string) {
		turn, err := g.Acquire(context.Background(), client)
		if err != nil {
			fmt.Println(client, "is sent away:", err)
			return
		}
		defer turn.Done()
		fmt.Println(client, "has the seat")
		<-cut
		fmt.Println(client, "is cut off")
	}
	serve("192.0.2.7")
	serve("192.0.2.8")
	cut = make(chan struct{})
	serve("192.0.2.9")

	s := g.Stats()
	fmt.Println(s.Served, "served,", s.Failed, "sent away,", s.Late, "cut off")
	// Output:
	// 192.0.2.7 has the seat
	// 192.0.2.7 is cut off
	// 192.0.2.8 is sent away: the seat is broken
	// 192.0.2.9 has the seat
	// 192.0.2.9 is cut off
	// 2 served, 1 sent away, 2 cut off
}
