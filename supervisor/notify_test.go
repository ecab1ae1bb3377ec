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
	"time"

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

func TestMoreTimeToStartAndToStop(t *testing.T) {
	const limit = time.Second // for the backend to ask in
	st := open(t, Config{
		Command: play("catch", "notify=EXTEND_TIMEOUT_USEC=60000000", "slow=1200ms", "notify=READY=1",
			"await", "notify=EXTEND_TIMEOUT_USEC=60000000", "slow=1200ms", "exit=0"),
		Address: somewhere(), Ready: ReadyNotify, StartTimeout: limit, StopTimeout: limit, IdleStop: time.Nanosecond,
	})
	st.acquire().Release()
	exit := await(st, func(ExitEvent) bool { return true })
	if !exit.Wanted || exit.Status != "exit status 0" {
		t.Errorf("%+v", exit)
	}
	if got := st.order(); got != "Launch Ready Stop Exit" {
		t.Errorf("told %q", got)
	}
}

// A shutdown in a hurry grants no more time.
func TestNoMoreTimeInAHurry(t *testing.T) {
	in := []any{asked{}, launched{1}, isReady{1}, shutter{}, hurry{}, extend{1, time.Hour}}
	newMachine().follow(t, in, "[]", Stopping)
}

// One that says that it ends gets nobody any more, and no signal; that is no
// failure.
func TestBackendThatSaysItEnds(t *testing.T) {
	st := open(t, Config{Command: play("pid=awaits", "await", "notify=STOPPING=1", "barrier", "await", "exit=1"), Address: somewhere(), Ready: ReadyNone})
	st.acquire()
	pid := number(st.hears("awaits"))
	signalTo(t, pid, unix.SIGUSR1)
	st.hears("past the barrier")
	eventually(t, "it is taken for stopping", func() bool { return st.Status().State == Stopping })
	next := st.begin()
	signalTo(t, pid, unix.SIGUSR1)
	if lease, err := next.await(t); err != nil || lease.Generation() != 2 {
		t.Errorf("lease %+v, error %v", lease, err)
	}
	if exit := events[ExitEvent](st)[0]; !exit.Wanted || exit.Retry != 0 || exit.Status != "exit status 1" {
		t.Errorf("%+v", exit)
	}
	if got, want := st.order(), "Launch Ready Exit Launch Ready"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestBackendSaysWhyItFails(t *testing.T) {
	for _, excuse := range []string{"ERRNO=2", "BUSERROR=org.freedesktop.DBus.Error.TimedOut"} {
		st := open(t, Config{Command: play("notify="+excuse, "exit=1"), Address: somewhere()})
		st.begin()
		if exit := await(st, func(ExitEvent) bool { return true }); exit.Status != "exit status 1, "+excuse {
			t.Errorf("%+v", exit)
		}
		if fail := await(st, func(FailEvent) bool { return true }); !strings.Contains(fail.Err.Error(), excuse) {
			t.Errorf("%+v", fail)
		}
	}
}

func TestReloading(t *testing.T) {
	for _, tt := range []struct {
		name string
		says []string
		want string // what is told, a text a line
	}{
		{"in no words", []string{"RELOADING=1\nMONOTONIC_USEC=1", "READY=1"}, "reloading its configuration\n\n"},
		{"in its own words", []string{"RELOADING=1\nSTATUS=reads", "READY=1\nSTATUS=serves"}, "reads\nserves\n"},
		{"ready again", []string{"READY=1"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			steps := []string{"notify=READY=1"}
			for _, text := range tt.says {
				steps = append(steps, "notify="+text)
			}
			st := open(t, Config{Command: play(append(steps, "barrier", "stay")...), Address: somewhere(), Ready: ReadyNotify})
			st.acquire()
			st.hears("past the barrier")
			st.acquire() // answered after what came before it
			var told strings.Builder
			for _, e := range events[TextEvent](st) {
				fmt.Fprintln(&told, e.Text)
			}
			if s := st.Status(); told.String() != tt.want || s.State != Ready || s.Starts != 1 {
				t.Errorf("told %q, want %q; %+v", told.String(), tt.want, s)
			}
		})
	}
}

func TestOnlyTheMainProcessIsHeard(t *testing.T) {
	st := open(t, Config{Command: play("run=notify=READY=1", "barrier", "pid=awaits", "await", "notify=READY=1", "stay"),
		Address: somewhere(), Ready: ReadyNotify, NotifyMain: true})
	a := st.begin()
	pid := number(st.hears("awaits"))
	told := events[NotifyEvent](st)
	if s := st.Status(); s.State != Starting || len(told) != 1 || !strings.Contains(told[0].Err.Error(), "NotifyAccess=main") {
		t.Errorf("%+v, told %v", s, told)
	}
	signalTo(t, pid, unix.SIGUSR1)
	if _, err := a.await(t); err != nil {
		t.Fatal(err)
	}
}

func TestTimesThatAreNone(t *testing.T) {
	const bad = "EXTEND_TIMEOUT_USEC=soon\nWATCHDOG_USEC=0\nWATCHDOG=2"
	st := open(t, Config{Command: play("notify=READY=1\n"+bad, "barrier", "stay"), Address: somewhere(), Ready: ReadyNotify})
	st.acquire()
	st.hears("past the barrier")
	told := events[NotifyEvent](st)
	if len(told) != 1 || !strings.Contains(told[0].Err.Error(), `EXTEND_TIMEOUT_USEC="soon"`) || !strings.Contains(told[0].Err.Error(), `WATCHDOG_USEC="0"`) {
		t.Errorf("%v", told)
	}
}

func TestParseUsec(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration // 0: it is none
	}{
		{"1", time.Microsecond},
		{"60000000", time.Minute},
		{"9223372036854775", 9223372036854775 * time.Microsecond},
		{"9223372036854776", 0},
		{"18446744073709551615", 0}, {"0", 0}, {"-1", 0}, {"1.5", 0}, {"infinity", 0}, {"", 0},
	} {
		if got, err := parseUsec(tt.text); got != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("%q: %v, %v", tt.text, got, err)
		}
	}
}
