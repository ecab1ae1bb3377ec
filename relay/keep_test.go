package relay

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// With Terms.Keep B's socket outlives an end in order, and no other.
func TestKeep(t *testing.T) {
	r := newRelay(t, Options{Loops: 1})
	inOrder := func(j joined) {
		j.client.Close()
		j.backend.Read(make([]byte, 1))
		j.backend.Close()
	}
	for name, tt := range map[string]struct {
		keep, kept bool
		end        func(joined)
	}{
		"in order":            {true, true, inOrder},
		"in order, unwanted":  {false, false, inOrder},
		"cut":                 {true, false, func(j joined) { j.session.Cut(false) }},
		"reset":               {true, false, func(j joined) { j.session.Cut(true) }},
		"the backend is gone": {true, false, func(j joined) { j.session.Gone(); j.backend.Close() }},
		"bulk": {true, false, func(j joined) {
			go j.client.Write(make([]byte, 8<<20))
			io.CopyN(io.Discard, j.backend, 8<<20)
			inOrder(j)
		}},
	} {
		a, client := pair(t, "tcp4")
		b, backend := pair(t, "tcp4")
		fd := takeFD(t, b)
		j := joined{client: client, backend: backend, result: make(chan Result, 2)}
		var err error
		if j.session, err = r.Join(takeFD(t, a), fd, Terms{Keep: tt.keep}, func(res Result) { j.result <- res }); err != nil {
			t.Fatal(err)
		}
		j.message(t)
		tt.end(j)
		res := j.wait(t)
		if want := map[bool]int{true: fd, false: -1}[tt.kept]; res.B != want {
			t.Errorf("%s: B is %d, want %d (%+v)", name, res.B, want, res)
		}
		if res.B < 0 {
			continue
		}
		if err := r.loops[0].Watch(0, 0, fd, interest); err != nil { // EEXIST: it was left there
			t.Errorf("%s: %v", name, err)
		}
		if err := unix.Close(res.B); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
