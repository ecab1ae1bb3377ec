package supervisor

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReadyOnceItListens(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("pid=awaits", "await", "listen="+at.String(), "count", "stay"), Address: at})
	a := st.begin()
	pid := number(st.hears("awaits"))
	if s := st.Status(); s.State != Starting || s.PID != pid {
		t.Errorf("%+v", s)
	}
	signalTo(t, pid, unix.SIGUSR1)
	if _, err := a.await(t); err != nil {
		t.Fatal(err)
	}
	signalTo(t, pid, unix.SIGUSR1)
	if n := st.hears("clients:"); n != "0" {
		t.Errorf("readiness cost the backend %s connections", n)
	}
}

func TestReadyOnceItCanBeConnectedTo(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("pid=awaits", "await", "listen="+at.String(), "count", "stay"), Address: at, Ready: ReadyConnect})
	a := st.begin()
	pid := number(st.hears("awaits"))
	signalTo(t, pid, unix.SIGUSR1)
	if _, err := a.await(t); err != nil {
		t.Fatal(err)
	}
	signalTo(t, pid, unix.SIGUSR1)
	if n := st.hears("clients:"); n != "1" {
		t.Errorf("%s connections, want 1", n)
	}
}

func TestReadyAtOnce(t *testing.T) {
	st := open(t, Config{Command: play("stay"), Address: somewhere(), Ready: ReadyNone})
	st.acquire()
}

func TestReadyWhenAGrandchildListens(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("daemon=listen="+at.String()+" stay", "stay"), Address: at})
	st.acquire()
}

func TestFreePort(t *testing.T) {
	t.Setenv("PORT", "1") // ours is not the backend's
	for _, command := range [][]string{play("port", "stay"), play("listen=127.0.0.1:{port}", "stay")} {
		st := open(t, Config{Command: command, Auto: true})
		lease := st.acquire()
		if at := st.hears("listens at"); len(lease.Addresses()) != 1 || lease.Addresses()[0].String() != at {
			t.Errorf("the lease says %v, the backend listens at %s", lease.Addresses(), at)
		}
	}
}

func TestHostName(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	st := open(t, Config{Command: play("listen=127.0.0.1:"+port, "stay"), Address: name("localhost:" + port)})
	if lease := st.acquire(); !strings.Contains(fmt.Sprint(lease.Addresses()), "127.0.0.1:"+port) {
		t.Errorf("%v", lease.Addresses())
	}
}

func TestStrangerBeforeTheStart(t *testing.T) {
	stranger := outside(t, play("listen=127.0.0.1:0", "stay")...)
	at := strings.TrimPrefix(stranger.line(t), "listens at ")
	for _, ready := range []Readiness{ReadyListen, ReadyNotify, ReadyConnect} {
		st := open(t, Config{Command: play("stay"), Address: name(at), Ready: ready})
		st.begin()
		fail := await(st, func(FailEvent) bool { return true })
		if text := fail.Err.Error(); !strings.Contains(text, at) || !strings.Contains(text, "pid "+strconv.Itoa(stranger.Pid)) {
			t.Errorf("Ready=%s: %q", ready, text)
		}
		if n := len(events[LaunchEvent](st)); n != 0 {
			t.Errorf("Ready=%s: started beside a stranger", ready)
		}
	}
}

func TestStrangerGoes(t *testing.T) {
	at := somewhere()
	stranger := outside(t, play("listen="+at.String(), "stay")...)
	stranger.line(t)
	st := open(t, Config{Command: play("listen="+at.String(), "stay"), Address: at})
	a := st.begin()
	await(st, func(FailEvent) bool { return true })
	stranger.end()
	if _, err := a.await(t); err != nil {
		t.Fatal(err)
	}
}

func TestStrangerWhileItStarts(t *testing.T) {
	for _, ready := range []Readiness{ReadyListen, ReadyConnect} {
		t.Run(string(ready), func(t *testing.T) {
			at := somewhere()
			st := open(t, Config{Command: play("pid=awaits", "await", "listen="+at.String(), "stay"), Address: at, Ready: ready})
			a := st.begin()
			pid := number(st.hears("awaits"))
			stranger := outside(t, play("listen="+at.String(), "stay")...)
			stranger.line(t)
			told := await(st, func(StrangerEvent) bool { return true })
			if !strings.Contains(told.Err.Error(), "pid "+strconv.Itoa(stranger.Pid)) {
				t.Errorf("%v", told.Err)
			}
			stranger.end()
			signalTo(t, pid, unix.SIGUSR1)
			if _, err := a.await(t); err != nil {
				t.Fatal(err)
			}
			if n := len(events[StrangerEvent](st)); n != 1 {
				t.Errorf("reported %d times", n)
			}
		})
	}
}

func TestProbePause(t *testing.T) {
	for _, tt := range []struct{ waited, want time.Duration }{
		{0, 250 * time.Microsecond},
		{8 * time.Millisecond, 500 * time.Microsecond},
		{50 * time.Millisecond, time.Millisecond},
		{10 * time.Second, 100 * time.Millisecond},
		{time.Hour, time.Second},
	} {
		if got := probePause(tt.waited, time.Second); got != tt.want {
			t.Errorf("after %v: %v, want %v", tt.waited, got, tt.want)
		}
	}
}
