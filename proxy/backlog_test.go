package proxy

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// Nobody is refused with FarewellBacklog either when it is not known at once
// whether a client will stand in line.
func TestBacklogOfThoseWhoSpeakFirst(t *testing.T) {
	for _, how := range []string{"header", "first byte"} {
		t.Run(how, func(t *testing.T) {
			b := newBackend(t, func(c net.Conn) { io.CopyN(c, c, 8) })
			r := run(t, b, 1, 1, func(c *Config) {
				c.Rules.WhenFull.Kind = FarewellBacklog
				if how == "header" {
					c.Rules.Trusted = sources(t, "127.0.0.1")
				} else {
					c.Rules.WakeOnData, c.Rules.WakeTimeout = true, never
				}
			})
			var clients []*net.TCPConn
			for range 10 {
				clients = append(clients, r.dial(0))
			}
			for i, c := range clients {
				if how == "header" {
					io.WriteString(c, header(2))
				}
				fmt.Fprintf(c, "client %d", i)
			}
			var all sync.WaitGroup
			for i, c := range clients {
				all.Go(func() {
					if got, err := io.ReadAll(c); len(got) != 8 || err != nil {
						t.Errorf("client %d: %q, %v", i, got, err)
					}
					c.Close()
				})
			}
			all.Wait()
		})
	}
}
