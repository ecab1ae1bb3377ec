package control

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

func TestPrint(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 5, 30, 0, time.Local)
	fell := `{"state":"asleep","since":"` + time.Date(2026, 11, 22, 14, 2, 11, 0, time.Local).Format(time.RFC3339) + `"}`
	for _, c := range []struct {
		name, raw, want string
		now             time.Time
	}{
		{"busy", `{"version":"1.2","pid":7,
			"listeners":[{"name":"web","address":"127.0.0.1:4000"},{"name":"","address":"/run/x.sock"}],
			"gate":{"limit":1,"active":1,"queued":3,"served":120,"refused":4,"denied":3,"abandoned":2,"timed_out":5},
			"backend":{"state":"ready","pid":8,"starts":3,"memory_bytes":12897485,"last_exit":"exit status 1"}}`, `
tiproxy   1.2, pid 7
listener  127.0.0.1:4000 (web)
listener  /run/x.sock
sessions  1 of at most 1, 3 waiting
so far    120 served, 4 refused, 3 denied, 2 abandoned, 5 timed out
backend   ready, pid 8, 12.3 MiB
          3 starts, last exit: exit status 1
`, time.Time{}},
		{"stopped, without a limit", `{"version":"1.2","pid":7,"listeners":[],"gate":{"limit":0,"active":9},
			"backend":{"state":"stopped","pid":0,"starts":1,"memory_bytes":0,"last_exit":""},"later":{}}`, `
tiproxy   1.2, pid 7
sessions  9, no limit
so far    0 served, 0 refused, 0 denied, 0 abandoned, 0 timed out
backend   stopped
          1 start
`, now},
		{"all there is to tell", `{"version":"1.2","pid":7,"state":"draining","since":"` + now.Add(-40*time.Second).Format(time.RFC3339) + `",
			"gate":{"limit":0,"queued":2,"oldest_wait_usec":12000000},
			"backend":{"state":"ready","pid":8,"memory_bytes":1024,"up_usec":120000000,"served":17,"text":"loading\u001b[2J"}}`, `
tiproxy   1.2, pid 7, draining for 40 s
sessions  0, no limit, 2 waiting (the first for 12 s)
so far    0 served, 0 refused, 0 denied, 0 abandoned, 0 timed out
backend   ready, pid 8, 1.0 KiB, up 2 min, 17 served
          0 starts
          says: loading?[2J
`, now},
		{"only what changes", `{"version":"1.2","pid":7,"state":"serving","since":"2026-11-22T14:02:11Z","time":"2026-11-22T14:02:12Z",
			"gate":{"limit":1,"queued":2,"oldest_wait_usec":12000000},"backend":{"state":"ready","up_usec":1000000}}`, `
tiproxy   1.2, pid 7, serving
sessions  0 of at most 1, 2 waiting
so far    0 served, 0 refused, 0 denied, 0 abandoned, 0 timed out
backend   ready
          0 starts
`, time.Time{}},
		{"answered after it was asked", `{"version":"1.2","pid":7,"state":"idle","since":"` + now.Add(60*time.Millisecond).Format(time.RFC3339Nano) + `",
			"time":"` + now.Add(3*time.Second).Format(time.RFC3339Nano) + `","backend":{"state":"stopped"}}`, `
tiproxy   1.2, pid 7, idle for 2.9 s
sessions  0, no limit
so far    0 served, 0 refused, 0 denied, 0 abandoned, 0 timed out
backend   stopped
          0 starts
`, now},
		{"asleep", fell, "\nasleep since 14:02:11 (3 min): the next client wakes it\n", now},
		{"asleep for long", fell, "\nasleep since 2026-11-22 14:02:11 (2 days): the next client wakes it\n", now.AddDate(0, 0, 2)},
		{"asleep, for who wants changes", fell, "\nasleep since 2026-11-22 14:02:11: the next client wakes it\n", time.Time{}},
		{"asleep, nobody knows since when", string(Asleep(time.Time{})), "\nasleep: the next client wakes it\n", now},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			if err := Print(&out, []byte(c.raw), c.now); err != nil || "\n"+out.String() != c.want {
				t.Errorf("%v, got:\n%s\nwant:%s", err, out.String(), c.want)
			}
		})
	}
}

func TestPrintFails(t *testing.T) {
	for _, raw := range []string{"", "[]", `{"pid":"seven"}`, `{"gate":{"served":-1}}`, `{"state":"asleep","since":"noon"}`} {
		if err := Print(io.Discard, []byte(raw), time.Time{}); err == nil || !strings.Contains(err.Error(), "cannot understand") {
			t.Errorf("%s: %v", raw, err)
		}
	}
	closed, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if err := Print(closed, []byte("{}"), time.Time{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("what could not be written: %v", err)
	}
}

func TestAsleep(t *testing.T) {
	since := time.Date(2026, 11, 22, 14, 2, 11, 0, time.UTC)
	if got := string(Asleep(since)); got != `{"state":"asleep","since":"2026-11-22T14:02:11Z"}`+"\n" {
		t.Error(got)
	}
	if got := string(Asleep(time.Time{})); got != `{"state":"asleep"}`+"\n" {
		t.Error(got)
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
	f.Add([]byte(Asleep(time.Unix(1, 0))))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var out strings.Builder
		err := Print(&out, raw, time.Now())
		if (err == nil) != (out.Len() > 0) {
			t.Errorf("%v, but printed %q", err, out.String())
		}
		if err == nil && !json.Valid(raw) {
			t.Errorf("took %q for a status", raw)
		}
	})
}
