package report

import (
	"github.com/tiproxy/tiproxy/bench/peer"
	"github.com/tiproxy/tiproxy/bench/record"
)

// row is one measure that peers are compared at.
type row struct {
	work, key string  // as in record.Sample
	title     string  // in words, with the unit
	scale     float64 // a value times this is shown
	less      bool    // less is better
	goal      goal
}

// goal is what tiproxy is to reach; the zero value: nothing.
type goal struct {
	ratio float64 // of the best peer's value, at least or, where less is better, at most
	value float64 // as it is shown, at most
}

// section is rows that stand in one table and, unless chart is empty, in one
// picture.
type section struct {
	title string
	text  string // under the title
	chart string // name of its file
	log   bool   // rows are quantiles of one thing, drawn together: three and three
	rows  []row
}

const (
	perSecond = 1e-3 // shown in thousands
	gigabytes = 1e-9
	micros    = 1e6
	millis    = 1e3
)

var best = goal{ratio: 1}

// sections are all that is measured, in the order of reading.
var sections = []section{
	{title: "Speed", chart: "speed", text: "Medians of all rounds; ± is half the distance of the quartiles. More is better.", rows: []row{
		{"requests-1", "rate", "requests, 1 connection, 1000/s", perSecond, false, best},
		{"requests-1-pinned", "rate", "requests, 1 connection, all on one CPU, 1000/s", perSecond, false, best},
		{"requests-64", "rate", "requests, 64 connections, 1000/s", perSecond, false, goal{ratio: 1.2}},
		{"connects-32", "rate", "connect, request, close, 32 at once, 1000/s", perSecond, false, best},
		{"up-1", "rate", "bulk to the backend, 1 flow, GB/s", gigabytes, false, best},
		{"down-1", "rate", "bulk from the backend, 1 flow, GB/s", gigabytes, false, best},
		{"up-8", "rate", "bulk to the backend, 8 flows, GB/s", gigabytes, false, best},
		{"down-8", "rate", "bulk from the backend, 8 flows, GB/s", gigabytes, false, best},
	}},
	{title: "CPU", chart: "cpu", text: "CPU time of the proxy's whole process tree, in seconds. Less is better.", rows: []row{
		{"requests-1", "cpu", "10,000 requests, 1 connection", 1, true, best},
		{"requests-1-pinned", "cpu", "10,000 requests, 1 connection, all on one CPU", 1, true, best},
		{"requests-64", "cpu", "10,000 requests, 64 connections", 1, true, best},
		{"connects-32", "cpu", "10,000 connections, 32 at once", 1, true, best},
		{"up-1", "cpu", "1 GB to the backend, 1 flow", 1, true, best},
		{"down-1", "cpu", "1 GB from the backend, 1 flow", 1, true, best},
		{"up-8", "cpu", "1 GB to the backend, 8 flows", 1, true, best},
		{"down-8", "cpu", "1 GB from the backend, 8 flows", 1, true, best},
	}},
	{title: "Latency", chart: "latency", log: true, text: "From the request to the whole reply, in µs; with the connect, where there is one. Less is better.", rows: []row{
		{"requests-1", "p50", "requests, 1 connection: half within", micros, true, best},
		{"requests-1", "p99", "99 % within", micros, true, best},
		{"requests-1", "p999", "99.9 % within", micros, true, best},
		{"requests-64", "p50", "requests, 64 connections: half within", micros, true, best},
		{"requests-64", "p99", "99 % within", micros, true, best},
		{"requests-64", "p999", "99.9 % within", micros, true, best},
		{"connects-32", "p50", "connect and request, 32 at once: half within", micros, true, best},
		{"connects-32", "p99", "99 % within", micros, true, best},
		{"connects-32", "p999", "99.9 % within", micros, true, best},
	}},
	{title: "Many connections", chart: "connections", text: "What one more connection costs: memory of the proxy's process tree (proportional set size), its open " +
		"files, and the kernel's own objects for client, proxy and backend together.", rows: []row{
		{"quiet", "connections", "quiet connections", 1, false, goal{}},
		{"quiet", "memory", "a quiet connection: memory, bytes", 1, true, goal{ratio: 1, value: 600}},
		{"quiet", "files", "a quiet connection: open files", 1, true, goal{ratio: 1, value: 2}},
		{"quiet", "kernel", "a quiet connection: kernel, bytes", 1, true, goal{}},
		{"line", "connections", "clients in line, one at a time at the backend", 1, false, goal{}},
		{"line", "memory", "a client in line: memory, bytes", 1, true, best},
		{"line", "files", "a client in line: open files", 1, true, best},
		{"line", "rate", "the line moves, 1000 clients/s", perSecond, false, best},
		{"line", "overtaken", "clients served after one who had come later", 1, true, goal{}},
	}},
	{title: "A backend on demand", text: "Only tiproxy starts, stops and freezes the backend.", rows: []row{
		{"cold", "own", "the backend alone, until it listens, ms", millis, true, goal{}},
		{"cold", "first", "the first byte of a client who has it started, ms", millis, true, goal{}},
		{"cold", "above", "the difference, ms", millis, true, goal{value: 5}},
		{"thaw", "warm", "the first byte from a running backend, ms", millis, true, goal{}},
		{"thaw", "first", "the first byte from a frozen backend, ms", millis, true, goal{}},
	}},
	{title: "Nobody there", text: "After a first client has gone and some seconds have passed.", rows: []row{
		{"idle", "wakeups", "threads woken, 1/s", 1, true, goal{}},
		{"idle", "cpu", "CPU, ms in a minute", 60 * millis, true, goal{}},
		{"idle", "rss", "resident memory of the process tree, MB", 1e-6, true, goal{}},
		{"idle", "pss", "the same, shared pages divided by those who share them, MB", 1e-6, true, goal{}},
	}},
}

// bestPeers answers who has the best value among the proxies that are not
// ours: of those who did the work right, and of all. "": there is none.
func (r row) bestPeers(run *record.Run) (right, any string) {
	var topRight, topAny float64
	better := func(v, top float64) bool { return r.less && v < top || !r.less && v > top }
	for _, p := range run.Peers {
		f := run.Figure(r.work, r.key, p.Name)
		if p.Name == peer.None || p.Name == peer.Tiproxy || f.Rounds == 0 {
			continue
		}
		if any == "" || better(f.Median, topAny) {
			any, topAny = p.Name, f.Median
		}
		if f.Fault == "" && (right == "" || better(f.Median, topRight)) {
			right, topRight = p.Name, f.Median
		}
	}
	return right, any
}
