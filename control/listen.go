package control

import (
	"fmt"
	"io"
)

// Listen is [Bind] and [NewServer] for a tiproxy that answers its status only.
func Listen(path string, status func() any) (*Server, error) {
	socket, err := Bind(path, "")
	if err != nil {
		return nil, err
	}
	return NewServer(socket, statusOnly(status)), nil
}

// statusOnly is a service that can be looked at, and not acted on.
type statusOnly func() any

var errStatusOnly = fmt.Errorf("this tiproxy only answers its status: %w", ErrConflict)

func (s statusOnly) Status() any               { return s() }
func (s statusOnly) Queue() []Waiting          { return nil }
func (s statusOnly) Sessions() []Session       { return nil }
func (s statusOnly) Events() []Event           { return nil }
func (s statusOnly) Restart(bool) error        { return errStatusOnly }
func (s statusOnly) Drain() error              { return errStatusOnly }
func (s statusOnly) Resume() error             { return errStatusOnly }
func (s statusOnly) Set(string, string) error  { return errStatusOnly }
func (s statusOnly) Kick(uint64) error         { return errStatusOnly }
func (s statusOnly) Metrics(w io.Writer) error { return errStatusOnly }
