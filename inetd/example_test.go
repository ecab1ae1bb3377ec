package inetd_test

import (
	"fmt"

	"github.com/tiproxy/tiproxy/inetd"
)

func Example() {
	services := func(name, protocol string) (uint16, bool) { return 79, name == "finger" && protocol == "tcp" }
	table := inetd.Reader{Service: services}.Inetd("/etc/inetd.conf", []byte(`
finger  stream  tcp4     nowait.3  nobody  /usr/sbin/tcpd    /usr/sbin/in.fingerd -u
rstatd  dgram   rpc/udp  wait      root    /usr/sbin/rstatd  rstatd
`))
	for _, e := range table.Entries {
		fmt.Print(e.Socket())
		for _, s := range e.Settings() {
			fmt.Printf("[%s] %s=%s\n", s.Section, s.Key, s.Value)
		}
	}
	for _, n := range table.Notes {
		fmt.Println(n)
	}
	// Output:
	// [Socket]
	// ListenStream=0.0.0.0:79
	// [Backend] Mode=stdio:stderr
	// [Backend] Exec=@/usr/sbin/tcpd /usr/sbin/in.fingerd -u
	// [Backend] User=nobody
	// [Gate] MaxConnections=0
	// [Gate] Rate=3/1min
	// /etc/inetd.conf:3: cannot take over service "rstatd": protocol "rpc/udp": its port has to be told to rpcbind, which nobody does for a socket of systemd's
}
