package metrics

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tiproxy/tiproxy/gate"
	"github.com/tiproxy/tiproxy/hook"
	"github.com/tiproxy/tiproxy/proxy"
	"github.com/tiproxy/tiproxy/supervisor"
	"golang.org/x/sys/unix"
)

// still are sources that nothing has happened to.
func still() Sources {
	return Sources{
		Version: "1.2",
		Gate:    func() gate.Stats { return gate.Stats{Limit: 1} },
		Denied:  func() uint64 { return 0 },
		Backend: func() supervisor.Status { return supervisor.Status{State: supervisor.Stopped} },
		Memory:  func() int64 { return 0 },
	}
}

// happens has some of everything happen.
func happens(m *Metrics) {
	ended := func(how proxy.Outcome, inside time.Duration, err error, side string, in, out uint64) {
		m.Connection(&proxy.EndEvent{Outcome: how, Inside: inside, Err: err, FailedSide: side, FromClient: in, FromBackend: out})
	}
	m.Connection(proxy.WaitEvent{})
	m.Connection(&proxy.AdmitEvent{Waited: 300 * time.Microsecond})
	m.Connection(&proxy.AdmitEvent{Waited: 40 * time.Second})
	m.Connection(proxy.StarvedEvent{Err: errors.New("no fds")})
	m.Connection(proxy.DrainEvent{})
	ended(proxy.Served, 2*time.Hour, nil, "", 10, 4e9)
	ended(proxy.Served, time.Second, errors.New("reset"), "client", 3, 5)
	ended(proxy.Served, time.Minute, errors.New("reset"), "backend", 0, 7)
	ended(proxy.Served, time.Minute, proxy.ErrSessionIdle, "", 0, 0)
	ended(proxy.Served, time.Minute, proxy.ErrSessionTimeout, "", 0, 0)
	ended(proxy.Denied, 0, errors.New("denied"), "", 0, 0)
	ended(proxy.Refused, 0, gate.ErrFull, "", 0, 0)
	ended(proxy.Left, 0, proxy.ErrHungUp, "", 0, 0)
	ended(proxy.Left, 0, proxy.ErrQueueTimeout, "", 0, 0)
	ended(proxy.Unserved, time.Hour, errors.New("no backend"), "", 0, 0)

	m.Backend(supervisor.LaunchEvent{Generation: 1})
	m.Backend(supervisor.ReadyEvent{Generation: 1, After: 2 * time.Second})
	m.Backend(supervisor.OutputEvent{Generation: 1, Line: "hello"})
	m.Backend(supervisor.StopEvent{Generation: 1})
	m.Backend(supervisor.KillEvent{Generation: 1})
	m.Backend(supervisor.ExitEvent{Generation: 1, Wanted: true})
	m.Backend(supervisor.FailEvent{Generation: 2, Retry: time.Second}) // nothing could be run
	m.Backend(supervisor.ReadyEvent{Generation: 3, After: 20 * time.Millisecond})
	m.Backend(supervisor.ExitEvent{Generation: 3, Served: true})
	m.Backend(supervisor.ReadyEvent{Generation: 4, After: 20 * time.Millisecond})
	m.Backend(supervisor.ExitEvent{Generation: 4, Retry: time.Second}) // it fell silent
	m.Backend(supervisor.FailEvent{Generation: 4, Retry: time.Second})
	m.Backend(supervisor.ExitEvent{Generation: 5, Retry: time.Second}) // it was never ready
	m.Backend(supervisor.FailEvent{Generation: 5, Retry: time.Second})
	m.Backend(supervisor.ExitEvent{Generation: 6, Wanted: true})

	m.Hook(hook.RunEvent{Kind: hook.OnStart})
	m.Hook(hook.OutputEvent{Kind: hook.OnStart, Line: "hello"})
	m.Hook(hook.RunEvent{Kind: hook.OnCrash, Err: errors.New("status 1")})
	m.Hook(hook.RunEvent{Kind: hook.OnCrash, Err: errors.New("status 1")})
	m.Hook(hook.RunEvent{Kind: hook.OnTimeout, Err: errors.New("took too long")})
	m.Hook(hook.DropEvent{Number: 3})
}

// Each metric of tiproxy after that; of the process itself there is another
// test. Of the buckets stand those here in which something changes.
const happened = `
tiproxy_build_info{version="1.2"} 1
tiproxy_connections_active 3
tiproxy_connections_waiting 4
tiproxy_connections_limit 5
tiproxy_paused 1
tiproxy_connections_total{outcome="denied"} 6
tiproxy_connections_total{outcome="served"} 5
tiproxy_connections_total{outcome="refused"} 1
tiproxy_connections_total{outcome="left"} 2
tiproxy_connections_total{outcome="unserved"} 1
tiproxy_connection_wait_seconds_bucket{le="0.001"} 1
tiproxy_connection_wait_seconds_bucket{le="60"} 2
tiproxy_connection_wait_seconds_sum 40.0003
tiproxy_connection_wait_seconds_count 2
tiproxy_connection_wait_timeouts_total 7
tiproxy_accept_starved_total 1
tiproxy_session_duration_seconds_bucket{le="1"} 1
tiproxy_session_duration_seconds_bucket{le="60"} 4
tiproxy_session_duration_seconds_bucket{le="+Inf"} 5
tiproxy_session_duration_seconds_sum 7381
tiproxy_session_duration_seconds_count 5
tiproxy_session_timeouts_total{setting="SessionTimeoutSec"} 9
tiproxy_session_timeouts_total{setting="SessionIdleSec"} 1
tiproxy_session_failures_total{side="client"} 1
tiproxy_session_failures_total{side="backend"} 1
tiproxy_bytes_total{direction="in"} 13
tiproxy_bytes_total{direction="out"} 4000000012
tiproxy_backend_up 1
tiproxy_backend_state{state="stopped"} 0
tiproxy_backend_state{state="starting"} 0
tiproxy_backend_state{state="ready"} 1
tiproxy_backend_state{state="frozen"} 0
tiproxy_backend_state{state="draining"} 0
tiproxy_backend_state{state="stopping"} 0
tiproxy_backend_state{state="backoff"} 0
tiproxy_backend_state{state="external"} 0
tiproxy_backend_state{state="stdio"} 0
tiproxy_backend_starts_total 10
tiproxy_backend_start_failures_total 2
tiproxy_backend_start_seconds_bucket{le="0.025"} 2
tiproxy_backend_start_seconds_bucket{le="2.5"} 3
tiproxy_backend_start_seconds_sum 2.04
tiproxy_backend_start_seconds_count 3
tiproxy_backend_exits_total{reason="stopped"} 2
tiproxy_backend_exits_total{reason="ended"} 1
tiproxy_backend_exits_total{reason="failed"} 2
tiproxy_backend_kills_total 1
tiproxy_backend_memory_bytes 123456789
tiproxy_hook_rejections_total 8
tiproxy_hook_failures_total{hook="BeforeNext"} 0
tiproxy_hook_failures_total{hook="OnStart"} 0
tiproxy_hook_failures_total{hook="OnReady"} 0
tiproxy_hook_failures_total{hook="OnStop"} 0
tiproxy_hook_failures_total{hook="OnCrash"} 2
tiproxy_hook_failures_total{hook="OnTimeout"} 1
tiproxy_hook_drops_total 3
`

func TestEachMetric(t *testing.T) {
	from := still()
	from.Gate = func() gate.Stats {
		return gate.Stats{
			Active: 3, Queued: 4, Limit: 5, Paused: true, TimedOut: 7, Failed: 8, Late: 9,
			Served: 100, Refused: 100, Abandoned: 100, // the outcomes tell these, and more exactly
		}
	}
	from.Denied = func() uint64 { return 6 }
	from.Backend = func() supervisor.Status {
		return supervisor.Status{State: supervisor.Ready, Starts: 10, Generation: 11}
	}
	from.Memory = func() int64 { return 123456789 }
	m := New(from)
	happens(m)
	got := changes(written(t, m))
	if want := strings.TrimPrefix(happened, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// changes leaves out heads, the process, and each bucket that is as full as the
// one before.
func changes(text string) string {
	var b strings.Builder
	full := "0"
	for line := range strings.Lines(text) {
		name, n, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		bucket := strings.Contains(name, "_bucket{")
		if line[0] == '#' || strings.HasPrefix(name, "process_") || bucket && n == full {
			continue
		}
		full = "0"
		if bucket {
			full = n
		}
		b.WriteString(line)
	}
	return b.String()
}

func TestBackendIsUp(t *testing.T) {
	for state, want := range map[supervisor.State]string{
		supervisor.Stopped: "0", supervisor.Starting: "0", supervisor.Ready: "1", supervisor.Frozen: "1",
		supervisor.Draining: "0", supervisor.Stopping: "0", supervisor.Backoff: "0", supervisor.External: "1",
	} {
		from := still()
		from.Backend = func() supervisor.Status { return supervisor.Status{State: state} }
		text := written(t, New(from))
		for _, line := range []string{"tiproxy_backend_up " + want, `tiproxy_backend_state{state="` + string(state) + `"} 1`} {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("%s: no line %q", state, line)
			}
		}
	}
}

func TestLinesAreFixed(t *testing.T) {
	m := New(still())
	before := strings.Count(written(t, m), "\n")
	happens(m)
	m.Connection(&proxy.EndEvent{Outcome: "of a later version"})
	if after := strings.Count(written(t, m), "\n"); after != before {
		t.Errorf("%d lines became %d", before, after)
	}
}

func TestProcess(t *testing.T) {
	fds, err := os.ReadDir("/proc/self/fd") // itself among them
	if err != nil {
		t.Fatal(err)
	}
	began := used()
	p := parsed(t, New(still()))
	value := func(name string) float64 {
		m := p[name].GetMetric()[0]
		return m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	if got := value("process_open_fds"); got != float64(len(fds)-1) {
		t.Errorf("%v fds are open, want %d", got, len(fds)-1)
	}
	resident, virtual, most := value("process_resident_memory_bytes"), value("process_virtual_memory_bytes"), value("process_max_fds")
	if resident < 1e6 || virtual <= resident || most < float64(len(fds)) {
		t.Errorf("resident %v, virtual %v, %v fds at most", resident, virtual, most)
	}
	const tick = 0.01 // seconds; some kernels count in it
	if cpu, ended := value("process_cpu_seconds_total"), used(); cpu <= 0 || cpu < began-tick || cpu > ended+tick {
		t.Errorf("CPU time went from %v to %v s, and in between it was %v", began, ended, cpu)
	}
}

// used is the CPU time of the process in seconds, from another source.
func used() float64 {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func TestStartTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(still())
		began := float64(time.Now().Unix())
		time.Sleep(time.Hour)
		if got := parsed(t, m)["process_start_time_seconds"].GetMetric()[0].GetGauge().GetValue(); got != began {
			t.Errorf("got %v, want %v", got, began)
		}
	})
}

func TestUnknownIsLeftOut(t *testing.T) {
	var p page
	p.begin(&family{name: "process_open_fds", kind: gauge, help: "x"})
	put(&p, "", math.NaN())
	if got, want := string(p.text), "# HELP process_open_fds x\n# TYPE process_open_fds gauge\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestVersionsAreEscaped(t *testing.T) {
	for _, version := range []string{"", "v1.0-3-gabcdef", `a"b\c` + "\n" + `\n"}`, "größer"} {
		from := still()
		from.Version = version
		got := parsed(t, New(from))["tiproxy_build_info"].GetMetric()[0].GetLabel()[0].GetValue()
		if got != version {
			t.Errorf("got %q, want %q", got, version)
		}
	}
}

func TestHistogram(t *testing.T) {
	for _, tt := range []struct {
		d      time.Duration
		bucket int
		micros uint64
	}{
		{-time.Second, 0, 0},
		{0, 0, 0},
		{time.Millisecond, 0, 1000}, // le is less or equal
		{time.Millisecond + 1, 1, 1000},
		{time.Hour, len(bounds) - 1, 3600e6},
		{time.Hour + 1, len(bounds), 3600e6},
		{math.MaxInt64, len(bounds), math.MaxInt64 / 1000},
	} {
		var got, want histogram
		got.observe(tt.d)
		want.counts[tt.bucket], want.micros = 1, tt.micros
		if got != want {
			t.Errorf("%v: got %v, want %v", tt.d, got, want)
		}
	}
}

func TestEventsAllocateNothing(t *testing.T) {
	m := New(still())
	var end proxy.Event = &proxy.EndEvent{Outcome: proxy.Served, Err: proxy.ErrSessionIdle, FailedSide: "backend", Inside: time.Minute}
	var admit proxy.Event = &proxy.AdmitEvent{Waited: time.Second}
	var ready supervisor.Event = supervisor.ReadyEvent{Generation: 1, After: time.Second}
	var exit supervisor.Event = supervisor.ExitEvent{Generation: 1, Retry: time.Second}
	var crash hook.Event = hook.RunEvent{Kind: hook.OnCrash, Err: proxy.ErrStopping}
	if n := testing.AllocsPerRun(100, func() {
		m.Connection(admit)
		m.Connection(end)
		m.Backend(ready)
		m.Backend(exit)
		m.Hook(crash)
	}); n != 0 {
		t.Errorf("%v allocations for five events", n)
	}
}

// Each session changes several metrics: a page shows it in all of them.
func TestEventsAreShownWhole(t *testing.T) {
	const clients, each = 4, 500
	m := New(still())
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range each {
				m.Connection(&proxy.EndEvent{Outcome: proxy.Served, FromClient: 1, Inside: time.Second})
			}
		})
	}
	look := func() (served float64) {
		families := parsed(t, m)
		served = families["tiproxy_connections_total"].GetMetric()[1].GetCounter().GetValue()
		took := families["tiproxy_session_duration_seconds"].GetMetric()[0].GetHistogram()
		in := families["tiproxy_bytes_total"].GetMetric()[0].GetCounter().GetValue()
		if n := float64(took.GetSampleCount()); n != served || took.GetSampleSum() != served || in != served {
			t.Errorf("%v served, %v timed, %v s, %v bytes", served, n, took.GetSampleSum(), in)
		}
		return served
	}
	for range 20 {
		look()
	}
	all.Wait()
	if n := look(); n != clients*each {
		t.Errorf("%v served, want %d", n, clients*each)
	}
}

func TestWriterThatFails(t *testing.T) {
	full := errors.New("no space")
	n, err := New(still()).WriteTo(failing{full})
	if n != 3 || !errors.Is(err, full) || err.Error() != "cannot write the metrics: no space" {
		t.Errorf("got %d, %v", n, err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 3, f.err }

// written is a page of m's.
func written(t *testing.T, m *Metrics) string {
	t.Helper()
	var b bytes.Buffer
	if n, err := m.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("%d bytes, error %v; %d are there", n, err, b.Len())
	}
	return b.String()
}

func BenchmarkEvent(b *testing.B) {
	m := New(still())
	var e proxy.Event = &proxy.EndEvent{Outcome: proxy.Served, Inside: time.Minute}
	for b.Loop() {
		m.Connection(e)
	}
}

func BenchmarkPage(b *testing.B) {
	m := New(still())
	b.ReportAllocs()
	for b.Loop() {
		m.WriteTo(&bytes.Buffer{})
	}
}
