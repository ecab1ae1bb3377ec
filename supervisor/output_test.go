package supervisor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// output runs a backend to its end and answers the lines that it wrote.
func output(t *testing.T, command ...string) []string {
	t.Helper()
	return outputIn(t, Surroundings{}, command...)
}

// outputIn is output of a command that finds itself in such surroundings.
func outputIn(t *testing.T, s Surroundings, command ...string) []string {
	t.Helper()
	st := open(t, Config{Command: command, Address: somewhere(), Surroundings: s})
	st.begin()
	await(st, func(ExitEvent) bool { return true })
	var lines []string
	for _, e := range events[OutputEvent](st) {
		if e.Generation == 1 { // it is tried again
			lines = append(lines, e.Line)
		}
	}
	return lines
}

func TestOutputLines(t *testing.T) {
	full := strings.Repeat("x", lineMax)
	for _, tt := range []struct {
		name  string
		steps []string
		want  []string
	}{
		{"in order", []string{"say=one", "say=", "say=three"}, []string{"one", "", "three"}},
		{"no newline at the end", []string{"write=6f6e65"}, []string{"one"}},
		{"lines of a terminal", []string{"write=610d0a620d0d0a"}, []string{"a", "b\r"}},
		{"binary", []string{"write=00ff0d800a1b"}, []string{"\x00\xff\r\x80", "\x1b"}},
		{"a full piece is one line", []string{"flood=16384", "say=end"}, []string{full, "end"}},
		{"two pieces", []string{"flood=16385", "say=end"}, []string{full, "x", "end"}},
		{"a child's too", []string{"say=one", "run=say=two", "say=three"}, []string{"one", "two", "three"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := output(t, play(tt.steps...)...); !slices.Equal(got, tt.want) {
				t.Errorf("%.100q, want %.100q", got, tt.want)
			}
		})
	}
}

func TestLineWithoutEnd(t *testing.T) {
	lines := output(t, play("flood=10485760", "say=end")...)
	size := 0
	for _, line := range lines[:len(lines)-1] {
		if len(line) > lineMax {
			t.Fatalf("a piece of %d bytes", len(line))
		}
		size += len(line)
	}
	if size != 10<<20 || lines[len(lines)-1] != "end" {
		t.Errorf("%d bytes, then %q", size, lines[len(lines)-1])
	}
}

func TestBackendThatClosesItsOutputLivesOn(t *testing.T) {
	at := somewhere()
	st := open(t, Config{Command: play("pid=bye", "close", "await", "listen="+at.String(), "stay"), Address: at})
	a := st.begin()
	signalTo(t, number(st.hears("bye")), unix.SIGUSR1)
	if _, err := a.await(t); err != nil {
		t.Fatal(err)
	}
}

// The last words often say why the end came.
func TestLastWordsComeBeforeTheExit(t *testing.T) {
	st := open(t, Config{
		Command: play("write="+strings.Repeat("780a", 100), "say=no such table", "exit=3"), Address: somewhere(),
		Events: func(e Event) {
			if _, is := e.(OutputEvent); is {
				time.Sleep(time.Millisecond) // a slow journal: the child ends long before its output is told
			}
		},
	})
	st.begin()
	await(st, func(ExitEvent) bool { return true })
	st.mu.Lock()
	defer st.mu.Unlock()
	said := slices.IndexFunc(st.told, func(e Event) bool { out, is := e.(OutputEvent); return is && out.Line == "no such table" })
	exit := slices.IndexFunc(st.told, func(e Event) bool { _, is := e.(ExitEvent); return is })
	if said < 0 || said > exit {
		t.Errorf("said as event %d, exit is event %d", said, exit)
	}
}
