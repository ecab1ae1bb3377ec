package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/access"
	"github.com/tiproxy/tiproxy/internal/proxyhdr"
	"github.com/tiproxy/tiproxy/sockaddr"
)

var (
	visitor = sockaddr.TCP(netip.MustParseAddrPort("192.0.2.1:1111"))
	porch   = sockaddr.TCP(netip.MustParseAddrPort("198.51.100.1:2222"))
)

func header(version int) string { return string(proxyhdr.Format(version, visitor, porch)) }

// binaryHeader makes a version 2 header of IPv4, or one that says nothing.
func binaryHeader(command, family byte, rest string) string {
	h := []byte("\r\n\r\n\x00\r\nQUIT\n")
	h = append(h, 0x20|command, family)
	h = binary.BigEndian.AppendUint16(h, uint16(len(rest)))
	return string(h) + rest
}

// addresses are those of an IPv4 header.
const addresses = "\xc0\x00\x02\x01\xc6\x33\x64\x01\x04\x57\x08\xae"

// announcing has the proxy expect a header from 127.0.0.1, and from its UNIX
// clients.
func announcing(t testing.TB) func(*Config) {
	return func(c *Config) {
		c.Listeners = []Listener{listen(t), listenUnix(t)}
		c.Rules.Trusted, c.Rules.TrustUnix = sources(t, "127.0.0.1"), true
	}
}

// The header says who the client is; what stands behind it is its own, whole.
func TestAcceptProxy(t *testing.T) {
	text := strings.Repeat("what stands behind the header. ", 300)
	for _, door := range []string{"TCP", "UNIX"} {
		for _, tt := range []struct {
			name, header string
			known        bool
		}{
			{"version 1", header(1), true},
			{"version 2", header(2), true},
			{"version 2 with a TLV", binaryHeader(1, 0x11, addresses+"\x04\x00\x05abcde"), true},
			{"version 1, unknown", "PROXY UNKNOWN\r\n", false},
			{"local", binaryHeader(0, 0, ""), false},
			{"local of 4096 bytes", binaryHeader(0, 0, strings.Repeat("x", 4080)), false},
		} {
			t.Run(door+" "+tt.name, func(t *testing.T) {
				r := run(t, newBackend(t, echo), 2, 0, announcing(t))
				whole := r.connect(&net.Dialer{}, map[string]int{"TCP": 0, "UNIX": 1}[door])
				exchangeBehind(t, whole, tt.header, text)
				admitted := await[AdmitEvent](r).Client
				want := visitor
				if !tt.known {
					want = sockaddr.Unix("")
					if door == "TCP" {
						want = sockaddr.TCP(netip.MustParseAddrPort(whole.LocalAddr().String()))
					}
				}
				if admitted.Addr != want {
					t.Errorf("let in as %v, want %v", admitted.Addr, want)
				}
				whole.CloseWrite()
				mustEOF(t, whole)
				if e := r.endOf(1); e.Client.Addr != want || e.FromClient != uint64(len(text)) || e.FromBackend != e.FromClient {
					t.Errorf("%+v", e)
				}
			})
		}
	}
}

func exchangeBehind(t testing.TB, c net.Conn, header, text string) {
	t.Helper()
	if _, err := io.WriteString(c, header+text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %d bytes %.40q, %v; want %.40q", len(got), got, err, text)
	}
}

// A header may come in pieces; another client, who is let in meanwhile, shows
// that the front has seen each of them.
func TestHeaderInPieces(t *testing.T) {
	for i, door := range []string{"TCP", "UNIX"} {
		for version := 1; version <= 2; version++ {
			t.Run(fmt.Sprint(door, " version ", version), func(t *testing.T) {
				r := run(t, newBackend(t, echo), 0, 0, announcing(t))
				c := r.connect(&net.Dialer{}, i)
				until(t, "an accepted client", func() bool { return len(r.proxy.Sessions()) == 1 })
				h := header(version)
				for ; len(h) > 10; h = h[9:] {
					io.WriteString(c, h[:9])
					other := r.dial(0)
					exchangeBehind(t, other, header(1), "meanwhile")
					if e := await[AdmitEvent](r); e.Client.Number == 1 {
						t.Fatalf("let in with %q missing", h)
					}
				}
				exchangeBehind(t, c, h, "and the rest")
				for await[AdmitEvent](r).Client.Number != 1 {
				}
			})
		}
	}
}

func TestBadHeaders(t *testing.T) {
	for _, tt := range []struct{ name, bytes string }{
		{"another protocol", "GET / HTTP/1.1\r\n\r\n"},
		{"one byte", "x"},
		{"10 kB in one line", "PROXY TCP4 " + strings.Repeat("1", 10<<10)},
		{"10 kB announced", binaryHeader(1, 0x11, addresses+strings.Repeat("x", 10<<10))},
		{"no such address", "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n"},
		{"wrong checksum", binaryHeader(1, 0x11, addresses+"\x03\x00\x04\x01\x02\x03\x04")},
		{"cut TLV", binaryHeader(1, 0x11, addresses+"\x04\x00\x09ab")},
		{"datagrams", binaryHeader(1, 0x12, addresses)},
		{"half of the addresses", binaryHeader(1, 0x11, addresses[:6])},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBackend(t, echo)
			r := run(t, b, 1, 1, announcing(t))
			c := r.dial(0)
			io.WriteString(c, tt.bytes)
			mustEOF(t, c)
			e := r.endOf(1)
			if e.Outcome != Denied || !errors.As(e.Err, new(*badHeader)) || r.proxy.Denied() != 1 {
				t.Errorf("%+v, %d denied", e, r.proxy.Denied())
			}
			if s := r.proxy.Gate().Stats(); s.Served+s.Refused+s.Abandoned != 0 || b.acquired.Load() != 0 {
				t.Errorf("%+v; the backend was asked for %d times", s, b.acquired.Load())
			}
		})
	}
}

// A header from elsewhere is no header: it is not even read.
func TestHeaderFromAnUntrustedSource(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 1, announcing(t))
	c := r.dialFrom("127.0.0.2", 0)
	io.WriteString(c, header(1))
	mustEOF(t, c)
	if e := r.endOf(1); e.Outcome != Denied || !errors.As(e.Err, new(*access.Refusal)) || e.Client.Addr.IP.Addr().String() != "127.0.0.2" {
		t.Errorf("%+v", e)
	}
}

// Without AcceptProxy= a header is the client's own bytes.
func TestHeaderIsTransparentByDefault(t *testing.T) {
	r := run(t, newBackend(t, echo), 1, 1, nil)
	exchange(t, r.dial(0), header(1))
	if e := await[AdmitEvent](r); e.Client.Addr == visitor {
		t.Errorf("%+v", e)
	}
}

// How a client leaves before, in and after its header.
func TestLeavingAroundTheHeader(t *testing.T) {
	closing := func(c *net.TCPConn) { c.CloseWrite() }
	resetting := func(c *net.TCPConn) { c.SetLinger(0); c.Close() }
	for _, tt := range []struct {
		name, bytes string
		leave       func(*net.TCPConn)
		err         error // nil: it is served
	}{
		{"nothing, then closed", "", closing, ErrHungUp},
		{"nothing, then reset", "", resetting, ErrReset},
		{"half a header, then closed", header(1)[:20], closing, ErrHungUp},
		{"half a header, then reset", header(2)[:20], resetting, ErrReset},
		{"a header, then closed", header(1), closing, ErrHungUp},
		{"a header, then reset", header(2), resetting, ErrReset},
		{"a header and a request, then half-closed", header(2) + "request", closing, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBackend(t, echo)
			r := run(t, b, 1, 10, announcing(t))
			door := r.dial(0)
			exchangeBehind(t, door, header(1), "in")
			c := r.dial(0)
			io.WriteString(c, tt.bytes)
			if strings.HasPrefix(tt.bytes, header(1)) || strings.HasPrefix(tt.bytes, header(2)) {
				await[WaitEvent](r)
			}
			tt.leave(c)
			if tt.err != nil {
				if e := r.endOf(2); e.Outcome != Left || e.Err != tt.err {
					t.Errorf("%+v", e)
				}
				exchange(t, door, "not touched")
				return
			}
			door.Close()
			if got, err := io.ReadAll(c); err != nil || string(got) != "request" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// All at once in the first packet: header, request and end.
func TestHeaderRequestAndEndAtOnce(t *testing.T) {
	for _, abort := range []bool{false, true} {
		t.Run(fmt.Sprint("AbortOnClose ", abort), func(t *testing.T) {
			fd := listen(t) // nobody accepts there yet
			c, err := net.Dial("tcp4", fd.Addr.String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			io.WriteString(c, header(2)+"request")
			c.(conn).CloseWrite()
			b := newBackend(t, echo)
			b.open = make(chan struct{})
			r := run(t, b, 1, 10, func(c *Config) {
				announcing(t)(c)
				c.Listeners[0], c.Rules.AbortOnClose = fd, abort
			})
			if abort {
				if e := r.endOf(1); e.Outcome != Left || e.Err != ErrHungUp {
					t.Errorf("%+v", e)
				}
				return
			}
			close(b.open)
			if got, err := io.ReadAll(c); err != nil || string(got) != "request" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestSilenceInsteadOfAHeader(t *testing.T) {
	set(t, &announcePatience, 20*time.Millisecond)
	r := run(t, newBackend(t, echo), 1, 1, announcing(t))
	c := r.dial(0)
	io.WriteString(c, "PROXY ")
	mustEOF(t, c)
	if e := r.endOf(1); e.Outcome != Left || e.Err != ErrUnannounced {
		t.Errorf("%+v", e)
	}
}

// After the header comes the client's own first byte, with its own patience.
func TestHeaderAndWakeOnData(t *testing.T) {
	b := newBackend(t, echo)
	r := run(t, b, 1, 1, func(c *Config) {
		announcing(t)(c)
		c.Rules.WakeOnData, c.Rules.WakeTimeout = true, never
	})
	c := r.dial(0)
	io.WriteString(c, header(1))
	until(t, "a silent client", func() bool {
		all := r.proxy.Sessions()
		return len(all) == 1 && all[0].Stage == Silent && all[0].Client.Addr == visitor
	})
	if n := b.acquired.Load(); n != 0 {
		t.Errorf("the backend was asked for %d times by a header", n)
	}
	exchange(t, c, "speaks")
	exchangeBehind(t, closed(t, r, c), header(1), "both in one packet")
}

// closed waits for the end of the only client, and answers the next.
func closed(t testing.TB, r *running, c net.Conn) net.Conn {
	t.Helper()
	c.Close()
	r.endOf(1)
	return r.dial(0)
}

// The rules about who may come in, and about sources, are about the client
// that the header names.
func TestRulesSeeTheAddressOfTheHeader(t *testing.T) {
	r := run(t, newBackend(t, echo), 0, 10, func(c *Config) {
		announcing(t)(c)
		c.Rules.Access.DenyFrom = sources(t, "203.0.113.0/24")
		c.Rules.Gate.PerSource = 1
	})
	first := r.dial(0)
	exchangeBehind(t, first, header(1), "first of its source")
	second := r.dial(0)
	io.WriteString(second, header(2)+"second")
	if e := await[WaitEvent](r); e.Client.Addr != visitor {
		t.Errorf("%+v", e)
	}
	exchangeBehind(t, r.dial(0), "PROXY TCP4 192.0.2.2 127.0.0.1 1 2\r\n", "another source")
	denied := r.dial(0)
	io.WriteString(denied, "PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n")
	mustEOF(t, denied)
	if e := r.endOf(4); e.Outcome != Denied || e.Client.Addr.IP.Addr().String() != "203.0.113.7" || r.proxy.Denied() != 1 {
		t.Errorf("%+v", e)
	}
	first.Close()
	if _, err := io.ReadFull(second, make([]byte, 6)); err != nil {
		t.Error(err)
	}
}

// The backend reads one header, of exactly the version asked for, and then the
// bytes of the client.
func TestSendProxy(t *testing.T) {
	for version := 1; version <= 2; version++ {
		for _, from := range []string{"TCP", "UNIX", "another proxy"} {
			t.Run(fmt.Sprint("version ", version, " from ", from), func(t *testing.T) {
				got := make(chan []byte, 1)
				b := newBackend(t, func(c net.Conn) {
					all, _ := io.ReadAll(c)
					got <- all
				})
				r := run(t, b, 1, 1, func(c *Config) {
					c.Listeners = []Listener{listen(t), listenUnix(t)}
					c.Rules.SendProxy = version
					if from == "another proxy" {
						announcing(t)(c)
					}
				})
				i := map[string]int{"UNIX": 1}[from]
				c := r.connect(&net.Dialer{}, i)
				source, dest := sockaddr.Unix(""), r.cfg.Listeners[i].Addr
				switch from {
				case "TCP":
					source = sockaddr.TCP(netip.MustParseAddrPort(c.LocalAddr().String()))
				case "another proxy":
					source, dest = visitor, porch
					io.WriteString(c, header(3-version))
				}
				io.WriteString(c, "bytes")
				c.CloseWrite()
				mustEOF(t, c)
				want := append(proxyhdr.Format(version, source, dest), "bytes"...)
				if got := <-got; !bytes.Equal(got, want) {
					t.Errorf("the backend read %q, want %q", got, want)
				}
				if e := r.endOf(1); e.FromClient != 5 {
					t.Errorf("%+v", e)
				}
			})
		}
	}
}
