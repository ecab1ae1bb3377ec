package sockaddr_test

import (
	"fmt"

	"github.com/tiproxy/tiproxy/sockaddr"
)

func ExampleParse() {
	for _, text := range []string{"4000", ":4000", "localhost:80", "[::1]:80", "/run/x.sock", "vsock:3:1024", "4000/tcp"} {
		name, err := sockaddr.Parse(text)
		fmt.Println(name, err)
	}
	// Output:
	// 127.0.0.1:4000 <nil>
	// [::]:4000 <nil>
	// localhost:80 <nil>
	// [::1]:80 <nil>
	// /run/x.sock <nil>
	// vsock:3:1024 <nil>
	// unknown "4000/tcp" is no address; want host:port, a port, or the path of a UNIX socket
}
