package wire_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/bench/wire"
)

// flow is a flow of one block as it goes over the wire.
func flow(t testing.TB, number uint32) []byte {
	t.Helper()
	var b bytes.Buffer
	r, w := io.Pipe()
	go func() {
		_, err := wire.Send(w, number, time.Now().Add(time.Hour))
		w.CloseWithError(err)
	}()
	if _, err := io.CopyN(&b, r, 8+4<<20); err != nil { // a length and its block
		t.Fatal(err)
	}
	r.Close()
	return append(b.Bytes(), make([]byte, 8)...)
}

func TestWhatWasSentIsReceived(t *testing.T) {
	var b bytes.Buffer
	sent, err := wire.Send(&b, 3, time.Now().Add(5*time.Millisecond))
	if err != nil || sent == 0 {
		t.Fatalf("sent %d bytes, %v", sent, err)
	}
	got, err := wire.Receive(&b, 3)
	if got != sent || err != nil || b.Len() > 0 {
		t.Errorf("received %d bytes of %d, %v; %d bytes are left", got, sent, err, b.Len())
	}
}

func TestWhatIsWrongIsSeen(t *testing.T) {
	whole := flow(t, 5)
	cut := func(from, to int) []byte { return append(bytes.Clone(whole[:from]), whole[to:]...) }
	for name, tt := range map[string]struct {
		stream []byte
		want   error
	}{
		"the flow of another":   {flow(t, 6), wire.ErrWrong},
		"a page was lost":       {cut(8192, 12288), wire.ErrWrong},
		"a pipe was lost":       {cut(65536, 131072), wire.ErrWrong},
		"a byte was lost":       {cut(100, 101), wire.ErrWrong},
		"a page came twice":     {append(bytes.Clone(whole[:8192]), whole[4096:]...), wire.ErrWrong},
		"a length is too long":  {append([]byte{1, 2, 3, 4, 5, 6, 7, 8}, whole[8:]...), wire.ErrWrong},
		"a length is too short": {slices.Concat([]byte{0, 16, 0, 0, 0, 0, 0, 0}, whole[8:8+16*256], make([]byte, 8)), wire.ErrWrong},
		"the end is missing":    {whole[:len(whole)-8], io.EOF},
		"broken off":            {whole[:1<<20], io.EOF},
		"nothing":               {nil, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := wire.Receive(bytes.NewReader(tt.stream), 5); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestMessagesDiffer(t *testing.T) {
	seen := make(map[[wire.MessageSize]byte]bool)
	for connection := range uint64(50) {
		for sequence := range uint64(50) {
			var m [wire.MessageSize]byte
			wire.FillMessage(&m, connection, sequence)
			if seen[m] {
				t.Fatalf("message %d of connection %d was there before", sequence, connection)
			}
			seen[m] = true
		}
	}
}

// One changed byte anywhere must be seen, whatever it is.
func FuzzReceive(f *testing.F) {
	whole := flow(f, 0)
	f.Add(0, byte(1))
	f.Add(7, byte(128))
	f.Add(8, byte(255))
	f.Add(4<<20+7, byte(2))
	f.Add(4<<20+8, byte(4))
	f.Fuzz(func(t *testing.T, at int, change byte) {
		if at < 0 || at >= len(whole) || change == 0 {
			return
		}
		stream := bytes.Clone(whole)
		stream[at] ^= change
		if got, err := wire.Receive(bytes.NewReader(stream), 0); err == nil {
			t.Errorf("%d bytes were taken for right", got)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(wire.Header{Kind: wire.Up, Flow: 7, Time: time.Second}.Append(nil))
	f.Add([]byte{wire.Down, 1})
	f.Add([]byte{wire.Late})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		h, err := wire.ReadHeader(bytes.NewReader(b[1:]), b[0])
		if err == nil && !bytes.HasPrefix(b, h.Append(nil)) {
			t.Errorf("%x was read as %+v", b, h)
		}
		if (err == nil) != (len(b) >= len(h.Append(nil))) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	})
}
