package proxyhdr

import (
	"slices"
	"strings"
	"testing"
)

const signature = "\r\n\r\n\x00\r\nQUIT\n"

// binaryHeader builds a header of version 2 from its 13th and 14th byte and
// what follows its length.
func binaryHeader(command, family byte, parts ...string) string {
	rest := strings.Join(parts, "")
	return signature + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

// Addresses of version 2, source and dest as Parse's table has them.
var (
	v4Bytes   = "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"
	v6Bytes   = "\x20\x01\x0d\xb8" + zeros(11) + "\x01" + "\x20\x01\x0d\xb8" + zeros(11) + "\x02" + "\xdc\x04\x01\xbb"
	unixBytes = "/run/client" + zeros(97) + "/run/server" + zeros(97)
)

func zeros(n int) string { return strings.Repeat("\x00", n) }

// headers are whole ones of every kind.
var headers = []string{
	"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
	"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
	"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n",
	"PROXY TCP6 " + longIPv6 + " " + longIPv6 + " 65535 65535\r\n",
	"PROXY UNKNOWN\r\n",
	"PROXY UNKNOWN " + longIPv6 + " " + longIPv6 + " 65535 65535\r\n",
	binaryHeader(0x20, 0x00),
	binaryHeader(0x20, 0xff, "whatever"),
	binaryHeader(0x21, 0x00),
	binaryHeader(0x21, 0x11, v4Bytes),
	binaryHeader(0x21, 0x11, v4Bytes, "\x02\x00\x0bexample.com"),
	binaryHeader(0x21, 0x21, v6Bytes),
	binaryHeader(0x21, 0x31, unixBytes),
	binaryHeader(0x21, 0x11, v4Bytes, "\x04\x0f\xe1"+zeros(Most-31)),
}

const longIPv6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

// A header is whole at its last byte, not before, and is not longer with the
// client's bytes behind it: not even if they look like another header.
func TestLengthByteByByte(t *testing.T) {
	for _, h := range headers {
		stream := []byte(h + headers[0] + "\r\n")
		for n := range len(stream) + 1 {
			want := 0
			if n >= len(h) {
				want = len(h)
			}
			if got, err := Length(stream[:n:n]); got != want || err != nil {
				t.Errorf("%.60q: %d of %d bytes give %d, %v; want %d", h, n, len(h), got, err, want)
				break
			}
		}
	}
}

// Each text is refused with its last byte and whatever follows, and could be a
// header without it.
func TestLengthRefusesFirstWrongByte(t *testing.T) {
	line := "PROXY UNKNOWN " + strings.Repeat("x", 105-len("PROXY UNKNOWN ")) // 107 with CRLF
	for _, tt := range []struct{ text, err string }{
		{"G", `no PROXY header begins with "G"`},
		{"PO", `no PROXY header begins with "PO"`},
		{"PROXY  ", `begins with "PROXY  "`},
		{"PROXYT", "begins with"},
		{"PROXY\r", "begins with"},
		{"PROXY TCP5", "begins with"},
		{"PROXY TCP4\t", "begins with"},
		{"PROXY UD", "begins with"},
		{"PROXY UNKNOWN\n", "begins with"},
		{"PROXY UNKNOWN\r\r", "begins with"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "LF where CRLF"},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r", "CR where CRLF"},
		{"PROXY UNKNOWN x\rx", "CR where CRLF"},
		{line + "x", "without CRLF"},
		{line + "\rx", "CR where CRLF"},
		{"\n", "begins with"},
		{"\r\n\r\nG", "begins with"},
		{signature[:11] + "\r", "begins with"},
		{signature + "\x11", "version 1;"},
		{signature + "\x30", "version 3;"},
		{signature + "\x22", "command 2;"},
		{signature + "\x21\x01", "family and protocol 0x01"},
		{signature + "\x21\x12", "family and protocol 0x12"}, // UDP
		{signature + "\x21\x22", "family and protocol 0x22"},
		{signature + "\x21\x32", "family and protocol 0x32"}, // UNIX datagrams
		{signature + "\x21\x13", "family and protocol 0x13"},
		{signature + "\x21\x41", "family and protocol 0x41"},
		{signature + "\x21\x11\x00\x0b", "of 27 bytes; its addresses alone take it to 28"},
		{signature + "\x21\x21\x00\x23", "take it to 52"},
		{signature + "\x21\x31\x00\xd7", "take it to 232"},
		{signature + "\x21\x11\x28\x00", "of 10256 bytes; 4096 are the most"},
		{signature + "\x21\x00\x0f\xf1", "of 4097 bytes"},
		{signature + "\x20\x00\xff\xff", "of 65551 bytes"},
	} {
		b := []byte(tt.text)
		if n, err := Length(b); n != 0 || err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %d, %v; want an error with %q", b, n, err, tt.err)
		}
		if n, err := Length(append(b, "\r\n\r\n"...)); n != 0 || err == nil {
			t.Errorf("%q: %d, %v with more bytes behind it", b, n, err)
		}
		if n, err := Length(b[:len(b)-1]); n != 0 || err != nil {
			t.Errorf("%q: %d, %v; want that more bytes are needed", b[:len(b)-1], n, err)
		}
	}
}

// A client that is no proxy may have sent a secret: it must not get into a log.
func TestLengthShowsOnlyTheFirstWrongByte(t *testing.T) {
	_, err := Length([]byte("POST /login password=secret"))
	if err == nil || strings.Contains(err.Error(), "POS") {
		t.Errorf("error %v", err)
	}
}

func FuzzLength(f *testing.F) {
	for _, h := range headers {
		f.Add([]byte(h), []byte("next"))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n"), []byte("\r\n"))
	f.Add([]byte("PROXY TCP4 1.2.3.4\r"), []byte("\n"))
	f.Add([]byte(signature+"\x21\x11\x28"), make([]byte, 1<<14))
	f.Fuzz(func(t *testing.T, b, more []byte) {
		n, err := Length(b)
		if n < 0 || n > len(b) || n > Most || err != nil && n != 0 {
			t.Fatalf("%q: %d, %v", b, n, err)
		}
		later, laterErr := Length(slices.Concat(b, more))
		if (n > 0 || err != nil) && (later != n || (laterErr == nil) != (err == nil)) {
			t.Fatalf("%q: %d, %v; with more behind %d, %v", b, n, err, later, laterErr)
		}
		if later > 0 && later <= len(b) && n != later {
			t.Fatalf("%q: %d, and %d only with bytes behind it", b, n, later)
		}
		if n > 0 {
			if short, err := Length(b[:n-1]); short != 0 || err != nil {
				t.Fatalf("%q: without its last byte %d, %v", b[:n], short, err)
			}
		}
		if err == nil && n == 0 && len(b) >= Most {
			t.Fatalf("%d bytes, and more are wanted", len(b))
		}
	})
}
