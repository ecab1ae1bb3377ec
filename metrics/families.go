package metrics

import "github.com/tiproxy/tiproxy/supervisor"

// kind is what Prometheus may do with a metric.
type kind string

const (
	gauge   kind = "gauge"     // goes up and down
	counter kind = "counter"   // grows, and begins at 0 with tiproxy
	timing  kind = "histogram" // seconds, in the buckets of bounds
)

// family is all metrics of one name.
type family struct {
	name  string
	kind  kind
	label string // the one that they have; "": none, there is one metric
	help  string // a sentence, without \ and line ends
	write func(*page, *look)
}

// families are all that tiproxy tells; docs/metrics.md is made of them. They
// stay as they are: a new version may add some.
var families = []family{
	{"tiproxy_build_info", gauge, "version", "Always 1; the label tells which tiproxy this is.",
		func(p *page, l *look) { put(p, l.version, 1) }},

	{"tiproxy_connections_active", gauge, "", "Clients that hold a slot.",
		func(p *page, l *look) { put(p, "", l.gate.Active) }},
	{"tiproxy_connections_waiting", gauge, "", "Clients in line.",
		func(p *page, l *look) { put(p, "", l.gate.Queued) }},
	{"tiproxy_connections_limit", gauge, "", "How many may hold a slot at once (MaxConnections=); 0: any number.",
		func(p *page, l *look) { put(p, "", l.gate.Limit) }},
	{"tiproxy_paused", gauge, "", "1 while an administrator lets nobody in (tiproxy drain), else 0.",
		func(p *page, l *look) { put(p, "", oneIf(l.gate.Paused)) }},
	{"tiproxy_connections_total", counter, "outcome", "Clients that are gone, by how far they came: served, they reached the backend; denied, they may not come in; refused, the line was full; left, they gave up or were sent away before; unserved, they were let in and the backend could not be reached.",
		func(p *page, l *look) {
			put(p, "denied", l.denied)
			for i, how := range outcomes {
				put(p, string(how), l.events.outcomes[i])
			}
		}},
	{"tiproxy_connection_wait_seconds", timing, "", "From being accepted to being let in, of those who were.",
		func(p *page, l *look) { p.times(&l.events.waits) }},
	{"tiproxy_connection_wait_timeouts_total", counter, "", "Clients sent away because they waited too long (QueueTimeoutSec=).",
		func(p *page, l *look) { put(p, "", l.gate.TimedOut) }},
	{"tiproxy_accept_starved_total", counter, "", "Times that accepting had to rest for lack of fds or memory.",
		func(p *page, l *look) { put(p, "", l.events.starved) }},

	{"tiproxy_session_duration_seconds", timing, "", "From being let in to the end, of those who reached the backend; its start is part of it.",
		func(p *page, l *look) { p.times(&l.events.sessions) }},
	{"tiproxy_session_timeouts_total", counter, "setting", "Clients that ran into a time limit once they were let in, by the setting that it is.",
		func(p *page, l *look) {
			put(p, "SessionTimeoutSec", l.gate.Late)
			put(p, "SessionIdleSec", l.events.idle)
		}},
	{"tiproxy_session_failures_total", counter, "side", "Sessions that an error ended, by the side where it was seen.",
		func(p *page, l *look) {
			for i, side := range sides {
				put(p, side, l.events.failures[i])
			}
		}},
	{"tiproxy_bytes_total", counter, "direction", "Bytes relayed in the sessions that have ended: in, from the clients; out, to them.",
		func(p *page, l *look) {
			put(p, "in", l.events.in)
			put(p, "out", l.events.out)
		}},

	{"tiproxy_backend_up", gauge, "", "1 while the backend can take a client: it is ready, or frozen, or not ours to start; else 0.",
		func(p *page, l *look) { put(p, "", oneIf(up(l.backend.State))) }},
	{"tiproxy_backend_state", gauge, "state", "1 for the state that the backend is in, 0 for the others.",
		func(p *page, l *look) {
			for _, s := range states {
				put(p, string(s), oneIf(s == l.backend.State))
			}
		}},
	{"tiproxy_backend_starts_total", counter, "", "Backends started.",
		func(p *page, l *look) { put(p, "", l.backend.Starts) }},
	{"tiproxy_backend_start_failures_total", counter, "", "Starts that failed: nothing could be run, or it was not ready in time.",
		func(p *page, l *look) { put(p, "", l.events.startFailures) }},
	{"tiproxy_backend_start_seconds", timing, "", "From the decision to start the backend until it was ready.",
		func(p *page, l *look) { p.times(&l.events.starts) }},
	{"tiproxy_backend_exits_total", counter, "reason", "Backends that have ended: stopped, they were told to; ended, by themselves and in order; failed, they crashed, were not ready in time, or fell silent.",
		func(p *page, l *look) {
			for i, why := range exits {
				put(p, why, l.events.exits[i])
			}
		}},
	{"tiproxy_backend_kills_total", counter, "", "Backends killed because they did not end in time (StopTimeoutSec=).",
		func(p *page, l *look) { put(p, "", l.events.kills) }},
	{"tiproxy_backend_memory_bytes", gauge, "", "What the backend's processes use; 0: none runs, or it is unknown.",
		func(p *page, l *look) { put(p, "", l.memory) }},

	{"tiproxy_hook_rejections_total", counter, "", "Clients sent away because BeforeNext= failed.",
		func(p *page, l *look) { put(p, "", l.gate.Failed) }},
	{"tiproxy_hook_failures_total", counter, "hook", "Commands of hooks that failed or took too long (HookTimeoutSec=).",
		func(p *page, l *look) {
			for i, kind := range hooks {
				put(p, string(kind), l.events.hookFailures[i])
			}
		}},
	{"tiproxy_hook_drops_total", counter, "", "Commands of hooks that were never run, because too many waited.",
		func(p *page, l *look) { put(p, "", l.events.hookDrops) }},

	{"process_cpu_seconds_total", counter, "", "CPU time that tiproxy itself has used.",
		func(p *page, l *look) { put(p, "", l.process.cpu) }},
	{"process_resident_memory_bytes", gauge, "", "Memory of tiproxy itself that is in RAM.",
		func(p *page, l *look) { put(p, "", l.process.resident) }},
	{"process_virtual_memory_bytes", gauge, "", "Address space of tiproxy itself.",
		func(p *page, l *look) { put(p, "", l.process.virtual) }},
	{"process_open_fds", gauge, "", "File descriptors that tiproxy itself has open.",
		func(p *page, l *look) { put(p, "", l.process.fds) }},
	{"process_max_fds", gauge, "", "How many it may have (LimitNOFILE= of the service).",
		func(p *page, l *look) { put(p, "", l.process.fdsMost) }},
	{"process_start_time_seconds", gauge, "", "When tiproxy was started, since 1970.",
		func(p *page, l *look) { put(p, "", float64(l.began.UnixMilli())/1000) }},
}

// states are the values of the label state.
var states = [...]supervisor.State{
	supervisor.Stopped, supervisor.Starting, supervisor.Ready, supervisor.Frozen,
	supervisor.Draining, supervisor.Stopping, supervisor.Backoff, supervisor.External, supervisor.Stdio,
}

// up tells whether a backend in that state can take a client.
func up(s supervisor.State) bool {
	switch s {
	case supervisor.Ready, supervisor.Frozen, supervisor.External, supervisor.Stdio:
		return true
	}
	return false
}

func oneIf(is bool) int {
	if is {
		return 1
	}
	return 0
}
