// Package observe turns what happens into what an administrator can read: the
// log, the status snapshot, and the STATUS= line of systemd.
//
//	supervisor.Event ─┐              ┌─▶ log (logrus)
//	                  ├─▶ Observer ──┤
//	proxy.Event ──────┘              └─▶ Changed ──▶ Line(Status) ──▶ STATUS=
//
// It decides nothing, and counts nothing that somebody else counts: the
// numbers of a [Status] are asked of those who own them when it is made.
package observe

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/tiproxy/tiproxy/proxy"
	"github.com/tiproxy/tiproxy/supervisor"
)

const (
	// reminder is how often the log repeats what the clients run into: often
	// enough to be found, too seldom to fill a disk.
	reminder = time.Minute
	// settle is how long changes may pile up before STATUS= is renewed.
	settle = 500 * time.Millisecond
)

// Observer is where all events arrive. Its methods may be called from any
// goroutine.
type Observer struct {
	log     *logrus.Logger
	changed func() // tells that the STATUS= line may be another

	mu      sync.Mutex
	pending bool                 // changed will be called soon
	said    map[string]time.Time // reminders by their key, when they were last given
}

// New makes an Observer. changed is called, at most twice a second, after
// something happened; nil: nobody wants to know.
func New(log *logrus.Logger, changed func()) *Observer {
	return &Observer{log: log, changed: changed, said: map[string]time.Time{}}
}

// Backend takes an event of the supervisor.
func (o *Observer) Backend(e supervisor.Event) {
	switch e := e.(type) {
	case supervisor.OutputEvent:
		o.log.WithField("pid", e.PID).Info("backend: " + e.Line)
		return // what it says changes nothing of ours
	case supervisor.LaunchEvent:
		o.log.WithFields(fields{"pid": e.PID, "generation": e.Generation}).Infof("starting the backend: %s", strings.Join(e.Command, " "))
	case supervisor.ReadyEvent:
		o.log.WithFields(fields{"pid": e.PID, "generation": e.Generation}).Infof("the backend is ready after %s", short(e.After))
	case supervisor.StopEvent:
		o.log.WithFields(fields{"pid": e.PID, "generation": e.Generation}).Infof("stopping the backend: %s", e.Reason)
	case supervisor.KillEvent:
		o.log.WithFields(fields{"pid": e.PID, "generation": e.Generation}).
			Warnf("the backend did not end within %s (StopTimeoutSec=): killing it", short(e.After))
	case supervisor.ExitEvent:
		o.exited(e)
	case supervisor.FailEvent:
		o.log.WithField("generation", e.Generation).Errorf("cannot start the backend: %v%s", e.Err, retry(e.Retry))
	case supervisor.StrangerEvent:
		o.log.WithField("generation", e.Generation).Error(e.Err)
	case supervisor.CutEvent:
		o.log.WithField("generation", e.Generation).Warnf("connections kept the backend from being replaced for %s (RecycleGraceSec=): cutting them", short(e.After))
	case supervisor.FreezeEvent:
		o.frozen(e)
	case supervisor.TextEvent:
		o.log.WithField("generation", e.Generation).Infof("backend status: %s", e.Text)
	case supervisor.NotifyEvent:
		o.log.WithField("generation", e.Generation).Warn(e.Err)
	}
	o.change()
}

func (o *Observer) frozen(e supervisor.FreezeEvent) {
	entry := o.log.WithFields(fields{"pid": e.PID, "generation": e.Generation})
	if e.Frozen {
		entry.Info("the idle backend is frozen")
	} else {
		entry.Info("the backend is thawed")
	}
}

func (o *Observer) exited(e supervisor.ExitEvent) {
	entry := o.log.WithFields(fields{"pid": e.PID, "generation": e.Generation})
	switch {
	case e.Wanted:
		entry.Infof("the backend has ended: %s", e.Status)
	case e.Retry == 0:
		entry.Infof("the backend has ended by itself: %s; the next client starts it again", e.Status)
	default:
		entry.Warnf("the backend has ended unasked: %s%s", e.Status, retry(e.Retry))
	}
}

// Connection takes an event of the proxy.
func (o *Observer) Connection(e proxy.Event) {
	switch e := e.(type) {
	case proxy.WaitEvent:
		o.remind("wait", func() {
			o.log.Info("clients wait in line, because MaxConnections= (--connections) lets no more in at once")
		})
	case proxy.EndEvent:
		o.ended(e)
	case proxy.StarvedEvent:
		o.remind("starved", func() {
			o.log.Errorf("cannot accept connections for now: %v; raise LimitNOFILE= of the service or lower MaxConnections=", e.Err)
		})
	case proxy.DrainEvent:
		o.log.Infof("stopping: no new clients; %d still here, for at most %s (DrainSec=)", e.Clients, short(e.Limit))
	}
	o.change()
}

// ended writes the one line that each client gets.
func (o *Observer) ended(e proxy.EndEvent) {
	entry := o.log.WithFields(fields{"client": e.Client.Addr.String(), "session": e.Client.Number, "waited": short(e.Waited)})
	if e.Client.Listener != "" {
		entry = entry.WithField("listener", e.Client.Listener)
	}
	switch e.Outcome {
	case proxy.Served:
		entry = entry.WithFields(fields{"served": short(e.Inside), "in": e.FromClient, "out": e.FromBackend})
		if e.Err != nil {
			entry.Infof("served, and ended%s", because(e))
			return
		}
		entry.Info("served")
	case proxy.Refused:
		o.remind("refused", func() { entry.Warnf("refused: %v; %s", e.Err, e.Hint()) })
	case proxy.Left:
		entry.Infof("left: %v", e.Err)
	case proxy.Unserved:
		entry.Warnf("not served: %v", e.Err)
	}
}

func because(e proxy.EndEvent) string {
	if e.FailedSide == "" {
		return ": " + e.Err.Error()
	}
	return " by the " + e.FailedSide + ": " + e.Err.Error()
}

// remind says something at most once in a while.
func (o *Observer) remind(key string, say func()) {
	o.mu.Lock()
	now := time.Now()
	due := now.Sub(o.said[key]) >= reminder
	if due {
		o.said[key] = now
	}
	o.mu.Unlock()
	if due {
		say()
	}
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

type fields = logrus.Fields

func retry(after time.Duration) string {
	if after == 0 {
		return ""
	}
	return fmt.Sprintf("; next start in %s, if somebody waits", short(after))
}

// short writes a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
