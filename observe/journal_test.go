package observe

import (
	"bytes"
	"encoding/binary"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/sirupsen/logrus"
)

// journalSocket is where go-systemd looks for the journal. It has no setting
// for that, so the tests reach for its variable.
//
//go:linkname journalSocket github.com/coreos/go-systemd/v22/journal.journalSocket
var journalSocket string

// fakeJournal stands in for journald while a test runs.
func fakeJournal(t *testing.T) *net.UnixConn {
	t.Helper()
	before := journalSocket
	t.Cleanup(func() { journalSocket = before })
	journalSocket = filepath.Join(t.TempDir(), "journal")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: journalSocket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket
}

// received reads one entry in the native protocol of the journal, as it is
// described at systemd.io/JOURNAL_NATIVE_PROTOCOL: from the datagram, or, if
// that is empty, from the file that came with it.
func received(t *testing.T, socket *net.UnixConn) map[string]string {
	t.Helper()
	data, control := make([]byte, 1<<20), make([]byte, syscall.CmsgSpace(4))
	n, controlSize, _, _, err := socket.ReadMsgUnix(data, control)
	if err != nil {
		t.Fatal(err)
	}
	data = data[:n]
	if controlSize > 0 {
		messages, _ := syscall.ParseSocketControlMessage(control[:controlSize])
		fds, err := syscall.ParseUnixRights(&messages[0])
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fds[0]), "entry")
		defer file.Close()
		size, _ := file.Seek(0, 2)
		data = make([]byte, size)
		if _, err := file.ReadAt(data, 0); err != nil {
			t.Fatal(err)
		}
	}
	entry := map[string]string{}
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		name, value, short := strings.Cut(string(line), "=")
		if !short {
			size := binary.LittleEndian.Uint64(rest)
			value, rest = string(rest[8:8+size]), rest[8+size+1:]
		}
		entry[name] = value
		data = rest
	}
	return entry
}

// native makes a log that goes to the journal, and what it falls back to.
func native(o Options) (log *logrus.Logger, stderr *bytes.Buffer) {
	stderr = &bytes.Buffer{}
	o.Out, o.IsJournal = stderr, true
	return NewLog(o), stderr
}

func TestJournalEntry(t *testing.T) {
	journald := fakeJournal(t)
	log, stderr := native(Options{Instance: "shop"})
	f := fields{keyEvent: &sessionEnds, keyClient: "/tmp/a b", keySession: uint64(5), keyWait: 1500 * time.Microsecond,
		keyServed: 2 * time.Second, keyBytesIn: uint64(78), keyBytesOut: uint64(204), keyOutcome: "served", keyReason: "x\ny"}
	log.WithFields(f).Warn("served, and\nended")
	want := map[string]string{
		"MESSAGE":             `served, and�ended client="/tmp/a b" session=5 waited=1.5ms served=2s in=78 out=204`,
		"PRIORITY":            "4",
		"SYSLOG_IDENTIFIER":   "tiproxy",
		"MESSAGE_ID":          "83ffbc4a8e624c169a5b204f61ce869d",
		"TIPROXY_EVENT":       "session-end",
		"TIPROXY_CLIENT":      "/tmp/a b",
		"TIPROXY_SESSION":     "5",
		"TIPROXY_OUTCOME":     "served",
		"TIPROXY_REASON":      "x�y",
		"TIPROXY_WAIT_USEC":   "1500",
		"TIPROXY_SERVED_USEC": "2000000",
		"TIPROXY_BYTES_IN":    "78",
		"TIPROXY_BYTES_OUT":   "204",
		"TIPROXY_INSTANCE":    "shop",
	}
	if got := received(t, journald); !maps.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if stderr.Len() > 0 {
		t.Errorf("stderr got %q, too", stderr)
	}
}

// Where the fields can be looked up, the sentence about a backend goes without.
func TestJournalMessageOfTheBackend(t *testing.T) {
	journald := fakeJournal(t)
	log, _ := native(Options{})
	log.WithFields(fields{keyEvent: &backendReady, keyGeneration: uint64(2), keyPID: 7}).Info("ready")
	got := received(t, journald)
	if got["MESSAGE"] != "ready" || got["TIPROXY_GENERATION"] != "2" || got["TIPROXY_BACKEND_PID"] != "7" {
		t.Errorf("got %q", got)
	}
	log.Info("plain")
	if got := received(t, journald); len(got) != 3 || got["MESSAGE"] != "plain" || got["SYSLOG_IDENTIFIER"] != "tiproxy" {
		t.Errorf("an entry without an event has %q", got)
	}
}

// More than a datagram takes goes in a file.
func TestLargeJournalEntry(t *testing.T) {
	journald := fakeJournal(t)
	log, stderr := native(Options{})
	large := strings.Repeat("x", 1<<20)
	log.Info(large)
	if got := received(t, journald)["MESSAGE"]; got != large || stderr.Len() > 0 {
		t.Errorf("the journal got %d bytes, and stderr %d", len(got), stderr.Len())
	}
}

// What the journal does not take is not lost, and the journal is tried again.
func TestJournalIsGone(t *testing.T) {
	journald := fakeJournal(t)
	log, stderr := native(Options{})
	if err := os.Rename(journalSocket, journalSocket+".away"); err != nil {
		t.Fatal(err)
	}
	log.WithField(keyPID, 7).Warn("first")
	if got, want := stderr.String(), "<4>first pid=7\n"; got != want {
		t.Errorf("stderr got %q, want %q", got, want)
	}
	if err := os.Rename(journalSocket+".away", journalSocket); err != nil {
		t.Fatal(err)
	}
	log.Warn("second")
	if got := received(t, journald)["MESSAGE"]; got != "second" {
		t.Errorf("the journal got %q", got)
	}
}

func TestWhereEntriesGo(t *testing.T) {
	for _, tt := range []struct {
		name              string
		format            Format
		isJournal, exists bool
		native            bool
	}{
		{"a service", FormatAuto, true, true, true},
		{"a service, nothing said", "", true, true, true},
		{"a sandbox without the journal's socket", FormatAuto, true, false, false},
		{"by hand", FormatAuto, false, true, false},
		{"by hand, into the journal", FormatJournal, false, true, true},
		{"a service that wants text", FormatText, true, true, false},
		{"a service that wants JSON", FormatJSON, true, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fakeJournal(t)
			if !tt.exists {
				journalSocket += ".none"
			}
			var stderr bytes.Buffer
			NewLog(Options{Out: &stderr, IsJournal: tt.isJournal, Format: tt.format}).Info("x")
			if got := stderr.Len() == 0; got != tt.native {
				t.Errorf("stderr got %q", stderr.String())
			}
		})
	}
}

// The names by which programs know the events are unique, and made as the
// journal wants them.
func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Kinds() {
		if seen[k.Event] || seen[k.MessageID] {
			t.Errorf("%s or its message ID is there twice", k.Event)
		}
		seen[k.Event], seen[k.MessageID] = true, true
		if len(k.MessageID) != 32 || strings.Trim(k.MessageID, "0123456789abcdef") != "" {
			t.Errorf("%s: %q is not a message ID", k.Event, k.MessageID)
		}
		for _, key := range k.Fields {
			if !slices.ContainsFunc(Fields(), func(f Field) bool { return f.Key == key }) {
				t.Errorf("%s may carry %s, which is no field", k.Event, key)
			}
		}
	}
}
