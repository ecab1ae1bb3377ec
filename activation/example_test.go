package activation_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"

	"github.com/tiproxy/tiproxy/activation"
	"github.com/tiproxy/tiproxy/sockaddr"
)

// A server that takes the sockets of its socket unit, and binds its own when
// somebody starts it by hand.
func Example() {
	listeners, err := activation.Inherited()
	if err != nil {
		log.Fatal(err)
	}
	if len(listeners) == 0 {
		name, err := sockaddr.Parse("127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		if listeners, err = activation.Listen(context.Background(), name); err != nil {
			log.Fatal(err)
		}
	}
	defer listeners[0].Close()
	if err := activation.Ready(); err != nil {
		log.Print(err)
	}

	// For a program that serves with package net:
	l, err := net.FileListener(os.NewFile(uintptr(listeners[0].FD), listeners[0].Name))
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	fmt.Println("listening at", l.Addr().(*net.TCPAddr).IP)

	// Output: listening at 127.0.0.1
}
