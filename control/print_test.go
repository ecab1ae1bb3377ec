package control

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestPrint(t *testing.T) {
	for _, c := range []struct{ name, raw, want string }{
		{"busy", `{"version":"1.2","pid":7,
			"listeners":[{"name":"web","address":"127.0.0.1:4000"},{"name":"","address":"/run/x.sock"}],
			"gate":{"limit":1,"active":1,"queued":3,"served":120,"refused":4,"abandoned":2,"timed_out":5},
			"backend":{"state":"ready","pid":8,"starts":3,"memory_bytes":12897485,"last_exit":"exit status 1"}}`, `
tiproxy   1.2, pid 7
listener  127.0.0.1:4000 (web)
listener  /run/x.sock
sessions  1 of at most 1, 3 waiting
so far    120 served, 4 refused, 2 abandoned, 5 timed out
backend   ready, pid 8, 12.3 MiB
          3 starts, last exit: exit status 1
`},
		{"stopped, without a limit", `{"version":"1.2","pid":7,"listeners":[],"gate":{"limit":0,"active":9},
			"backend":{"state":"stopped","pid":0,"starts":1,"memory_bytes":0,"last_exit":""},"later":{}}`, `
tiproxy   1.2, pid 7
sessions  9, no limit
so far    0 served, 0 refused, 0 abandoned, 0 timed out
backend   stopped
          1 start
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			if err := Print(&out, []byte(c.raw)); err != nil || "\n"+out.String() != c.want {
				t.Errorf("%v, got:\n%s\nwant:%s", err, out.String(), c.want)
			}
		})
	}
}

func TestPrintFails(t *testing.T) {
	for _, raw := range []string{"", "[]", `{"pid":"seven"}`, `{"gate":{"served":-1}}`} {
		if err := Print(io.Discard, []byte(raw)); err == nil || !strings.Contains(err.Error(), "cannot understand") {
			t.Errorf("%s: %v", raw, err)
		}
	}
	closed, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if err := Print(closed, []byte("{}")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("what could not be written: %v", err)
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 3 << 29: "1.5 GiB", 1<<64 - 1: "16.0 EiB",
	} {
		if got := size(bytes); got != want {
			t.Errorf("%d: %s, want %s", bytes, got, want)
		}
	}
}

func FuzzPrint(f *testing.F) {
	f.Add([]byte(`{"version":"1","listeners":[{"address":"x"}],"backend":{"memory_bytes":18446744073709551615}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var out strings.Builder
		err := Print(&out, raw)
		if (err == nil) != (out.Len() > 0) {
			t.Errorf("%v, but printed %q", err, out.String())
		}
		if err == nil && !json.Valid(raw) {
			t.Errorf("took %q for a status", raw)
		}
	})
}
