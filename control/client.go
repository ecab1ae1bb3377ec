package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// maxAnswer bounds what is read of an answer, in bytes: many times the longest,
// that of a line of 20,000.
const maxAnswer = 32 << 20

// Client asks one tiproxy, and has it do things. Each request waits 5 s at most,
// and less if its ctx ends. The JSON of an answer is what came, with the fields
// that this version does not know, too.
//
// Errors say what to do, and wrap [fs.ErrNotExist], [syscall.ECONNREFUSED] and
// [fs.ErrPermission]; what tiproxy refused is in its own words.
type Client struct {
	Path string // of the control socket
	Unit string // systemd's name for that tiproxy, without .service; "": it may be none of systemd's
}

// Status asks what tiproxy knows of itself; see [Print].
func (c Client) Status(ctx context.Context) (json.RawMessage, error) {
	return c.read(ctx, "the status", statusPath)
}

// Queue asks who waits in line: a [Queue].
func (c Client) Queue(ctx context.Context) (json.RawMessage, error) {
	return c.read(ctx, "the queue", queuePath)
}

// Sessions asks who is let in: [Sessions].
func (c Client) Sessions(ctx context.Context) (json.RawMessage, error) {
	return c.read(ctx, "the sessions", sessionsPath)
}

// Events asks what happened lately: [Events].
func (c Client) Events(ctx context.Context) (json.RawMessage, error) {
	return c.read(ctx, "the events", eventsPath)
}

// Restart has the backend replaced: once nobody is inside, or now.
func (c Client) Restart(ctx context.Context, now bool) error {
	return c.act(ctx, "restart the backend", restartPath, restart{now})
}

// Drain has nobody let in any more.
func (c Client) Drain(ctx context.Context) error {
	return c.act(ctx, "drain", drainPath, nothing{})
}

// Resume ends Drain.
func (c Client) Resume(ctx context.Context) error {
	return c.act(ctx, "resume", resumePath, nothing{})
}

// Set changes a setting, both as tiproxy.conf writes them.
func (c Client) Set(ctx context.Context, name, value string) error {
	return c.act(ctx, "set "+name+"=", setPath, setting{name: value})
}

// Kick ends the connection of a session.
func (c Client) Kick(ctx context.Context, session uint64) error {
	return c.act(ctx, fmt.Sprintf("kick session %d", session), kickPath, kick{&session})
}

func (c Client) read(ctx context.Context, what, name string) (json.RawMessage, error) {
	body, err := c.ask(ctx, http.MethodGet, name, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", what, err)
	}
	return body, nil
}

func (c Client) act(ctx context.Context, what, name string, body any) error {
	text, err := json.Marshal(body)
	if err == nil {
		_, err = c.ask(ctx, http.MethodPost, name, bytes.NewReader(text))
	}
	if err != nil {
		return fmt.Errorf("cannot %s: %w", what, err)
	}
	return nil
}

// ask makes one request. Its errors make sense behind "cannot do this: ".
func (c Client) ask(ctx context.Context, method, name string, body io.Reader) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://tiproxy"+name, body)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.Path)
		},
		DisableKeepAlives: true,
	}}
	response, err := client.Do(request)
	if err != nil {
		return nil, c.explain(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, c.explain(err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, refused(response.Status, text)
	}
	if !json.Valid(text) { // or longer than maxAnswer, and cut
		return nil, fmt.Errorf("what answers at %s is not a tiproxy", c.Path)
	}
	return text, nil
}

// refused is the sentence of an answer that is not 200.
func refused(status string, body []byte) error {
	var r refusal
	if err := json.Unmarshal(body, &r); err != nil || r.Error == "" {
		return errors.New("the answer is " + status)
	}
	return errors.New(r.Error)
}

// explain says what the error of a request means at a control socket.
func (c Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no tiproxy answers at %s: is it running? %s, or give its place with --control (%w)", c.Path, c.advice(), cause(err))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("only root, the user of that tiproxy and its ControlGroup= may ask at %s (%w)", c.Path, cause(err))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the tiproxy at %s does not answer (%w)", c.Path, context.DeadlineExceeded)
	}
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err // without Get "http://tiproxy/…"
	}
	return fmt.Errorf("%s: %w", c.Path, err)
}

// advice is where to look when nobody answers.
func (c Client) advice() string {
	if c.Unit == "" {
		return "See systemctl status tiproxy.socket"
	}
	return "See systemctl status " + c.Unit + ".socket"
}
