package unitstate

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bus "github.com/godbus/dbus/v5"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)

func TestJudge(t *testing.T) {
	listening := unit{"t.socket", "loaded", "active", "listening", noon, ""}
	resting := unit{"t.service", "loaded", "inactive", "dead", time.Time{}, ""}
	for _, c := range []struct {
		name            string
		socket, service unit
		want            string // in the error; "": it sleeps
	}{
		{"sleeps", listening, resting, ""},
		{"sleeps, and systemd has not noticed yet", unit{"t.socket", "loaded", "active", "running", noon, ""}, resting, ""},
		{"failed", listening, unit{"t.service", "loaded", "failed", "failed", noon, ""}, "t.service has failed: see journalctl -u t.service"},
		{"fails again and again", listening, unit{"t.service", "loaded", "activating", "auto-restart", noon, ""}, "t.service fails, and systemd tries again: see journalctl"},
		{"starts", listening, unit{"t.service", "loaded", "activating", "start", noon, ""}, "t.service is activating (start): ask again"},
		{"runs", listening, unit{"t.service", "loaded", "active", "running", noon, ""}, "t.service is active (running): ask again"},
		{"not installed", unit{"t.socket", "not-found", "inactive", "dead", noon, ""}, resting, "t.socket is not installed"},
		{"masked", unit{"t.socket", "masked", "inactive", "dead", noon, ""}, resting, "systemctl unmask t.socket"},
		{"wrong unit file", unit{"t.socket", "bad-setting", "inactive", "dead", noon, ""}, resting, "cannot be loaded (bad-setting)"},
		{"failed socket", unit{"t.socket", "loaded", "failed", "failed", noon, ""}, resting, "t.socket has failed: see systemctl status t.socket"},
		{"not enabled", unit{"t.socket", "loaded", "inactive", "dead", noon, ""}, resting, "systemctl enable --now t.socket"},
		{"of a generator", unit{"t.socket", "loaded", "inactive", "dead", noon, "generated"}, resting, "t.socket does not listen; run: systemctl start t.socket"},
	} {
		since, err := judge(c.socket, c.service)
		switch {
		case c.want == "" && (err != nil || since != noon):
			t.Errorf("%s: since %v, %v; want since %v", c.name, since, err, noon)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrUnknown)):
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// units are what a fakeBus knows, by the names that their object paths end with.
type units map[string]map[string]bus.Variant

func properties(load, state, sub string, since uint64) map[string]bus.Variant {
	return map[string]bus.Variant{
		"LoadState": bus.MakeVariant(load), "ActiveState": bus.MakeVariant(state),
		"SubState": bus.MakeVariant(sub), "StateChangeTimestamp": bus.MakeVariant(since),
	}
}

func TestAsleep(t *testing.T) {
	fakeBus(t, units{
		"tiproxy_40shop_2esocket":  properties("loaded", "active", "listening", uint64(noon.UnixMicro())),
		"tiproxy_40shop_2eservice": properties("loaded", "inactive", "dead", 0),
		"tiproxy_2esocket":         properties("not-found", "inactive", "dead", 0),
		"tiproxy_2eservice":        properties("not-found", "inactive", "dead", 0),
		"new_2esocket":             properties("loaded", "active", "listening", 0),
		"new_2eservice":            properties("loaded", "inactive", "dead", 0),
	})
	if since, err := Asleep(t.Context(), "tiproxy@shop"); err != nil || !since.Equal(noon) {
		t.Errorf("since %v, %v; want since %v", since, err, noon)
	}
	if since, err := Asleep(t.Context(), "new"); err != nil || !since.IsZero() {
		t.Errorf("since %v, %v; want an unknown time", since, err)
	}
	if _, err := Asleep(t.Context(), "tiproxy"); err == nil || err.Error() != "tiproxy.socket is not installed" {
		t.Errorf("not installed: %v", err)
	}
	if _, err := Asleep(t.Context(), "other"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("systemd refuses: %v", err)
	}
}

func TestNobodyToAsk(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "bus"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // should root's own way to systemd be there
	if _, err := Asleep(ctx, "tiproxy"); !errors.Is(err, ErrUnknown) {
		t.Errorf("error %v", err)
	}
}

// A bus that takes connections and says nothing does not keep a person waiting.
func TestSilentBus(t *testing.T) {
	l := busAt(t)
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Asleep(ctx, "tiproxy"); !errors.Is(err, ErrUnknown) {
		t.Errorf("error %v", err)
	}
}

// busAt listens where the system's bus is looked for.
func busAt(t *testing.T) net.Listener {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "bus")
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+path)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// fakeBus is a bus on which a systemd answers what it knows.
func fakeBus(t *testing.T, known units) {
	t.Helper()
	l := busAt(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go known.serve(conn)
		}
	}()
}

// serve lets a client in, as the D-Bus Specification has it ("Authentication
// Protocol"), and answers its calls until it leaves.
func (known units) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for begun := false; !begun; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch words := strings.Fields(strings.TrimLeft(line, "\x00")); {
		case words[0] == "BEGIN":
			begun = true
		case words[0] == "NEGOTIATE_UNIX_FD":
			io.WriteString(conn, "ERROR\r\n")
		case len(words) == 1:
			io.WriteString(conn, "REJECTED EXTERNAL\r\n")
		default:
			io.WriteString(conn, "OK 0123456789abcdef0123456789abcdef\r\n")
		}
	}
	for {
		call, err := bus.DecodeMessage(in)
		if err != nil {
			return
		}
		answer := known.answer(call)
		answer.Headers[bus.FieldReplySerial] = bus.MakeVariant(call.Serial())
		answer.Headers[bus.FieldSender] = bus.MakeVariant("org.freedesktop.systemd1")
		if err := answer.EncodeTo(conn, binary.LittleEndian); err != nil {
			return
		}
	}
}

// answer is for Hello, AddMatch, ListUnitsByPatterns or GetAll.
func (known units) answer(call *bus.Message) *bus.Message {
	reply := &bus.Message{Type: bus.TypeMethodReply, Headers: map[bus.HeaderField]bus.Variant{}}
	path, _ := call.Headers[bus.FieldPath].Value().(bus.ObjectPath)
	switch call.Headers[bus.FieldMember].Value() {
	case "Hello":
		reply.Body = []any{":1.1"}
	case "ListUnitsByPatterns":
		reply.Body = []any{known.active()}
	case "GetAll":
		all, is := known[filepath.Base(string(path))]
		if !is {
			reply.Type = bus.TypeError
			reply.Headers[bus.FieldErrorName] = bus.MakeVariant("org.freedesktop.DBus.Error.Failed")
			reply.Body = []any{"no such thing"}
			break
		}
		reply.Body = []any{all}
	}
	if len(reply.Body) > 0 {
		reply.Headers[bus.FieldSignature] = bus.MakeVariant(bus.SignatureOf(reply.Body...))
	}
	return reply
}
