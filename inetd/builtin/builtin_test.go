package builtin

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// serve serves the other end of the connection that it answers; ended is closed
// when that is over.
func serve(t *testing.T, name string) (client net.Conn, ended <-chan struct{}) {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		if err := Serve(name, server); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { client.Close(); <-done })
	return client, done
}

func TestTimeServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it begins in 2000, UTC or not
		for name, want := range map[string]string{
			"daytime": time.Now().Format("Mon Jan _2 15:04:05 2006") + "\r\n",
			"time":    "\xbc\x17\xc2\x00", // 3155673600
		} {
			client, _ := serve(t, name)
			if got, err := io.ReadAll(client); err != nil || string(got) != want {
				t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
			}
		}
	})
}

func TestSince1900(t *testing.T) {
	for year, want := range map[int]uint32{1970: 2_208_988_800, 2036: 4_291_747_200, 2037: 28_402_304} { // RFC 868 has the first
		if got := since1900(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)); got != want {
			t.Errorf("%d: got %d, want %d", year, got, want)
		}
	}
}

func TestEchoAndDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := serve(t, "echo")
		go io.WriteString(client, "hello")
		got := make([]byte, 5)
		if _, err := io.ReadFull(client, got); err != nil || string(got) != "hello" {
			t.Errorf("got %q, %v", got, err)
		}
		client, _ = serve(t, "discard")
		if _, err := io.WriteString(client, "hello"); err != nil {
			t.Error(err)
		}
		if err := client.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if n, err := client.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("discard said %q, %v", got[:n], err)
		}
	})
}

// RFC 864 shows the pattern. It lasts until the client leaves.
func TestChargen(t *testing.T) {
	client, ended := serve(t, "chargen")
	lines := bufio.NewScanner(client)
	for i := range 200 {
		if !lines.Scan() || len(lines.Text()) != 72 || lines.Text()[0] != byte(' '+i%95) {
			t.Fatalf("line %d is %q", i, lines.Text())
		}
		if i == 0 && !strings.HasPrefix(lines.Text(), ` !"#$%&'()*+,-./0123456789:;<=>?@ABC`) {
			t.Errorf("it begins with %q", lines.Text())
		}
	}
	client.Close()
	<-ended
}

// packets is a socket of which the datagrams come one by one, and then no more.
type packets struct {
	from []netip.AddrPort
	sent []string
}

func (p *packets) SetReadDeadline(time.Time) error { return nil }

func (p *packets) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	if len(p.from) == 0 {
		return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
	}
	from := p.from[0]
	p.from = p.from[1:]
	return copy(b, "hello"), from, nil
}

func (p *packets) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	p.sent = append(p.sent, to.String()+" "+string(b))
	return len(b), nil
}

// Nothing is answered to a reserved port, and to one like ours, or two services
// would never stop.
func TestDatagrams(t *testing.T) {
	client := netip.MustParseAddrPort("192.0.2.1:1024")
	var from []netip.AddrPort
	for _, port := range []uint16{0, 7, 1023, 7007, 1024} {
		from = append(from, netip.AddrPortFrom(client.Addr(), port))
	}
	for name, want := range map[string]int{"echo": 5, "discard": 0, "chargen": 74, "daytime": 26, "time": 4} {
		p := &packets{from: from}
		if err := ServePackets(name, p, 7007, time.Second); err != nil {
			t.Error(err)
		}
		switch {
		case want == 0 && len(p.sent) == 0:
		case len(p.sent) != 1 || !strings.HasPrefix(p.sent[0], "192.0.2.1:1024 ") || len(p.sent[0]) != want+len("192.0.2.1:1024 "):
			t.Errorf("%s: got %q, want %d bytes to %s", name, p.sent, want, client)
		}
	}
}

// The socket is a real one, and nobody comes.
func TestDatagramsEndWhenNoneComes(t *testing.T) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := ServePackets("echo", socket, 0, time.Millisecond); err != nil {
		t.Error(err)
	}
}

func TestUnknownNames(t *testing.T) {
	for _, err := range []error{Serve("finger", nil), ServePackets("finger", nil, 0, 0)} {
		if err == nil || err.Error() != `no service "finger" is built in; there are chargen, daytime, discard, echo, time` {
			t.Errorf("got %v", err)
		}
	}
}
