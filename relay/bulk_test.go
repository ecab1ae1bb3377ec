package relay

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

// A flood is spliced, and a pipe is held only while it is not empty.
func TestBulkFlowBorrowsAPipe(t *testing.T) {
	r := newRelay(t, Options{Loops: 1})
	j := join(t, r, "tcp4", "tcp4")
	go func() {
		j.client.Write(make([]byte, 64<<20))
		j.client.CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, j.backend); err != nil || n != 64<<20 {
		t.Fatalf("got %d bytes, %v", n, err)
	}
	var got [2]int
	on(r.loops[0], func() { got = [2]int{len(r.loops[0].pipes.idle), r.loops[0].pipes.lent} })
	if got != [2]int{1, 0} {
		t.Errorf("pipes idle and lent: %v, want one that was lent and came back", got)
	}
}

// Some full reads are bulk, whatever comes between them; a message is not, nor are
// messages that are long now and then.
func TestWhatIsBulk(t *testing.T) {
	for reads, want := range map[string]bool{
		"FF": true, "FSFSF": true, "FSFF": true, "SSSFF": true,
		"": false, "F": false, "FS": false, "SSSSSSSS": false, "FSSFSSFSSFSS": false, "FSFS": false,
	} {
		var d direction
		for _, read := range reads {
			d.count(read == 'F')
		}
		if got := d.full >= bulkAfter; got != want {
			t.Errorf("%s is bulk: %v", reads, got)
		}
	}
}

// Bulk flows have all loops, so that they have all CPUs; what is not bulk stays.
func TestBulkFlowsAreDealtOutToAllLoops(t *testing.T) {
	r := newRelay(t, Options{Loops: 2})
	var all []joined
	for range 4 {
		j := join(t, r, "tcp4", "tcp4")
		j.message(t)
		all = append(all, j)
	}
	if n := onLoop(r.loops[0]); n != 4 {
		t.Errorf("%d of 4 sessions with messages are on the first loop", n)
	}
	for i, j := range all {
		const size = 8 << 20
		sent := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(i)}).Read(sent)
		go j.client.Write(sent)
		got := make([]byte, size)
		if _, err := io.ReadFull(j.backend, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("session %d: not what was sent, %v", i, err)
		}
		j.message(t)
	}
	if a, b := onLoop(r.loops[0]), onLoop(r.loops[1]); a != 2 || b != 2 {
		t.Errorf("%d and %d bulk flows on two loops, want 2 each", a, b)
	}
	for _, j := range all { // what comes from outside finds them
		j.session.Cut(false)
		if res := j.wait(t); res.Err != ErrCut {
			t.Errorf("%+v", res)
		}
	}
}
