package control

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxBody bounds the body of a request, in bytes: many times the longest value
// of a setting.
const maxBody = 16 << 10

var (
	errBody     = errors.New("cannot understand the body") // 400
	errTooLarge = errors.New("the body is too large")      // 413
)

// nothing is a body without anything in it.
type nothing struct{}

type restart struct {
	Now bool `json:"now"` // do not wait for those inside
}

func (r restart) do(s Service) error { return s.Restart(r.Now) }

// setting is one name with its value.
type setting map[string]string

func (all setting) do(s Service) error {
	if len(all) != 1 {
		return fmt.Errorf("%w: it has %d settings", errBody, len(all))
	}
	for name, value := range all {
		return s.Set(name, value)
	}
	return nil
}

type kick struct {
	Session *uint64 `json:"session"` // nil: not given
}

func (k kick) do(s Service) error {
	if k.Session == nil {
		return fmt.Errorf("%w: it has no session", errBody)
	}
	return s.Kick(*k.Session)
}

// decode reads a body: one JSON object without unknown fields, or nothing, which
// counts as an empty one. Its errors wrap errBody or errTooLarge.
func decode[Body any](r io.Reader) (body Body, err error) {
	text, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return body, fmt.Errorf("%w: %w", errBody, err)
	}
	if len(text) > maxBody {
		return body, fmt.Errorf("%w; %d bytes are the most", errTooLarge, maxBody)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return body, nil
	}
	if text[0] != '{' { // null would pass for an object
		return body, fmt.Errorf("%w: it is no JSON object", errBody)
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	err = in.Decode(&body)
	if wrong, is := errors.AsType[*json.UnmarshalTypeError](err); is { // its own words are about Go
		return body, fmt.Errorf("%w: %s cannot be a %s", errBody, cmp.Or(wrong.Field, "a value"), wrong.Value)
	}
	if err != nil {
		return body, fmt.Errorf("%w: %s", errBody, strings.TrimPrefix(err.Error(), "json: "))
	}
	if in.InputOffset() != int64(len(text)) {
		return body, fmt.Errorf("%w: something follows the JSON object", errBody)
	}
	return body, nil
}
