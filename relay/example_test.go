package relay_test

import (
	"fmt"
	"log"

	"github.com/tiproxy/tiproxy/relay"
	"golang.org/x/sys/unix"
)

// Two pairs of connected sockets stand in for a client and a backend.
func Example() {
	r, err := relay.New(relay.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	client, ours := socketpair()
	backend, theirs := socketpair()
	ended := make(chan relay.Result)
	if _, err := r.Join(ours, theirs, relay.Terms{}, func(res relay.Result) { ended <- res }); err != nil {
		log.Fatal(err)
	}

	unix.Write(client, []byte("hello"))
	unix.Shutdown(client, unix.SHUT_WR)
	fmt.Println(readAll(backend))
	unix.Write(backend, []byte("goodbye"))
	unix.Close(backend)
	fmt.Println(readAll(client))

	res := <-ended
	fmt.Println(res.FromA, res.FromB, res.Err)
	// Output:
	// hello
	// goodbye
	// 5 7 <nil>
}

// socketpair makes a blocking end for the peer and a non-blocking one for the relay.
func socketpair() (peer, ours int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := unix.SetNonblock(fds[1], true); err != nil {
		log.Fatal(err)
	}
	return fds[0], fds[1]
}

func readAll(fd int) string {
	var all []byte
	buf := make([]byte, 512)
	for {
		n, err := unix.Read(fd, buf)
		if n <= 0 || err != nil {
			return string(all)
		}
		all = append(all, buf[:n]...)
	}
}
