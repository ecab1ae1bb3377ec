package epoll

import (
	"testing"

	"golang.org/x/sys/unix"
)

func newPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := New(8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestEventsCarryTheirID(t *testing.T) {
	p := newPoller(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	const id = 1<<63 | 0xfedcba98<<32>>1 | 7
	if err := p.Add(fds[0], id, In|RdHup|Edge); err != nil {
		t.Fatal(err)
	}
	unix.Close(fds[1])
	events, woken, err := p.Wait(nil, -1)
	if err != nil || woken || len(events) != 1 || events[0].ID != id || events[0].Events&RdHup == 0 {
		t.Errorf("%+v, woken %v, %v", events, woken, err)
	}
	// Edge-triggered: told once, and once more when it is watched anew.
	if events, _, _ := p.Wait(nil, 0); len(events) != 0 {
		t.Errorf("told again: %+v", events)
	}
	if err := p.Delete(fds[0]); err != nil {
		t.Fatal(err)
	}
	if err := p.Add(fds[0], id, In|Edge); err != nil {
		t.Fatal(err)
	}
	if events, _, _ := p.Wait(nil, 0); len(events) != 1 {
		t.Errorf("watched anew: %+v", events)
	}
	if err := p.Delete(fds[0]); err != nil {
		t.Error(err)
	}
	if err := p.Delete(fds[0]); err == nil {
		t.Error("Delete of an fd that is not watched succeeded")
	}
}

func TestWake(t *testing.T) {
	p := newPoller(t)
	for range 3 { // edge-triggered, though nobody reads the counter
		p.Wake()
		if events, woken, err := p.Wait(nil, -1); !woken || len(events) != 0 || err != nil {
			t.Errorf("%+v, woken %v, %v", events, woken, err)
		}
	}
	if _, woken, _ := p.Wait(nil, 0); woken {
		t.Error("woken by nobody")
	}
	// The counter is full: Wake starts it again rather than fail.
	full := [8]byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	old := make([]byte, 8)
	_, _ = unix.Read(p.wake, old)
	if _, err := unix.Write(p.wake, full[:]); err != nil {
		t.Fatal(err)
	}
	_, _, _ = p.Wait(nil, 0)
	p.Wake()
	if _, woken, _ := p.Wait(nil, 0); !woken {
		t.Error("not woken when the counter was full")
	}
}

// Timers may fire late. By then the number of the eventfd can be another's.
func TestWakeAfterClose(t *testing.T) {
	p, err := New(8)
	if err != nil {
		t.Fatal(err)
	}
	was := p.wake
	other, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	p.Close()
	same, err := unix.FcntlInt(uintptr(other), unix.F_DUPFD_CLOEXEC, was)
	if err != nil || same != was {
		t.Fatalf("fd %d, %v; want %d", same, err, was)
	}
	defer unix.Close(same)
	p.Wake()
	if _, err := unix.Read(other, make([]byte, 8)); err != unix.EAGAIN {
		t.Errorf("it wrote into somebody else's fd: %v", err)
	}
}

// Look answers what Wait would, and nothing if nothing has happened; a Poller that
// is broken tells nothing either.
func TestLook(t *testing.T) {
	p, err := New(8)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	a, there := pair(t)
	if err := p.Add(a, 7, In|Edge); err != nil {
		t.Fatal(err)
	}
	p.Wake()
	if got := p.Look(nil); len(got) != 0 {
		t.Errorf("nothing has happened: %+v", got)
	}
	if _, err := unix.Write(there, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := p.Look(nil); len(got) != 1 || got[0].ID != 7 || got[0].Events&In == 0 {
		t.Errorf("%+v", got)
	}
	if got := p.Look(nil); len(got) != 0 {
		t.Errorf("told twice: %+v", got)
	}
	// A socket that is watched for more is told at once what it is already.
	if err := p.Modify(a, 9, In|Out|Edge); err != nil {
		t.Fatal(err)
	}
	if got := p.Look(nil); len(got) != 1 || got[0].ID != 9 || got[0].Events&(In|Out) != In|Out {
		t.Errorf("%+v", got)
	}
	broken := &Poller{fd: -1, events: make([]unix.EpollEvent, 1)}
	if got := broken.Look(nil); len(got) != 0 {
		t.Errorf("%+v of a broken one", got)
	}
}
