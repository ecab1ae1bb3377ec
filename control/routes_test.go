package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// get and post write a whole request.
func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }

func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

func TestRequests(t *testing.T) {
	f := &fake{status: map[string]int{"pid": 1}}
	path := socketPath(t)
	run(t, NewServer(mustBind(t, path), f))
	for _, c := range []struct {
		name, request string
		code          int
		json          string // in the body
		done          string // "": nothing
	}{
		{"status", get("/v1/status"), 200, `{"pid":1}` + "\n", ""},
		{"status for HTTP/1.0", "GET /v1/status HTTP/1.0\r\n\r\n", 200, `{"pid":1}`, ""},
		{"kept alive", "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", 200, `{"pid":1}`, ""},
		{"empty queue", get("/v1/queue"), 200, `{"waiting":[]}` + "\n", ""},
		{"no sessions", get("/v1/sessions"), 200, `{"sessions":[]}` + "\n", ""},
		{"no events", get("/v1/events"), 200, `{"events":[]}` + "\n", ""},

		{"restart", post("/v1/restart", `{"now":false}`), 200, "{}\n", "restart, now=false"},
		{"restart now", post("/v1/restart", ` {"now": true} `), 200, "{}\n", "restart, now=true"},
		{"restart without a body", post("/v1/restart", ""), 200, "{}\n", "restart, now=false"},
		{"drain", post("/v1/drain", "{}"), 200, "{}\n", "drain"},
		{"resume", post("/v1/resume", ""), 200, "{}\n", "resume"},
		{"set", post("/v1/set", `{"MaxConnections":"3"}`), 200, "{}\n", "set MaxConnections=3"},
		{"set to nothing", post("/v1/set", `{"AllowFrom":""}`), 200, "{}\n", "set AllowFrom="},
		{"kick", post("/v1/kick", `{"session":18446744073709551615}`), 200, "{}\n", "kick 18446744073709551615"},

		{"post of a status", post("/v1/status", "x"), 405, `{"error":"/v1/status does not know that method; ask with GET"}`, ""},
		{"post of a body that never comes", "POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n", 405, `{"error":`, ""},
		{"get of a deed", get("/v1/drain"), 405, `{"error":"/v1/drain does not know that method; ask with POST"}`, ""},
		{"delete", "DELETE /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 405, `{"error":`, ""},
		{"options", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, `{"error":`, ""},
		{"connect", "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", 404, `{"error":`, ""},
		{"root", get("/"), 404, `{"error":"there is nothing of that name here; ask for one of /metrics, /v1/drain, `, ""},
		{"another version", get("/v2/status"), 404, `{"error":`, ""},
		{"unclean path", get("//v1/../v1/status"), 404, `{"error":`, ""},

		{"no JSON", post("/v1/restart", "now"), 400, `{"error":"cannot understand the body: it is no JSON object; want {\"now\": true}"}`, ""},
		{"null", post("/v1/restart", "null"), 400, `{"error":"cannot understand the body: it is no JSON object`, ""},
		{"half an object", post("/v1/restart", `{"now":`), 400, `{"error":"cannot understand the body: unexpected EOF`, ""},
		{"two objects", post("/v1/restart", `{}{}`), 400, `{"error":"cannot understand the body: something follows`, ""},
		{"unknown field", post("/v1/restart", `{"later":true}`), 400, `{"error":"cannot understand the body: unknown field \"later\"; want`, ""},
		{"wrong type", post("/v1/restart", `{"now":"yes"}`), 400, `{"error":"cannot understand the body: now cannot be a string; want`, ""},
		{"drain with a field", post("/v1/drain", `{"now":true}`), 400, `{"error":"cannot understand the body: unknown field`, ""},
		{"no setting", post("/v1/set", `{}`), 400, `{"error":"cannot understand the body: it has 0 settings; want {\"MaxConnections\": \"3\"}"}`, ""},
		{"two settings", post("/v1/set", `{"A":"1","B":"2"}`), 400, `{"error":"cannot understand the body: it has 2 settings`, ""},
		{"a number", post("/v1/set", `{"MaxConnections":3}`), 400, `{"error":"cannot understand the body: a value cannot be a number; want`, ""},
		{"no session", post("/v1/kick", ``), 400, `{"error":"cannot understand the body: it has no session; want {\"session\": 7}"}`, ""},
		{"a session below 0", post("/v1/kick", `{"session":-1}`), 400, `{"error":"cannot understand the body: session cannot be a number -1; want`, ""},
		{"large body", post("/v1/set", `{"A":"`+strings.Repeat("a", maxBody)+`"}`), 413, `{"error":"the body is too large; 16384 bytes`, ""},
		{"large empty body", post("/v1/drain", strings.Repeat(" ", 1<<20)), 413, `{"error":`, ""},
		{"broken chunks", "POST /v1/drain HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 400, `{"error":"cannot understand the body: `, ""},

		{"not HTTP", "hello\r\n\r\n", 400, "", ""},
		{"1 MB path", get("/" + strings.Repeat("a", 1<<20)), 431, "", ""},
		{"huge header", "GET /v1/status HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", 431, "", ""},
		{"many headers", "GET /v1/status HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: a\r\n", 1<<16) + "\r\n", 431, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.done = nil
			response, body := ask(t, path, c.request)
			if response.StatusCode != c.code || !strings.HasPrefix(string(body), c.json) {
				t.Errorf("%d %.200q, want %d %s", response.StatusCode, body, c.code, c.json)
			}
			if c.json != "" && (!json.Valid(body) || response.Header.Get("Content-Type") != "application/json") {
				t.Errorf("not JSON: %s %q", response.Header.Get("Content-Type"), body)
			}
			if allow := response.Header.Get("Allow"); (allow != "") != (c.code == 405) {
				t.Errorf("Allow: %q", allow)
			}
			if done := strings.Join(f.done, "; "); done != c.done {
				t.Errorf("done: %q, want %q", done, c.done)
			}
		})
	}
}

// What a service answers to each of what it is asked to do.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{fmt.Errorf("there is no session 7: %w", ErrNotFound), 404, "there is no session 7"},
		{fmt.Errorf("Listen= cannot be changed while tiproxy runs: %w", ErrConflict), 409, "Listen= cannot be changed while tiproxy runs"},
		{fmt.Errorf("unknown setting: %w", ErrInvalid), 400, "unknown setting"},
		{fmt.Errorf("%w: in front", ErrInvalid), 400, "wrong request: in front"},
		{ErrConflict, 409, "not possible now"},
		{errors.New("the disk is full"), 500, "the disk is full"},
	} {
		for _, path := range []string{restartPath, drainPath, resumePath, setPath, kickPath, metricsPath} {
			request := map[string]string{setPath: `{"A":"1"}`, kickPath: `{"session":7}`}[path]
			w := httptest.NewRecorder()
			handler(&fake{err: c.err}, routes).ServeHTTP(w, httptest.NewRequest(routes[path].method, path, strings.NewReader(request)))
			var got refusal
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != c.code || got.Error != c.want {
				t.Errorf("%s: %d %s, want %d %s", path, w.Code, w.Body, c.code, c.want)
			}
		}
	}
}

func TestMetrics(t *testing.T) {
	path := socketPath(t)
	run(t, NewServer(mustBind(t, path), &fake{}))
	response, body := ask(t, path, get("/metrics"))
	if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 || !strings.HasPrefix(kind, "text/plain; version=0.0.4") || string(body) != "tiproxy_up 1\n" {
		t.Errorf("%d %s %q", response.StatusCode, kind, body)
	}
}

// The fields that scripts may rely on: all of them, and no others.
func TestFields(t *testing.T) {
	at := time.Date(2026, 11, 22, 14, 2, 11, 0, time.UTC)
	f := &fake{
		waiting:  []Waiting{{1, 12, "192.0.2.1:4242", "192.0.2.1", "web", 1_200_000}},
		sessions: []Session{{7, "192.0.2.1:4242", "web", "relaying", 5, 6, 123, 456, 2, 4711}},
		events:   []Event{{at, "info", "backend-ready", "the backend is ready"}},
	}
	path := socketPath(t)
	run(t, NewServer(mustBind(t, path), f))
	for of, want := range map[string]string{
		queuePath:    `{"waiting":[{"position":1,"session":12,"client":"192.0.2.1:4242","source":"192.0.2.1","listener":"web","waited_usec":1200000}]}`,
		sessionsPath: `{"sessions":[{"session":7,"client":"192.0.2.1:4242","listener":"web","state":"relaying","since_usec":5,"waited_usec":6,"in":123,"out":456,"generation":2,"pid":4711}]}`,
		eventsPath:   `{"events":[{"time":"2026-11-22T14:02:11Z","level":"info","event":"backend-ready","text":"the backend is ready"}]}`,
	} {
		if _, got := ask(t, path, get(of)); string(got) != want+"\n" {
			t.Errorf("%s:\n%s\nwant\n%s", of, got, want)
		}
	}
}

// Each deed of the client reaches the service, and its refusal comes back.
func TestClientActs(t *testing.T) {
	f := &fake{}
	path := socketPath(t)
	run(t, NewServer(mustBind(t, path), f))
	c, ctx := Client{Path: path}, t.Context()
	deeds := map[string]func() error{
		"restart, now=false":     func() error { return c.Restart(ctx, false) },
		"restart, now=true":      func() error { return c.Restart(ctx, true) },
		"drain":                  func() error { return c.Drain(ctx) },
		"resume":                 func() error { return c.Resume(ctx) },
		"set MaxConnections=3":   func() error { return c.Set(ctx, "MaxConnections", "3") },
		"set Exec=a\"b\\ é\x01=": func() error { return c.Set(ctx, "Exec", "a\"b\\ é\x01=") },
		"kick 0":                 func() error { return c.Kick(ctx, 0) },
	}
	for want, do := range deeds {
		f.done, f.err = nil, nil
		if err := do(); err != nil || !slices.Equal(f.done, []string{want}) {
			t.Errorf("%v, done %q, want %q", err, f.done, want)
		}
	}
	f.err = fmt.Errorf("there is no session 7: %w", ErrNotFound)
	if err := c.Kick(ctx, 7); err == nil || err.Error() != "cannot kick session 7: there is no session 7" {
		t.Errorf("refused: %v", err)
	}
}

func TestClientReads(t *testing.T) {
	f := &fake{
		waiting:  []Waiting{{Position: 1, Session: 2}},
		sessions: []Session{{Session: 3}},
		events:   []Event{{Text: "four"}},
	}
	path := socketPath(t)
	run(t, NewServer(mustBind(t, path), f))
	c := Client{Path: path}
	var q Queue
	var s Sessions
	var e Events
	for _, a := range []struct {
		read func(context.Context) (json.RawMessage, error)
		to   any
	}{
		{c.Queue, &q},
		{c.Sessions, &s},
		{c.Events, &e},
	} {
		raw, err := a.read(t.Context())
		if err == nil {
			err = json.Unmarshal(raw, a.to)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if !reflect.DeepEqual([]any{q.Waiting, s.Sessions, e.Events}, []any{f.waiting, f.sessions, f.events}) {
		t.Errorf("got %+v, %+v, %+v", q, s, e)
	}
}

// Whatever a request's body says, it is refused with a sentence or it is one
// deed with what the body says.
func FuzzRequest(f *testing.F) {
	paths := slices.Sorted(maps.Keys(routes))
	for i := range paths {
		for _, body := range []string{"", "{}", `{"now":true}`, `{"MaxConnections":"3"}`, `{"session":7}`, `{"session":7}{}`, "null", "[1]", "{\"\xff\":\"\xfe\"}"} {
			f.Add(uint8(i), []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		path := paths[int(which)%len(paths)]
		service := &fake{}
		w := httptest.NewRecorder()
		handler(service, routes).ServeHTTP(w, httptest.NewRequest(routes[path].method, path, strings.NewReader(string(body))))
		acts := routes[path].method == "POST"
		var sentence refusal
		switch {
		case w.Code == 200 && acts && len(service.done) == 1 && w.Body.String() == "{}\n":
			if text := strings.TrimSpace(string(body)); text != "" && !json.Valid([]byte(text)) {
				t.Errorf("%s took %q", path, body)
			}
		case w.Code == 200 && !acts:
		case w.Code < 400 || w.Code > 499 || len(service.done) > 0:
			t.Errorf("%s of %q: %d %s, done: %q", path, body, w.Code, w.Body, service.done)
		case json.Unmarshal(w.Body.Bytes(), &sentence) != nil || sentence.Error == "":
			t.Errorf("%s of %q: no sentence in %s", path, body, w.Body)
		}
	})
}
