// Package control is the control socket of a running tiproxy, both ends of it:
// the [Server] inside tiproxy, and the [Client] of the commands that look at it
// and act on it, with what prints the answers for people.
//
// It speaks HTTP over a UNIX socket, so that curl --unix-socket can ask too:
//
//	GET  /v1/status    200, what tiproxy knows of itself
//	GET  /v1/queue     200, who waits in line: [Queue]
//	GET  /v1/sessions  200, who is let in: [Sessions]
//	GET  /v1/events    200, what happened lately: [Events]
//	POST /v1/restart   {"now": true}, or nothing: replace the backend
//	POST /v1/drain     let nobody in any more
//	POST /v1/resume    let clients in again
//	POST /v1/set       {"MaxConnections": "3"}: change one setting
//	POST /v1/kick      {"session": 7}: end one connection
//	GET  /metrics      200, Prometheus's text format
//
// All else is JSON: what is asked for, {} for something done, and for what was
// refused {"error": "one sentence"} with a status of 4xx, or of 500. (A request
// that is not even HTTP is refused by net/http, in plain text.)
//
// Invariants:
//   - Only root, the user that tiproxy runs as, and the group that was named, can
//     connect: the socket's file has mode 0600 from the moment that it exists, and
//     0660 only once it belongs to that group. Who may use a socket that systemd
//     passed is its unit's business.
//   - The socket of another tiproxy that answers is never taken, nor removed.
//   - One request per connection, bounded in size and time. Between requests
//     nothing runs: no timer, no system call.
//   - An answer is complete before its first byte is written, so a slow reader
//     holds up nobody.
package control

import (
	"errors"
	"io"
	"time"
)

// patience is how long either end waits for the other, for what takes
// milliseconds: who needs longer has gone to sleep, or is hostile.
const patience = 5 * time.Second

// Service is the tiproxy behind a [Server], which calls it from several
// goroutines at once. Each method returns soon: what takes long is only begun.
// The slices are snapshots, which nobody changes any more.
//
// An error is one sentence for who asked. It says with [ErrInvalid], [ErrNotFound]
// or [ErrConflict] whose fault it is; without one of them it is tiproxy's own.
type Service interface {
	// Status is answered as JSON.
	Status() any
	// Queue is who waits, the next one first.
	Queue() []Waiting
	// Sessions is who is let in.
	Sessions() []Session
	// Events is what happened lately, the latest at the end.
	Events() []Event
	// Restart has the backend replaced: once nobody is inside, or now.
	Restart(now bool) error
	// Drain lets nobody in any more until Resume.
	Drain() error
	// Resume ends Drain.
	Resume() error
	// Set changes a setting while tiproxy runs, both as tiproxy.conf writes them.
	Set(name, value string) error
	// Kick ends the connection of a session, inside or in line.
	Kick(session uint64) error
	// Metrics writes Prometheus's text format, version 0.0.4.
	Metrics(w io.Writer) error
}

// Why a [Service] refuses. An error that wraps one of them with %w at its end
// reaches the client without that end.
var (
	ErrInvalid  = errors.New("wrong request")    // 400: no such setting, or not with that value
	ErrNotFound = errors.New("not there")        // 404: no such session
	ErrConflict = errors.New("not possible now") // 409: not as tiproxy is configured, or does at the moment
)

// Queue is the line: GET /v1/queue.
type Queue struct {
	Waiting []Waiting `json:"waiting"`
}

// Waiting is a client in line.
type Waiting struct {
	Position   int    `json:"position"`    // in the line, from 1 on
	Session    uint64 `json:"session"`     // its number, which it keeps when it is let in
	Client     string `json:"client"`      // its address
	Source     string `json:"source"`      // who it is for limits per source
	Listener   string `json:"listener"`    // the name; "": it has none
	WaitedUsec int64  `json:"waited_usec"` // so far, in µs
}

// Sessions are those let in: GET /v1/sessions.
type Sessions struct {
	Sessions []Session `json:"sessions"`
}

// Session is a client that was let in.
type Session struct {
	Session    uint64 `json:"session"`       // its number
	Client     string `json:"client"`        // its address
	Listener   string `json:"listener"`      // the name; "": it has none
	State      string `json:"state"`         // entering, connecting or relaying
	SinceUsec  int64  `json:"since_usec"`    // how long it has been inside, in µs
	WaitedUsec int64  `json:"waited_usec"`   // in line before, in µs
	In         uint64 `json:"in"`            // bytes from the client
	Out        uint64 `json:"out"`           // bytes to the client
	Generation uint64 `json:"generation"`    // of the backend that serves it; 0: none yet
	PID        int    `json:"pid,omitempty"` // of the program that serves it alone (Mode=stdio); 0: none does
}

// Events are what happened lately: GET /v1/events.
type Events struct {
	Events []Event `json:"events"`
}

// Event is something that happened.
type Event struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"` // "info", "warning" and so on
	Event string    `json:"event"` // the kind, such as "backend-ready"
	Text  string    `json:"text"`  // one sentence
}
