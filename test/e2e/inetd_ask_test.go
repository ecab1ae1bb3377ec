//go:build e2e && deb

package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// The user who logs in, whom the servers know.
const visitor, password = "visitor", "let-me-in"

// atOnce is how many clients ask a service at the same time.
const atOnce = 20

// A conversation is what one client does. The answer is all that it heard, without what differs from one
// client to the next.
type conversation struct {
	name string
	hold func() (answer string, err error)
}

var conversations = []conversation{
	{"http", func() (string, error) { return curl("--include", "http://127.0.0.1/page.html") }},
	{"http, IPv6", func() (string, error) { return curl("--include", "http://[::1]/page.html") }},
	{"http, a page that is not there", func() (string, error) { return curl("--include", "http://127.0.0.1/none") }},
	{"finger", func() (string, error) { return stream("127.0.0.1:79", visitor+"\r\n") }},
	{"ident", askIdent},
	{"telnet", logIn},
	{"ftp, a listing", func() (string, error) { return curl("--list-only", "ftp://"+visitor+":"+password+"@127.0.0.1/") }},
	{"ftp, a file", func() (string, error) { return curl("ftp://" + visitor + ":" + password + "@127.0.0.1/letter") }},
	{"ftp, a wrong password", func() (string, error) { return refused(curl("ftp://" + visitor + ":wrong@127.0.0.1/letter")) }},
	{"ntalk", lookUp},
	{"tftp", fetchBlob},
	{"echo", func() (string, error) { return endsAfter("127.0.0.1:7", strings.Repeat("What?\n", 20000)) }},
	{"echo, datagrams", func() (string, error) { return datagram("7", "What?") }},
	{"discard", func() (string, error) {
		return silent(endsAfter("127.0.0.1:9", strings.Repeat("What?\n", 20000)))
	}},
	{"discard, datagrams", func() (string, error) { return unanswered("9", "What?") }},
	{"daytime", func() (string, error) { return daytime(stream("127.0.0.1:13", "")) }},
	{"daytime, datagrams", func() (string, error) { return daytime(datagram("13", "")) }},
	{"daytime, to a client that says nothing", func() (string, error) { return daytime(endsAfter("127.0.0.1:13", "")) }},
	{"time", func() (string, error) { return since1900(stream("127.0.0.1:37", "")) }},
	{"time, datagrams", func() (string, error) { return since1900(datagram("37", "")) }},
	{"chargen", chargen},
	{"chargen, datagrams", func() (string, error) { return rotated(datagram("19", "")) }},
	{"a user and his group", func() (string, error) { return stream("127.0.0.1:7001", "") }},
	{"root", func() (string, error) { return stream("127.0.0.1:7002", "") }},
	{"a server that complains", func() (string, error) { return stream("127.0.0.1:7008", "") }},
	{"IPv6", func() (string, error) { return stream("[::1]:7003", "") }},
	{"IPv6 alone", func() (string, error) { return refused(stream("127.0.0.1:7003", "")) }},
	{"one address, another group", func() (string, error) { return stream("127.0.0.2:7004", "") }},
	{"one address alone", func() (string, error) { return refused(stream("127.0.0.1:7004", "")) }},
	{"let in by hosts.deny", func() (string, error) { return stream("127.0.0.2:7005", "") }},
	{"denied by hosts.deny", func() (string, error) { return silent(stream("127.0.0.1:7005", "")) }},
	{"a server that accepts", func() (string, error) { return stream("127.0.0.1:7006", "") }},
	{"a UNIX socket", func() (string, error) { return stream("/run/visit.sock", "") }},
}

// askAll holds each conversation with all clients at once, and answers what they heard, which must be
// something, and the same.
func askAll(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, c := range conversations {
		var answers [atOnce]string
		var errs [atOnce]error
		var here sync.WaitGroup
		for i := range atOnce {
			here.Go(func() { answers[i], errs[i] = c.hold() })
		}
		here.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		for i, answer := range answers {
			if answer != answers[0] || answer == "" {
				t.Errorf("%s: client 0 heard\n%s\nand client %d\n%s", c.name, excerpt(answers[0]), i, excerpt(answer))
				break
			}
		}
		all = append(all, answers[0])
	}
	return all
}

// reach connects to a port or a UNIX socket; to 127.0.0.2 also from there. Whatever the client waits
// for, it waits no longer than patience.
func reach(address string) (net.Conn, error) {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	from := net.Dialer{}
	if strings.HasPrefix(address, "127.0.0.2:") {
		from.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}
	}
	conn, err := from.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(patience))
}

// stream says something, and hears all until the server ends.
func stream(address, text string) (string, error) {
	conn, err := reach(address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	heard, err := io.ReadAll(conn)
	return string(heard), err
}

// endsAfter says something, and that it was all, and hears all until the server ends.
func endsAfter(address, text string) (string, error) {
	conn, err := reach(address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	go func() {
		if _, err := io.WriteString(conn, text); err == nil {
			conn.(*net.TCPConn).CloseWrite()
		}
	}()
	heard, err := io.ReadAll(conn)
	return string(heard), err
}

// silent wants a service to end without a word.
func silent(answer string, err error) (string, error) {
	if err == nil && answer != "" {
		err = fmt.Errorf("heard %.100q; wanted nothing", answer)
	}
	return "closed without a word", err
}

// refused wants a service not to serve.
func refused(answer string, err error) (string, error) {
	if err == nil {
		return "", fmt.Errorf("heard %.100q; wanted to be refused", answer)
	}
	return "refused", nil
}

// datagram sends a datagram, and hears the answer to it.
func datagram(port, text string) (string, error) {
	conn, err := net.Dial("udp", net.JoinHostPort(outside, port))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	conn.SetDeadline(time.Now().Add(patience))
	heard := make([]byte, 1<<16)
	n, err := conn.Read(heard)
	return string(heard[:n]), err
}

// unanswered sends a datagram, and wants to hear nothing.
func unanswered(port, text string) (string, error) {
	conn, err := net.Dial("udp", net.JoinHostPort(outside, port))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
	heard := make([]byte, 1<<16)
	if n, err := conn.Read(heard); !errors.Is(err, os.ErrDeadlineExceeded) {
		return "", fmt.Errorf("heard %q, %v; wanted nothing", heard[:n], err)
	}
	return "nothing", nil
}

var dateLine = regexp.MustCompile(`(?m)^(Date:) .*`)

// curl is a client of many protocols.
func curl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	heard, err := exec.CommandContext(ctx, "curl", append([]string{"--silent", "--show-error"}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("curl: %w: %.200s", err, heard)
	}
	return string(dateLine.ReplaceAll(heard, []byte("$1"))), nil
}

// blob is what tftp is to fetch: the same bytes each time.
func blob() string {
	bytes := make([]byte, 300_000)
	chacha := rand.NewChaCha8([32]byte{})
	chacha.Read(bytes)
	return string(bytes)
}

func fetchBlob() (string, error) {
	heard, err := curl("tftp://127.0.0.1/blob")
	if err == nil && heard != blob() {
		err = fmt.Errorf("%d bytes came, and not those of the file", len(heard))
	}
	return "the file", err
}

// askIdent asks who has the connection that it asks over, RFC 1413.
func askIdent() (string, error) {
	conn, err := reach("127.0.0.1:113")
	if err != nil {
		return "", err
	}
	defer conn.Close()
	ours := conn.LocalAddr().(*net.TCPAddr).Port
	fmt.Fprintf(conn, "%d, 113\r\n", ours)
	line, err := readLine(conn)
	return strings.ReplaceAll(line, fmt.Sprint(ours), "PORT"), err
}

// The layout of daytime, RFC 867, as inetd has it.
func daytime(heard string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	said, err := time.ParseInLocation(time.ANSIC+"\r\n", heard, time.Local)
	if err == nil && time.Since(said).Abs() > patience {
		err = fmt.Errorf("it said it was %v", said)
	}
	return "the time", err
}

// since1900 reads what time says, RFC 868.
func since1900(heard string, err error) (string, error) {
	if err != nil || len(heard) != 4 {
		return "", fmt.Errorf("heard %q, %v", heard, err)
	}
	said := time.Unix(int64(binary.BigEndian.Uint32([]byte(heard)))-2_208_988_800, 0)
	if time.Since(said).Abs() > patience {
		return "", fmt.Errorf("it said it was %v", said)
	}
	return "the time", nil
}

// chargen hears 200 lines, which is more than twice around, and leaves.
func chargen() (string, error) {
	conn, err := reach("127.0.0.1:19")
	if err != nil {
		return "", err
	}
	defer conn.Close()
	heard := make([]byte, 200*74)
	_, err = io.ReadFull(conn, heard)
	return string(heard), err
}

// rotated wants a line of chargen's, whichever it is.
func rotated(heard string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	line, ended := strings.CutSuffix(heard, "\r\n")
	for i := range line {
		if i > 0 && line[i] != line[i-1]+1 && (line[i] != ' ' || line[i-1] != '~') {
			return "", fmt.Errorf("heard %q", heard)
		}
	}
	return fmt.Sprint(len(line), " characters in their order, ", ended), nil
}

// lookUp asks a talk daemon for an invitation that nobody has made.
func lookUp() (string, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(outside)})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	var message bytes.Buffer
	message.Write([]byte{1, 1, 0, 0}) // version 1, LOOK_UP
	here := conn.LocalAddr().(*net.UDPAddr)
	address := make([]byte, 16)
	binary.BigEndian.PutUint16(address, 2) // AF_INET
	binary.BigEndian.PutUint16(address[2:], uint16(here.Port))
	copy(address[4:], here.IP.To4())
	message.Write(make([]byte, 4)) // the number of the message
	message.Write(address)         // of the caller
	message.Write(address)         // for the answer
	message.Write(make([]byte, 4)) // a pid
	for _, name := range []string{visitor, "root"} {
		message.Write(append([]byte(name), make([]byte, 12-len(name))...))
	}
	message.Write(make([]byte, 16)) // any terminal
	if _, err := conn.WriteToUDP(message.Bytes(), &net.UDPAddr{IP: net.ParseIP(outside), Port: 518}); err != nil {
		return "", err
	}
	conn.SetDeadline(time.Now().Add(patience))
	heard := make([]byte, 1500)
	n, err := conn.Read(heard)
	if err == nil && n != 24 {
		err = fmt.Errorf("heard %x", heard[:n])
	}
	return fmt.Sprintf("%x", heard[:3]), err // the answer is a byte; what comes after it means nothing then
}
