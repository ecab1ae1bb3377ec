package observe

import (
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// Kind is one kind of event, as the log tells it.
type Kind struct {
	Event     string   // its stable name: TIPROXY_EVENT
	MessageID string   // 128 bits in hex, for ever those of this kind: MESSAGE_ID of systemd.journal-fields(7)
	Fields    []string // keys of those fields that it may carry
	Usage     string   // one sentence: what has happened

	facts bool // the sentence needs its fields: they stand in the journal's MESSAGE, too
}

// Field is a fact that an entry of the log carries.
type Field struct {
	Key   string // in JSON
	Usage string

	label string // before the = in text; "": the sentence says it
}

// Journal is its name in the journal.
func (f Field) Journal() string { return "TIPROXY_" + strings.ToUpper(f.Key) }

// The keys of an entry's Data. Durations are time.Duration there, and integers
// of microseconds (_usec) in JSON and in the journal.
const (
	keyEvent      = "event" // the Kind, by pointer
	keyClient     = "client"
	keySession    = "session"
	keyListener   = "listener"
	keyOutcome    = "outcome"
	keyReason     = "reason"
	keyWait       = "wait_usec"
	keyServed     = "served_usec"
	keyBytesIn    = "bytes_in"
	keyBytesOut   = "bytes_out"
	keyOthers     = "others"
	keyGeneration = "generation"
	keyPID        = "backend_pid"
	keyTook       = "took_usec"
	keyHook       = "hook"
	keyInstance   = "instance"
)

// allFields are in the order in which a person reads them.
var allFields = []Field{
	{keyClient, "the client's address, as LogClients= allows", "client"},
	{keySession, "the number of its connection, from 1", "session"},
	{keyListener, "the name of the listener that it came by (FileDescriptorName=)", "listener"},
	{keyOutcome, "how far it came: served, refused, left, unserved or denied", ""},
	{keyReason, "why", ""},
	{keyWait, "how long it stood in line, in µs", "waited"},
	{keyServed, "how long it was inside, in µs", "served"},
	{keyBytesIn, "how many bytes the backend got of it", "in"},
	{keyBytesOut, "how many bytes it got of the backend", "out"},
	{keyOthers, "how many events like this one were left out since the last that was told", ""},
	{keyGeneration, "which start of the backend this is about, from 1", "generation"},
	{keyPID, "the backend's process", "pid"},
	{keyTook, "how long it took, in µs", ""},
	{keyHook, "which of [Hooks] in tiproxy.conf", ""},
	{keyInstance, "the instance of tiproxy@.service; none: tiproxy.service, or by hand", ""},
}

// Fields are all that an entry can carry, beside the name of its event. Each of
// them can carry the instance.
func Fields() []Field { return allFields }

// What happens to clients.
var (
	clientWaits = Kind{Event: "client-wait", MessageID: "04cc8f6c8d934ffb8a7d61821efc2ee3",
		Fields: []string{keyClient, keySession, keyListener},
		Usage:  "A client found the slots taken and stands in line (level debug).", facts: true}
	clientEnters = Kind{Event: "client-admit", MessageID: "24b58b0c37f4b3ff4650f74810e067e8",
		Fields: []string{keyClient, keySession, keyListener, keyWait},
		Usage:  "A client has its slot (level debug).", facts: true}
	lineForms = Kind{Event: "line-limit", MessageID: "20547f1bfd6140e5ad7a6102ce111dec",
		Fields: []string{keyOthers},
		Usage:  "Clients wait because MaxConnections= lets no more in; told once a minute."}
	sessionEnds = Kind{Event: "session-end", MessageID: "83ffbc4a8e624c169a5b204f61ce869d",
		Fields: []string{keyClient, keySession, keyListener, keyOutcome, keyReason, keyWait, keyServed, keyBytesIn, keyBytesOut, keyPID, keyOthers},
		Usage:  "A client is gone: the one line of each connection. Of those that were refused or denied, one a minute is told. With Mode=stdio it has the pid of its program, and no bytes are counted.", facts: true}
	acceptRests = Kind{Event: "accept-starved", MessageID: "d20b43ad4ade48d69c8c971030a4e2d7",
		Fields: []string{keyListener, keyReason, keyOthers},
		Usage:  "Connections cannot be accepted for lack of fds or memory; told once a minute."}
	drains = Kind{Event: "drain", MessageID: "1ac32fcfafba42e8a98c125a68870780",
		Usage: "tiproxy stops: no new clients, and DrainSec= for those who are here."}
)

// What happens to the backend.
var (
	backendStarts = Kind{Event: "backend-start", MessageID: "aa9ad05ee1bc4cb7b378a72531b9616b",
		Fields: []string{keyGeneration, keyPID},
		Usage:  "The backend was started."}
	backendReady = Kind{Event: "backend-ready", MessageID: "6623e293c55e4eb699614672e974b74b",
		Fields: []string{keyGeneration, keyPID, keyTook},
		Usage:  "It is ready for clients."}
	backendStops = Kind{Event: "backend-stop", MessageID: "0c46d4d9b0834aeba4a39311d47aa742",
		Fields: []string{keyGeneration, keyPID, keyReason},
		Usage:  "It is told to end."}
	backendKilled = Kind{Event: "backend-kill", MessageID: "c7b2cef87088421283f7fb7d8b33cdd5",
		Fields: []string{keyGeneration, keyPID},
		Usage:  "It did not end within StopTimeoutSec= and is killed."}
	backendExits = Kind{Event: "backend-exit", MessageID: "3e5d614473f7474687664583277ded17",
		Fields: []string{keyGeneration, keyPID, keyReason},
		Usage:  "It has ended, and nothing of its processes is left."}
	backendFails = Kind{Event: "backend-fail", MessageID: "fdca8bb5c84e491a8b68427270228327",
		Fields: []string{keyGeneration, keyReason},
		Usage:  "It could not be started."}
	backendStranger = Kind{Event: "backend-stranger", MessageID: "3086f9daf2a0430c99d40db8149ae64e",
		Fields: []string{keyGeneration, keyReason},
		Usage:  "Another process holds its address."}
	backendCut = Kind{Event: "backend-cut", MessageID: "040d3352e57444698fb9b5d48b598b73",
		Fields: []string{keyGeneration},
		Usage:  "Connections did not end within RecycleGraceSec= and are cut, so that it can be replaced."}
	backendFrozen = Kind{Event: "backend-freeze", MessageID: "5acafa70661d4f2f98d821dff0109ca9",
		Fields: []string{keyGeneration, keyPID},
		Usage:  "Nobody uses it: its processes stand still."}
	backendThawed = Kind{Event: "backend-thaw", MessageID: "5ee6dc79dd9c43a4821d8ad9763391a5",
		Fields: []string{keyGeneration, keyPID},
		Usage:  "Its processes go on."}
	backendSays = Kind{Event: "backend-status", MessageID: "c1e033c2395845c593ac001b4b083c1c",
		Fields: []string{keyGeneration},
		Usage:  "It said how it does (STATUS= of sd_notify)."}
	backendTrouble = Kind{Event: "backend-trouble", MessageID: "c022d3383e29416bbea584d6775376fd",
		Fields: []string{keyGeneration, keyReason, keyOthers},
		Usage:  "A message on its notify socket was ignored, or it could not be stopped or frozen as it should; told five times a minute."}
	backendOutput = Kind{Event: "backend-output", MessageID: "5b6b6afcec7542689aa1451525717dca",
		Fields: []string{keyPID},
		Usage:  "A line that it wrote to its stdout or stderr; all are told, whatever LogLevel= says."}
)

// What happens to the hooks.
var (
	hookEnds = Kind{Event: "hook-end", MessageID: "1a56147bdf5b48bfbb36bb4a3732cf80",
		Fields: []string{keyHook, keyReason, keyTook},
		Usage:  "A command of [Hooks] has ended: it failed, or (level debug) went well."}
	hooksLost = Kind{Event: "hook-lost", MessageID: "fe89aadc58fe4297b977f1ceab2f58c7",
		Usage: "Too many of them wait for those before: some will not run."}
	hookOutput = Kind{Event: "hook-output", MessageID: "6ac58ff5e04a4a11a89655ca1e51c1e8",
		Fields: []string{keyHook},
		Usage:  "A line that one wrote; all are told, as the backend's."}
)

// What happens to tiproxy itself.
var (
	reloaded = Kind{Event: "reload", MessageID: "04bb24fde1af48efa48bcf0dae69192d",
		Usage: "The configuration was read again."}
	settingSet = Kind{Event: "set", MessageID: "d5c250f135313f7a89490efda4ce5215",
		Usage: "An administrator has changed a setting until the next reload or start (tiproxy set)."}
	paused = Kind{Event: "pause", MessageID: "ac4155d427f69d8359abeebf6546cd3d",
		Usage: "Nobody is let in any more: who comes waits (tiproxy drain)."}
	resumed = Kind{Event: "resume", MessageID: "a35a2f917e99491f4768280b0ceb4a3f",
		Usage: "Clients are let in again (tiproxy resume)."}
	reloadFails = Kind{Event: "reload-fail", MessageID: "6672f87961f4472aa55b0b008a8935de",
		Fields: []string{keyReason},
		Usage:  "The configuration could not be read again; the one before stays."}
)

// Kinds are all kinds of events. Names and message IDs stay as they are.
func Kinds() []Kind {
	return []Kind{
		clientWaits, clientEnters, lineForms, sessionEnds, acceptRests, drains,
		backendStarts, backendReady, backendStops, backendKilled, backendExits, backendFails, backendStranger,
		backendCut, backendFrozen, backendThawed, backendSays, backendTrouble, backendOutput,
		hookEnds, hooksLost, hookOutput,
		settingSet, paused, resumed, reloaded, reloadFails,
	}
}

// kindOf is the kind of an entry; nil: it tells no event.
func kindOf(e *logrus.Entry) *Kind {
	kind, _ := e.Data[keyEvent].(*Kind)
	return kind
}

// plain is a field's value for a program: text, or an integer.
func plain(value any) any {
	switch v := value.(type) {
	case time.Duration:
		return v.Microseconds()
	case string:
		return clean(v)
	}
	return value
}
