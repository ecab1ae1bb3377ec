package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	statusPath   = "/v1/status"
	queuePath    = "/v1/queue"
	sessionsPath = "/v1/sessions"
	eventsPath   = "/v1/events"
	restartPath  = "/v1/restart"
	drainPath    = "/v1/drain"
	resumePath   = "/v1/resume"
	setPath      = "/v1/set"
	kickPath     = "/v1/kick"
	metricsPath  = "/metrics"
)

// route is what one path does.
type route struct {
	method string
	serve  func(Service, *http.Request) (answer, error)
}

// answer is the body of a 200.
type answer struct {
	kind string // Content-Type
	text []byte
}

var routes = map[string]route{
	statusPath:   reads(Service.Status),
	queuePath:    reads(func(s Service) any { return Queue{some(s.Queue())} }),
	sessionsPath: reads(func(s Service) any { return Sessions{some(s.Sessions())} }),
	eventsPath:   reads(func(s Service) any { return Events{some(s.Events())} }),
	restartPath:  acts(`{"now": true}`, restart.do),
	drainPath:    acts(`{}`, func(_ nothing, s Service) error { return s.Drain() }),
	resumePath:   acts(`{}`, func(_ nothing, s Service) error { return s.Resume() }),
	setPath:      acts(`{"MaxConnections": "3"}`, setting.do),
	kickPath:     acts(`{"session": 7}`, kick.do),
	metricsPath:  {http.MethodGet, metrics},
}

// some makes JSON write [] for no elements.
func some[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// reads answers what look sees, as JSON.
func reads(look func(Service) any) route {
	return route{http.MethodGet, func(s Service, _ *http.Request) (answer, error) {
		return asJSON(look(s))
	}}
}

// acts has the service do something, with what the body of the request says; it
// looks like the example.
func acts[Body any](example string, do func(Body, Service) error) route {
	return route{http.MethodPost, func(s Service, r *http.Request) (answer, error) {
		body, err := decode[Body](r.Body)
		if err == nil {
			err = do(body, s)
		}
		if errors.Is(err, errBody) {
			err = fmt.Errorf("%w; want %s", err, example)
		}
		if err != nil {
			return answer{}, err
		}
		return asJSON(nothing{})
	}}
}

func metrics(s Service, _ *http.Request) (answer, error) {
	var text bytes.Buffer
	if err := s.Metrics(&text); err != nil {
		return answer{}, err
	}
	return answer{"text/plain; version=0.0.4; charset=utf-8", text.Bytes()}, nil
}

func asJSON(body any) (answer, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return answer{}, fmt.Errorf("cannot write the answer as JSON: %w", err)
	}
	return answer{"application/json", append(text, '\n')}, nil
}

// handler answers requests by exact path: http.ServeMux would redirect the paths
// that it finds unclean.
func handler(service Service, routes map[string]route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route, known := routes[r.URL.Path]
		if !known {
			all := slices.Sorted(maps.Keys(routes))
			refuse(w, http.StatusNotFound, "there is nothing of that name here; ask for one of "+strings.Join(all, ", "))
			return
		}
		if r.Method != route.method {
			w.Header().Set("Allow", route.method)
			refuse(w, http.StatusMethodNotAllowed, r.URL.Path+" does not know that method; ask with "+route.method)
			return
		}
		a, err := route.serve(service, r)
		if err != nil {
			code, sentence := verdict(err)
			refuse(w, code, sentence)
			return
		}
		a.write(w, http.StatusOK)
	})
}

// verdicts are the statuses of errors; all others are 500.
var verdicts = []struct {
	kind error
	code int
}{
	{errBody, http.StatusBadRequest},
	{errTooLarge, http.StatusRequestEntityTooLarge},
	{ErrInvalid, http.StatusBadRequest},
	{ErrNotFound, http.StatusNotFound},
	{ErrConflict, http.StatusConflict},
}

// verdict is how an error is told: the sentence without its kind at the end,
// which the status says already.
func verdict(err error) (code int, sentence string) {
	for _, v := range verdicts {
		if errors.Is(err, v.kind) {
			return v.code, strings.TrimSuffix(err.Error(), ": "+v.kind.Error())
		}
	}
	return http.StatusInternalServerError, err.Error()
}

// refusal is the body of every answer but 200.
type refusal struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, code int, sentence string) {
	a, _ := asJSON(refusal{sentence}) // a string can always be written
	a.write(w, code)
}

func (a answer) write(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.text)))
	w.WriteHeader(code)
	w.Write(a.text)
}
