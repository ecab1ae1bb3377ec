package gate_test

import (
	"context"
	"fmt"

	"github.com/tiproxy/tiproxy/gate"
)

// One at a time, in the order of arrival; one of the three does not wait.
func Example() {
	g := gate.New(1, 10)
	first, _ := g.Enter()
	second, _ := g.Enter()
	third, _ := g.Enter()

	impatient, hangUp := context.WithCancel(context.Background())
	hangUp()
	fmt.Println("second:", second.Wait(impatient))

	first.Done()
	fmt.Println("third:", third.Wait(context.Background()))
	third.Done()

	s := g.Stats()
	fmt.Println(s.Served, "served,", s.Abandoned, "left")
	// Output:
	// second: context canceled
	// third: <nil>
	// 2 served, 1 left
}

func ExampleGate_Acquire() {
	g := gate.New(3, 100)
	turn, err := g.Acquire(context.Background())
	if err != nil {
		fmt.Println("cannot get in:", err)
		return
	}
	defer turn.Done()
	fmt.Println("inside:", g.Stats().Active)
	// Output: inside: 1
}
