package control

import (
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

func TestPrintLists(t *testing.T) {
	for _, c := range []struct {
		name  string
		print func(io.Writer, []byte) error
		raw   string
		want  string
	}{
		{"queue", PrintQueue, `{"waiting":[
			{"position":1,"session":9,"client":"192.0.2.1:4242","source":"192.0.2.1","listener":"web","waited_usec":1200000},
			{"position":10,"session":12345,"client":"[2001:db8::1]:1","listener":"","waited_usec":200,"later":1}]}`, `
    SESSION  CLIENT           LISTENER  WAITED
 1        9  192.0.2.1:4242   web        1.2 s
10    12345  [2001:db8::1]:1  -           0 ms
`},
		{"nobody in line", PrintQueue, `{"waiting":[]}`, "\nnobody waits\n"},
		{"sessions", PrintSessions, `{"sessions":[
			{"session":7,"client":"uid 1000","listener":"db","state":"relaying","since_usec":7200000000,"waited_usec":0,"in":123,"out":2048,"generation":2},
			{"session":8,"client":"192.0.2.1:4242","state":"entering","since_usec":1}]}`, `
SESSION  CLIENT          LISTENER  STATE     BACKEND  WAITED  INSIDE     IN      OUT
      7  uid 1000        db        relaying        2    0 ms     2 h  123 B  2.0 KiB
      8  192.0.2.1:4242  -         entering        -    0 ms    0 ms    0 B      0 B
`},
		{"nobody inside", PrintSessions, `{}`, "\nnobody is inside\n"},
		{"what a terminal would obey", PrintQueue, `{"waiting":[{"position":1,"session":1,"client":"\u001b[2J\ně\u009b","listener":"web"}]}`, `
   SESSION  CLIENT   LISTENER  WAITED
1        1  ?[2J?ě?  web         0 ms
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			if err := c.print(&out, []byte(c.raw)); err != nil || "\n"+out.String() != c.want && out.String() != c.want[1:] {
				t.Errorf("%v, got:\n%s\nwant:%s", err, out.String(), c.want)
			}
		})
	}
}

func TestPrintListsFails(t *testing.T) {
	closed, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, print := range []func(io.Writer, []byte) error{PrintQueue, PrintSessions} {
		for _, raw := range []string{"", "[]", `{"waiting":7,"sessions":7}`} {
			if err := print(io.Discard, []byte(raw)); err == nil || !strings.Contains(err.Error(), "cannot understand") {
				t.Errorf("%s: %v", raw, err)
			}
		}
		for _, raw := range []string{"{}", `{"waiting":[{}],"sessions":[{}]}`} {
			if err := print(closed, []byte(raw)); !errors.Is(err, os.ErrClosed) {
				t.Errorf("what could not be written: %v", err)
			}
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-60 * time.Millisecond: "0 ms", -time.Hour: "0 ms", 0: "0 ms", 999999 * time.Microsecond: "999 ms", time.Second: "1.0 s", 9999 * time.Millisecond: "9.9 s",
		59 * time.Second: "59 s", 3*time.Minute + 59*time.Second: "3 min", 5 * time.Hour: "5 h",
		25 * time.Hour: "1 day", 71 * time.Hour: "2 days",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// A line of 5,000 is answered, and printed, while somebody looks at the screen.
func BenchmarkSessions(b *testing.B) {
	const clients = 5000
	f := &fake{sessions: make([]Session, clients)}
	for i := range f.sessions {
		f.sessions[i] = Session{uint64(i), "192.0.2.1:40404", "web", "relaying", 1e6, 1e5, 1 << 20, 1 << 30, 3, 0}
	}
	answered := httptest.NewRecorder()
	b.Run("answer", func(b *testing.B) {
		for b.Loop() {
			answered = httptest.NewRecorder()
			handler(f, routes).ServeHTTP(answered, httptest.NewRequest("GET", sessionsPath, nil))
		}
	})
	if n := strings.Count(answered.Body.String(), "relaying"); n != clients {
		b.Fatalf("%d sessions in the answer, want %d", n, clients)
	}
	b.Run("print", func(b *testing.B) {
		for b.Loop() {
			if err := PrintSessions(io.Discard, answered.Body.Bytes()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
