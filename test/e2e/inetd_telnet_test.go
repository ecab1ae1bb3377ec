//go:build e2e && deb

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
)

var terminal = regexp.MustCompile(`pts/[0-9]+`)

// logIn is a client of telnet's, RFC 854, that leaves the echo to the server.
func logIn() (string, error) {
	conn, err := reach("127.0.0.1:23")
	if err != nil {
		return "", err
	}
	defer conn.Close()
	all := &strings.Builder{}
	for _, step := range []struct{ until, say string }{
		{"login: ", visitor},
		{"Password: ", password},
		{"$ ", "echo $((6 * 7)) on $(tty | tr -d 0-9)"},
		{"pts/\r\n$ ", "exit"},
	} {
		if err := hearTelnet(conn, all, step.until); err != nil {
			return all.String(), err
		}
		io.WriteString(conn, step.say+"\r\n")
	}
	// With the shell gone telnetd ends, whether or not it has passed on all.
	if err := hearTelnet(conn, &strings.Builder{}, ""); !errors.Is(err, io.EOF) {
		return all.String(), err
	}
	return terminal.ReplaceAllString(all.String(), "pts/N"), nil
}

// hearTelnet adds to a text what it hears, until that ends with some text that was not there before. The server
// may echo and leave out go-ahead, RFC 857 and 858; each other option is declined.
func hearTelnet(conn net.Conn, all *strings.Builder, until string) error {
	const iac, dont, do, wont, will, sb, se, echo, noGoAhead = 255, 254, 253, 252, 251, 250, 240, 1, 3
	from := all.Len()
	next := func() (byte, error) {
		var b [1]byte
		_, err := io.ReadFull(conn, b[:])
		return b[0], err
	}
	for until == "" || !strings.HasSuffix(all.String()[from:], until) {
		b, err := next()
		if err != nil {
			return fmt.Errorf("waiting for %q after %q: %w", until, all, err)
		}
		if b != iac {
			if b < 0x80 { // else a data mark, which inetutils' telnetd sends at moments of its own
				all.WriteByte(b)
			}
			continue
		}
		command, err := next()
		if err != nil {
			return err
		}
		switch command {
		case do, will, dont, wont:
			option, err := next()
			if err != nil {
				return err
			}
			switch {
			case command == will && (option == echo || option == noGoAhead):
				conn.Write([]byte{iac, do, option})
			case command == will:
				conn.Write([]byte{iac, dont, option})
			case command == do:
				conn.Write([]byte{iac, wont, option})
			}
		case sb:
			for last := byte(0); ; {
				b, err := next()
				if err != nil {
					return err
				}
				if last == iac && b == se {
					break
				}
				last = b
			}
		}
	}
	return nil
}
