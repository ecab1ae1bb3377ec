// Package wire is what the clients and the backend of a benchmark say to each
// other. Every byte can be verified, so a proxy that loses, doubles or mixes up
// some of them does not pass for a fast one.
//
// A connection to the echo backend carries messages of MessageSize bytes, and
// each comes back as it was. A connection to the stream backend begins with a
// Header, which says what it is for.
package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// MessageSize is a request and its reply, in bytes.
const MessageSize = 64

// What a stream connection is for.
const (
	// Probe: the backend answers one byte, the same as it got. The echo backend
	// does so, too.
	Probe = 'p'
	// Up: the client sends blocks, the backend answers how many bytes were right.
	Up = 'u'
	// Down: the backend sends blocks.
	Down = 'd'
	// Late: the client sends something and half-closes; the backend sends it
	// back, but not before it has seen that end.
	Late = 'l'
)

// Header stands at the beginning of Up and Down.
type Header struct {
	Kind byte
	Flow uint32        // tells the flows apart, so that two mixed up are seen
	Time time.Duration // how long to send
}

// headerSize is the length of a Header on the wire.
const headerSize = 13

// Append adds the header to b as it goes over the wire.
func (h Header) Append(b []byte) []byte {
	b = append(b, h.Kind)
	b = binary.LittleEndian.AppendUint32(b, h.Flow)
	return binary.LittleEndian.AppendUint64(b, uint64(h.Time))
}

// ReadHeader reads what follows kind, the byte that was read already.
func ReadHeader(r io.Reader, kind byte) (Header, error) {
	var b [headerSize - 1]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Header{}, fmt.Errorf("cannot read the header of a flow: %w", err)
	}
	return Header{kind, binary.LittleEndian.Uint32(b[:]), time.Duration(binary.LittleEndian.Uint64(b[4:]))}, nil
}

const (
	// period is after how many bytes a stream repeats: a prime, so that a lost
	// or doubled page, buffer or pipe shifts what follows.
	period = 65521
	// Chunk is the most that is written or read at once.
	Chunk = 128 << 10
	// block is how many bytes stand behind one length: rarely enough to cost
	// nothing, often enough to end in time.
	block = 4 << 20
)

// pattern has a Chunk from each offset within the period.
var pattern = func() []byte {
	p := make([]byte, period, period+Chunk)
	x := uint32(2463534242) // xorshift, Marsaglia 2003
	for i := range p {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		p[i] = byte(x)
	}
	for len(p) < cap(p) {
		p = append(p, p[:min(period, cap(p)-len(p))]...)
	}
	return p
}()

// FillMessage writes the message with this sequence number of a connection.
func FillMessage(b *[MessageSize]byte, connection, sequence uint64) {
	binary.LittleEndian.PutUint64(b[:], connection)
	binary.LittleEndian.PutUint64(b[8:], sequence)
	copy(b[16:], pattern[(connection*7919+sequence)%period:])
}

// Body answers n bytes to send, at most Chunk.
func Body(n int) []byte { return pattern[:n] }

// offset is where a flow begins in the pattern.
func offset(flow uint32) int { return int(flow) * 7919 % period }

// Send writes blocks of a flow until the time is over, one at least, and then
// the end. It answers how many bytes of the pattern it sent.
func Send(w io.Writer, flow uint32, until time.Time) (sent uint64, err error) {
	var length [8]byte
	for at := offset(flow); sent == 0 || time.Now().Before(until); {
		binary.LittleEndian.PutUint64(length[:], block)
		if _, err := w.Write(length[:]); err != nil {
			return sent, err
		}
		for left := block; left > 0; {
			n, err := w.Write(pattern[at : at+min(Chunk, left)])
			sent += uint64(n)
			if err != nil {
				return sent, err
			}
			left -= n
			at = (at + n) % period
		}
	}
	_, err = w.Write(make([]byte, len(length)))
	return sent, err
}

// ErrWrong: a byte was not what had been sent.
var ErrWrong = errors.New("wrong bytes")

// Receive reads and verifies the blocks of a flow up to their end, and answers
// how many bytes of the pattern came.
func Receive(r io.Reader, flow uint32) (got uint64, err error) {
	var length [8]byte
	buf := make([]byte, Chunk)
	for at := offset(flow); ; {
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return got, err
		}
		left := binary.LittleEndian.Uint64(length[:])
		if left == 0 {
			return got, nil
		}
		if left != block {
			return got, fmt.Errorf("%w in flow %d, in the length behind byte %d", ErrWrong, flow, got)
		}
		for left > 0 {
			n, err := r.Read(buf[:min(Chunk, left)])
			if !bytes.Equal(buf[:n], pattern[at:at+n]) {
				return got, fmt.Errorf("%w in flow %d, behind byte %d", ErrWrong, flow, got)
			}
			got += uint64(n)
			left -= uint64(n)
			at = (at + n) % period
			if err != nil {
				return got, err
			}
		}
	}
}
