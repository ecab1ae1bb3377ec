// Package observe turns what happens into what an administrator can read: the
// log, the last events, the status snapshot, and the STATUS= line of systemd.
//
//	supervisor.Event ─┐               ┌─▶ log (logrus) ──▶ the journal, or a line of text or JSON
//	                  ├─▶ Observer ───┼─▶ Recent
//	proxy.Event ──────┤  (kinds.go)   └─▶ changed ──▶ Status.Line ──▶ STATUS=
//	hook.Event ───────┘
//
// It decides nothing, and counts nothing that somebody else counts: the
// numbers of a [Status] are asked of those who own them when it is made.
//
// Invariants:
//
//   - An event is one entry of the log, whose fields are those of its [Kind].
//     All formats are made of that entry.
//   - What LogClients= hides is hidden before there is an entry: nothing
//     behind the Observer can tell it.
//   - Clients that are refused or denied, and strangers at the notify socket,
//     may come without end: they cause a bounded number of entries.
package observe

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// settle is how long changes may pile up before STATUS= is renewed.
const settle = 500 * time.Millisecond

// Observer is where all events arrive. Its methods may be called from any
// goroutine.
type Observer struct {
	log     *logrus.Logger
	output  *logrus.Logger // the same for what the backend and the hooks wrote, whatever its level
	clients Clients
	changed func() // tells that the STATUS= line may be another

	reminders reminders
	recent    recent

	mu      sync.Mutex
	pending bool // changed will be called soon; written by change
}

// New makes an Observer that tells so much of the clients. changed is called,
// at most twice a second, after something happened; nil: nobody wants to know.
func New(log *logrus.Logger, clients Clients, changed func()) *Observer {
	return &Observer{
		log: log, output: newLogger(logrus.TraceLevel, log.Hooks), clients: clients, changed: changed,
		reminders: reminders{said: map[string]*said{}},
	}
}

// Recent answers the last fifty events of level info or above, the oldest
// first, whatever LogLevel= says. What the backend and the hooks write is not
// among them.
func (o *Observer) Recent() []Entry { return o.recent.all(o.quietEnd) }

// Reloaded takes the outcome of reading the configuration again: the settings
// that have changed, those whose change needs a restart, or why it failed.
func (o *Observer) Reloaded(changed, later []string, err error) {
	if err != nil {
		o.tell(logrus.ErrorLevel, &reloadFails, fields{keyReason: err.Error()},
			"cannot reload the configuration: "+err.Error()+"; the one before stays")
		return
	}
	o.tell(logrus.InfoLevel, &reloaded, fields{}, "the configuration was read again: "+changes(changed, later))
	o.change()
}

// Set takes a setting that an administrator has changed, as KEY=VALUE.
func (o *Observer) Set(setting string) {
	o.tell(logrus.InfoLevel, &settingSet, fields{}, "an administrator has set "+clean(setting)+", until tiproxy exits or reloads")
	o.change()
}

// Paused takes that nobody is let in any more, or that they are again.
func (o *Observer) Paused(is bool) {
	if is {
		o.tell(logrus.InfoLevel, &paused, fields{}, "nobody is let in any more, as an administrator wants it (drain): who comes waits until tiproxy resume")
	} else {
		o.tell(logrus.InfoLevel, &resumed, fields{}, "clients are let in again (resume)")
	}
	o.change()
}

type fields = logrus.Fields

// tell makes an event's one entry.
func (o *Observer) tell(level logrus.Level, k *Kind, f fields, text string) {
	e := o.entry(time.Now(), level, k, f, text)
	if level <= logrus.InfoLevel {
		o.recent.add(e)
	}
	e.Log(level, text)
}

// entry is an event as an entry of the log.
func (o *Observer) entry(at time.Time, level logrus.Level, k *Kind, f fields, text string) *logrus.Entry {
	f[keyEvent] = k
	e := logrus.NewEntry(o.log)
	e.Data, e.Message, e.Level, e.Time = f, text, level, at
	return e
}

// remind tells an event of a sort unless that has been done so many times in
// the last minute.
func (o *Observer) remind(sort string, most int, level logrus.Level, k *Kind, f fields, text string) {
	others, due := o.reminders.due(sort, most)
	if !due {
		return
	}
	if others > 0 {
		f[keyOthers] = others
		text = fmt.Sprintf("%s; %d more like this since the last one told", text, others)
	}
	o.tell(level, k, f, text)
}

// change has changed called once things have settled; no timer runs while
// nothing happens.
func (o *Observer) change() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil || o.pending {
		return
	}
	o.pending = true
	time.AfterFunc(settle, func() {
		o.mu.Lock()
		o.pending = false
		o.mu.Unlock()
		o.changed()
	})
}

// changes says which settings changed, and which of them not yet.
func changes(changed, later []string) string {
	var parts []string
	if len(changed) > 0 {
		parts = append(parts, strings.Join(changed, ", ")+" changed")
	}
	if len(later) > 0 {
		parts = append(parts, strings.Join(later, ", ")+" will change when tiproxy is restarted")
	}
	if len(parts) == 0 {
		return "nothing has changed"
	}
	return strings.Join(parts, "; ")
}
