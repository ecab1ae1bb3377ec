package control

import (
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

// maxAnswer bounds what is read of an answer, in bytes: many times the longest
// status, that of a tiproxy with a hundred listeners.
const maxAnswer = 1 << 20

// Status asks the tiproxy whose control socket is at path what it knows of
// itself, and answers its JSON. It waits 5 s at most, and less if ctx ends. Its
// errors say what to do, and wrap [fs.ErrNotExist], [syscall.ECONNREFUSED] and
// [fs.ErrPermission].
func Status(ctx context.Context, path string) (json.RawMessage, error) {
	body, err := get(ctx, path, statusPath)
	if err != nil {
		return nil, fmt.Errorf("cannot read the status: %w", explain(path, err))
	}
	return body, nil
}

func get(ctx context.Context, path, name string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tiproxy"+name, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, refused(response.Status, body)
	}
	if !json.Valid(body) { // or longer than maxAnswer, and cut
		return nil, errors.New("what answers there is not a tiproxy")
	}
	return body, nil
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
func explain(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no tiproxy answers at %s: is it running? See systemctl status tiproxy.socket, or give its place with --control (%w)", path, cause(err))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("only root and the user of that tiproxy may ask at %s (%w)", path, cause(err))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the tiproxy at %s does not answer (%w)", path, context.DeadlineExceeded)
	}
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err // without Get "http://tiproxy/…"
	}
	return fmt.Errorf("%s: %w", path, err)
}
