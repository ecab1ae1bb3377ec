package proxyhdr

import (
	"bufio"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"

	"github.com/tiproxy/tiproxy/sockaddr"
)

func tcp(s string) sockaddr.Addr { return sockaddr.TCP(netip.MustParseAddrPort(s)) }

// Source and dest as v4Bytes, v6Bytes and unixBytes have them.
var (
	local   = Header{Local: true}
	ofIPv4  = Header{Source: tcp("192.0.2.1:56324"), Dest: tcp("198.51.100.2:443")}
	ofIPv6  = Header{Source: tcp("[2001:db8::1]:56324"), Dest: tcp("[2001:db8::2]:443")}
	ofUnix  = Header{Source: sockaddr.Unix("/run/client"), Dest: sockaddr.Unix("/run/server")}
	unnamed = sockaddr.Unix("")
	vsock   = sockaddr.Addr{Family: unix.AF_VSOCK, CID: 3, Port: 1024}
)

func TestParse(t *testing.T) {
	path := strings.Repeat("p", sunPathSize)
	for _, tt := range []struct {
		text string
		want Header
	}{
		{"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", ofIPv4},
		{"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", Header{Source: tcp("255.255.255.255:65535"), Dest: tcp("0.0.0.0:0")}},
		{"PROXY TCP6 2001:db8::1 2001:0DB8:0:0:0:0:0:2 56324 443\r\n", ofIPv6},
		{"PROXY TCP6 " + longIPv6 + " " + longIPv6 + " 65535 65535\r\n", Header{Source: tcp("[" + longIPv6 + "]:65535"), Dest: tcp("[" + longIPv6 + "]:65535")}},
		{"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6402 56324 443\r\n", ofIPv4},
		{"PROXY UNKNOWN\r\n", local},
		{"PROXY UNKNOWN 192.0.2.1 whatever\r\n", local},

		{binaryHeader(0x21, 0x11, v4Bytes), ofIPv4},
		{binaryHeader(0x21, 0x21, v6Bytes), ofIPv6},
		{binaryHeader(0x21, 0x21, zeros(10), "\xff\xff\xc0\x00\x02\x01", zeros(10), "\xff\xff\xc6\x33\x64\x02\xdc\x04\x01\xbb"), ofIPv4},
		{binaryHeader(0x21, 0x31, unixBytes), ofUnix},
		{binaryHeader(0x21, 0x31, zeros(216)), Header{Source: unnamed, Dest: unnamed}},
		{binaryHeader(0x21, 0x31, path, path), Header{Source: sockaddr.Unix(path), Dest: sockaddr.Unix(path)}},
		{binaryHeader(0x21, 0x31, "\x00client", zeros(101), "@server", zeros(101)), Header{Source: sockaddr.Unix("@client"), Dest: sockaddr.Unix("@server")}},
		{binaryHeader(0x21, 0x31, "@", zeros(107), "/run/x\x00garbage", zeros(94)), Header{Source: unnamed, Dest: sockaddr.Unix("/run/x")}},
		{binaryHeader(0x21, 0x00), local},
		{binaryHeader(0x21, 0x00, "\x04\x00\x01x"), local},
		{binaryHeader(0x20, 0x00), local},
		{binaryHeader(0x20, 0x11, v4Bytes), local},
		{binaryHeader(0x20, 0x12), local},
		{binaryHeader(0x20, 0xff, "\x03\x00\x04what"), local},

		{binaryHeader(0x21, 0x11, v4Bytes, "\x01\x00\x02h2", "\x04\x00\x00", "\xee\x00\x01x"), ofIPv4},
		{binaryHeader(0x21, 0x31, unixBytes, "\x05\x00\x02id"), ofUnix},
		// These checksums come from a few lines of Python, bit by bit.
		{binaryHeader(0x21, 0x11, v4Bytes, "\x03\x00\x04\x20\xec\x95\x49"), ofIPv4},
		{binaryHeader(0x21, 0x11, v4Bytes, "\x04\x00\x03abc", "\x03\x00\x04\x19\x66\x84\x21", "\x02\x00\x0bexample.com"), ofIPv4},
		{binaryHeader(0x21, 0x00, "\x03\x00\x04\x3e\xc9\x89\x4e"), local},
	} {
		if got, err := Parse([]byte(tt.text)); got != tt.want || err != nil {
			t.Errorf("%.80q: %+v, %v; want %+v", tt.text, got, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ text, err string }{
		{"", "cannot read 0 bytes"},
		{"PROXY UNKNOWN\r", "cannot read 14 bytes as one PROXY header"},
		{"PROXY UNKNOWN\r\nx", "cannot read 16 bytes"},
		{"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n", "cannot read 30 bytes"},
		{binaryHeader(0x21, 0x11, v4Bytes)[:27], "cannot read 27 bytes"},
		{"GET / HTTP/1.1\r\n", `begins with "G"`},
		{binaryHeader(0x21, 0x11, zeros(10<<10)), "of 10256 bytes"},

		{"PROXY TCP4 \r\n", "cannot read PROXY header"},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n", "cannot read PROXY header"},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n", "cannot read PROXY header"},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n", "cannot read PROXY header"},
		{"PROXY TCP4 192.0.2.1  198.51.100.2 56324 443\r\n", "cannot read PROXY header"},
		{"PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n", "cannot read PROXY header"},
		{"PROXY TCP4 192.0.2.1\t198.51.100.2 56324 443\r\n", "cannot read PROXY header"},
		{"PROXY TCP4 192.0.2.01 198.51.100.2 56324 443\r\n", "invalid address"},
		{"PROXY TCP4 192.0.2.256 198.51.100.2 56324 443\r\n", "invalid address"},
		{"PROXY TCP4 192.0.2 198.51.100.2 56324 443\r\n", "invalid address"},
		{"PROXY TCP4 localhost 198.51.100.2 56324 443\r\n", "invalid address"},
		{"PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n", "invalid address"},
		{"PROXY TCP4 ::ffff:192.0.2.1 198.51.100.2 56324 443\r\n", "invalid address"},
		{"PROXY TCP6 192.0.2.1 198.51.100.2 56324 443\r\n", "invalid address"},
		{"PROXY TCP6 2001:db8::1 198.51.100.2 56324 443\r\n", "invalid address"},
		{"PROXY TCP6 fe80::1%eth0 2001:db8::2 56324 443\r\n", "invalid address"},
		{"PROXY TCP6 [2001:db8::1] 2001:db8::2 56324 443\r\n", "invalid address"},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 056324 443\r\n", "invalid port"},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 56324 00\r\n", "invalid port"},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n", "invalid port"},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n", "invalid port"},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n", "invalid port"},
		{"PROXY TCP4 192.0.2.1 198.51.100.2 0x1 443\r\n", "invalid port"},

		{binaryHeader(0x21, 0x11, v4Bytes, "\x01"), "29 bytes with a cut TLV at byte 28"},
		{binaryHeader(0x21, 0x11, v4Bytes, "\x01\x00"), "30 bytes with a cut TLV at byte 28"},
		{binaryHeader(0x21, 0x11, v4Bytes, "\x01\x00\x02h"), "32 bytes with a TLV of 2 at byte 28"},
		{binaryHeader(0x21, 0x21, v6Bytes, "\x01\xff\xff"), "with a TLV of 65535 at byte 52"},
		{binaryHeader(0x21, 0x31, unixBytes, "\x01\x00\x00\x04"), "with a cut TLV at byte 235"},
		{binaryHeader(0x21, 0x00, v4Bytes), "with a TLV of 25602 at byte 21"},
		{binaryHeader(0x21, 0x11, v4Bytes, "\x03\x00\x04\x49\x95\xec\x20"), "checksum 4995ec20; its bytes have 20ec9549"},
		{binaryHeader(0x21, 0x11, v4Bytes, "\x03\x00\x04\x00\x00\x00\x00"), "checksum 00000000; its bytes have 20ec9549"},
		{binaryHeader(0x21, 0x11, v4Bytes, "\x03\x00\x03\x20\xec\x95"), "checksum of 3 bytes"},
		{binaryHeader(0x21, 0x11, v4Bytes, "\x03\x00\x05\x20\xec\x95\x49\x00"), "checksum of 5 bytes"},
		{binaryHeader(0x21, 0x00, "\x03\x00\x04\x3e\xc9\x89\x4f"), "its bytes have 3ec9894e"},
	} {
		got, err := Parse([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.err) || got != (Header{}) {
			t.Errorf("%.80q: %+v, %v; want an error with %q", tt.text, got, err, tt.err)
		}
	}
}

// Whichever bit of a header with a checksum is wrong, the header is refused or,
// as a LOCAL one, says nothing. Only the type says that there is a checksum.
func TestChecksumCoversEveryBit(t *testing.T) {
	const kind = 28
	whole := binaryHeader(0x21, 0x11, v4Bytes, "\x03\x00\x04\x20\xec\x95\x49")
	for bit := range len(whole) * 8 {
		b := []byte(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if h, err := Parse(b); err == nil && h != local && bit/8 != kind {
			t.Errorf("bit %d of byte %d is wrong, and it reads %+v", bit%8, bit/8, h)
		}
	}
}

func TestFormat(t *testing.T) {
	mapped := "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"
	for _, tt := range []struct {
		version      int
		source, dest sockaddr.Addr
		want         string
		read         Header
	}{
		{1, ofIPv4.Source, ofIPv4.Dest, "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", ofIPv4},
		{1, ofIPv6.Source, ofIPv6.Dest, "PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", ofIPv6},
		{1, ofIPv4.Source, ofIPv6.Dest, "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 56324 443\r\n", Header{Source: ofIPv4.Source, Dest: ofIPv6.Dest}},
		{1, ofIPv6.Source, ofIPv4.Dest, "PROXY TCP6 2001:db8::1 ::ffff:198.51.100.2 56324 443\r\n", Header{Source: ofIPv6.Source, Dest: ofIPv4.Dest}},
		{1, tcp("[::ffff:192.0.2.1]:56324"), ofIPv4.Dest, "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", ofIPv4},
		{1, tcp("[fe80::1%eth0]:1"), tcp("[fe80::2%2]:2"), "PROXY TCP6 fe80::1 fe80::2 1 2\r\n", Header{Source: tcp("[fe80::1]:1"), Dest: tcp("[fe80::2]:2")}},
		{1, unnamed, ofUnix.Dest, "PROXY UNKNOWN\r\n", local},
		{1, vsock, vsock, "PROXY UNKNOWN\r\n", local},
		{1, sockaddr.Addr{}, ofIPv4.Dest, "PROXY UNKNOWN\r\n", local},

		{2, ofIPv4.Source, ofIPv4.Dest, binaryHeader(0x21, 0x11, v4Bytes), ofIPv4},
		{2, ofIPv6.Source, ofIPv6.Dest, binaryHeader(0x21, 0x21, v6Bytes), ofIPv6},
		{2, ofIPv4.Source, ofIPv6.Dest, binaryHeader(0x21, 0x21, mapped, v4Bytes[:4], v6Bytes[16:]), Header{Source: ofIPv4.Source, Dest: ofIPv6.Dest}},
		{2, ofIPv6.Source, ofIPv4.Dest, binaryHeader(0x21, 0x21, v6Bytes[:16], mapped, v4Bytes[4:]), Header{Source: ofIPv6.Source, Dest: ofIPv4.Dest}},
		{2, ofUnix.Source, ofUnix.Dest, binaryHeader(0x21, 0x31, unixBytes), ofUnix},
		{2, unnamed, ofUnix.Dest, binaryHeader(0x21, 0x31, zeros(108), unixBytes[108:]), Header{Source: unnamed, Dest: ofUnix.Dest}},
		{2, sockaddr.Unix("@"), sockaddr.Unix("@server"), binaryHeader(0x21, 0x31, zeros(108), "\x00server", zeros(101)), Header{Source: unnamed, Dest: sockaddr.Unix("@server")}},
		{2, vsock, vsock, binaryHeader(0x21, 0x00), local},
		{2, sockaddr.Addr{}, ofIPv4.Dest, binaryHeader(0x21, 0x00), local},
		{2, sockaddr.Addr{Family: unix.AF_INET}, ofIPv4.Dest, binaryHeader(0x21, 0x00), local},
	} {
		b := Format(tt.version, tt.source, tt.dest)
		if string(b) != tt.want {
			t.Errorf("version %d, %v to %v: %q, want %q", tt.version, tt.source, tt.dest, b, tt.want)
		}
		if h, err := Parse(b); h != tt.read || err != nil {
			t.Errorf("%q reads %+v, %v; want %+v", b, h, err, tt.read)
		}
		// A receiver may refuse a connection of no family, and this one does.
		refused := tt.version == 2 && tt.read == local
		if _, err := proxyproto.Read(bufio.NewReader(strings.NewReader(string(b)))); (err != nil) != refused {
			t.Errorf("go-proxyproto reads %q: %v", b, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, h := range headers {
		f.Add([]byte(h))
	}
	f.Add([]byte("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 056324 443\r\n"))
	f.Add([]byte(binaryHeader(0x21, 0x11, v4Bytes, "\x03\x00\x04\x20\xec\x95\x49")))
	f.Add([]byte(binaryHeader(0x21, 0x31, "\x00client", zeros(101), "@", zeros(107), "\x04\x00\x02id")))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Parse(b)
		if n, _ := Length(b); err == nil && (n == 0 || n != len(b)) {
			t.Fatalf("%q is read, and Length says %d", b, n)
		}
		if known := h.Source.Family != 0 && h.Dest.Family != 0; known == (h.Local || err != nil) {
			t.Fatalf("%q: %+v, %v", b, h, err)
		}
		if err != nil {
			return
		}
		for version := 1; version <= 2; version++ {
			want := h
			if version == 1 && !h.Source.IsIP() {
				want = local
			}
			written := Format(version, h.Source, h.Dest)
			if again, err := Parse(written); again != want || err != nil {
				t.Fatalf("%q is %+v, written as %q, and that is %+v, %v", b, h, written, again, err)
			}
		}
	})
}
