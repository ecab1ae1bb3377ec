package supervisor

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadyOnceItSaysSo(t *testing.T) {
	st := open(t, Config{Command: play("pid=awaits", "notify=STATUS=loads", "await", "notify=READY=1\nSTATUS=serves\n", "stay"),
		Address: somewhere(), Ready: ReadyNotify})
	a := st.begin()
	await(st, func(e TextEvent) bool { return e.Text == "loads" })
	if s := st.Status(); s.State != Starting || s.Text != "loads" {
		t.Errorf("%+v", s)
	}
	signalTo(t, number(st.hears("awaits")), unix.SIGUSR1)
	if _, err := a.await(t); err != nil {
		t.Fatal(err)
	}
	if s := st.Status(); s.Text != "serves" {
		t.Errorf("%+v", s)
	}
}

func TestGrandchildSaysReady(t *testing.T) {
	for _, who := range []string{"run=", "daemon="} {
		st := open(t, Config{Command: play(who+"notify=READY=1", "stay"), Address: somewhere(), Ready: ReadyNotify})
		st.acquire()
	}
}

// A message is heard though its sender, as short-lived as systemd-notify, has
// ended before we read it.
func TestGrandchildSaysReadyAndIsGone(t *testing.T) {
	gone := make(chan struct{})
	st := open(t, Config{
		Command: play("bulk=5000", "run=notify=READY=1", "listen=@tiproxy/test/gone", "stay"),
		Address: somewhere(), Ready: ReadyNotify,
		Events: func(e Event) {
			if _, is := e.(NotifyEvent); is {
				<-gone // the next message is not read until then
			}
		},
	})
	a := st.begin()
	eventually(t, "the sender has ended", func() bool {
		conn, err := net.Dial("unix", "@tiproxy/test/gone")
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	close(gone)
	if _, err := a.await(t); err != nil {
		t.Fatal(err)
	}
}

func TestStrangerSaysReady(t *testing.T) {
	st := open(t, Config{Command: play("pid=awaits", "await", "notify=READY=1", "stay"), Address: somewhere(), Ready: ReadyNotify})
	a := st.begin()
	pid := number(st.hears("awaits"))
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(environ, []byte("NOTIFY_SOCKET="))
	socket, _, _ := bytes.Cut(rest, []byte{0})
	conn, err := net.Dial("unixgram", string(socket))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("READY=1")); err != nil {
		t.Fatal(err)
	}
	told := await(st, func(NotifyEvent) bool { return true })
	if text := told.Err.Error(); !strings.Contains(text, fmt.Sprintf("process %d ", os.Getpid())) {
		t.Errorf("%q", text)
	}
	if s := st.Status(); s.State != Starting {
		t.Errorf("%s after a stranger's READY=1", s.State)
	}
	signalTo(t, pid, unix.SIGUSR1)
	if _, err := a.await(t); err != nil {
		t.Fatal(err)
	}
}

func TestBadMessagesAreSurvived(t *testing.T) {
	st := open(t, Config{Command: play("bulk=65536", "notify=\xff\x01\n=\nREADY", "barrier", "notify=READY=1", "stay"),
		Address: somewhere(), Ready: ReadyNotify})
	st.acquire()
	st.hears("past the barrier")
	told := events[NotifyEvent](st)
	if len(told) != 1 || !strings.Contains(told[0].Err.Error(), "more than 4096 bytes") {
		t.Errorf("%v", told)
	}
}

func TestParseNotify(t *testing.T) {
	for _, tt := range []struct {
		text string
		want map[string]string
	}{
		{"", map[string]string{}},
		{"READY=1", map[string]string{"READY": "1"}},
		{"READY=1\nSTATUS=a=b\n", map[string]string{"READY": "1", "STATUS": "a=b"}},
		{"STATUS=a\nSTATUS=b", map[string]string{"STATUS": "b"}},
		{"READY\n=1\n\nSTATUS=", map[string]string{"STATUS": ""}},
	} {
		if got := parseNotify(tt.text); !maps.Equal(got, tt.want) {
			t.Errorf("%q: %v, want %v", tt.text, got, tt.want)
		}
	}
}

func TestSenderOf(t *testing.T) {
	control := slices.Concat(unix.UnixCredentials(&unix.Ucred{Pid: 7, Uid: 8, Gid: 9}), unix.UnixRights(3, 4))
	sender, fds := senderOf(control)
	if sender.Pid != 7 || sender.Uid != 8 || !slices.Equal(fds, []int{3, 4}) {
		t.Errorf("%+v, %v", sender, fds)
	}
}

func FuzzNotify(f *testing.F) {
	f.Add("READY=1\nSTATUS=fine\n", unix.UnixCredentials(&unix.Ucred{Pid: 7}))
	f.Add("=\n==\nBARRIER=1", unix.UnixRights(3, 4))
	f.Add("\xff\x00=\n", []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, text string, control []byte) {
		for name, value := range parseNotify(text) {
			if name == "" || strings.ContainsAny(name, "=\n") || strings.Contains(value, "\n") || !strings.Contains(text, name+"="+value) {
				t.Errorf("%q=%q out of %q", name, value, text)
			}
		}
		if _, fds := senderOf(control); len(fds)*4 > len(control) {
			t.Errorf("%d fds in %d bytes", len(fds), len(control))
		}
	})
}
