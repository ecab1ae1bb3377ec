package control

import (
	"fmt"
	"io"
)

// fake is a tiproxy that only remembers what it was asked to do.
type fake struct {
	status   any
	waiting  []Waiting
	sessions []Session
	events   []Event
	err      error    // of all that it is asked to do, and of the metrics
	done     []string // each as text
}

func (f *fake) Status() any         { return f.status }
func (f *fake) Queue() []Waiting    { return f.waiting }
func (f *fake) Sessions() []Session { return f.sessions }
func (f *fake) Events() []Event     { return f.events }

func (f *fake) Restart(now bool) error       { return f.do("restart, now=%t", now) }
func (f *fake) Drain() error                 { return f.do("drain") }
func (f *fake) Resume() error                { return f.do("resume") }
func (f *fake) Set(name, value string) error { return f.do("set %s=%s", name, value) }
func (f *fake) Kick(session uint64) error    { return f.do("kick %d", session) }

func (f *fake) Metrics(w io.Writer) error {
	io.WriteString(w, "tiproxy_up 1\n")
	return f.err
}

func (f *fake) do(format string, args ...any) error {
	f.done = append(f.done, fmt.Sprintf(format, args...))
	return f.err
}
