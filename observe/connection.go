package observe

import (
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/tiproxy/tiproxy/access"
	"github.com/tiproxy/tiproxy/proxy"
)

// Connection takes an event of the proxy.
func (o *Observer) Connection(e proxy.Event) {
	switch e := e.(type) {
	case proxy.WaitEvent:
		if o.log.IsLevelEnabled(logrus.DebugLevel) {
			o.tell(logrus.DebugLevel, &clientWaits, o.about(e.Client), "waits in line")
		}
		o.remind(lineForms.Event, 1, logrus.InfoLevel, &lineForms, fields{},
			"clients wait in line, because MaxConnections= (--connections) lets no more in at once")
	case *proxy.AdmitEvent:
		if o.log.IsLevelEnabled(logrus.DebugLevel) {
			f := o.about(e.Client)
			f[keyWait] = e.Waited
			o.tell(logrus.DebugLevel, &clientEnters, f, "is let in")
		}
	case *proxy.EndEvent:
		if e.Outcome == proxy.Served && !o.log.IsLevelEnabled(logrus.InfoLevel) {
			o.recent.addEnd(time.Now(), *e)
		} else {
			o.ended(e)
		}
	case proxy.StarvedEvent:
		f := fields{keyReason: e.Err.Error()}
		if e.Listener != "" {
			f[keyListener] = e.Listener
		}
		o.remind(acceptRests.Event, 1, logrus.ErrorLevel, &acceptRests, f,
			fmt.Sprintf("cannot accept connections for now: %v; raise LimitNOFILE= of the service or lower MaxConnections=", e.Err))
	case proxy.DrainEvent:
		o.tell(logrus.InfoLevel, &drains, fields{},
			fmt.Sprintf("stopping: no new clients; %d still here, for at most %s (DrainSec=)", e.Clients, short(e.Limit)))
	}
	o.change()
}

// about are the fields that say who a client is.
func (o *Observer) about(c proxy.Client) fields {
	f := fields{keySession: c.Number}
	if name := o.clients.name(c); name != "" {
		f[keyClient] = name
	}
	if c.Listener != "" {
		f[keyListener] = c.Listener
	}
	return f
}

// quietEnd is the entry of a served client about whom LogLevel= wants no line.
func (o *Observer) quietEnd(at time.Time, e *proxy.EndEvent) *logrus.Entry {
	f, reason := o.outcome(e)
	return o.entry(at, logrus.InfoLevel, &sessionEnds, f, served(e, f, reason))
}

// outcome are the fields that say how a client ended, and why; "": both sides
// closed in order.
func (o *Observer) outcome(e *proxy.EndEvent) (f fields, reason string) {
	f = o.about(e.Client)
	f[keyOutcome] = string(e.Outcome)
	f[keyWait] = e.Waited
	if reason = o.reason(e); reason != "" {
		f[keyReason] = reason
	}
	return f, reason
}

// served adds the fields of a served client, and answers the text.
func served(e *proxy.EndEvent, f fields, reason string) string {
	f[keyServed] = e.Inside
	if e.PID != 0 {
		f[keyPID] = e.PID
	} else {
		f[keyBytesIn], f[keyBytesOut] = e.FromClient, e.FromBackend
	}
	return "served" + ending(e.FailedSide, reason)
}

// ended makes the one entry that each client gets. Of those that nobody let in
// there may be any number: one a minute stands for them.
func (o *Observer) ended(e *proxy.EndEvent) {
	f, reason := o.outcome(e)
	switch e.Outcome {
	case proxy.Served:
		o.tell(logrus.InfoLevel, &sessionEnds, f, served(e, f, reason))
	case proxy.Refused:
		if hint := e.Hint(); hint != "" {
			reason += "; " + hint
		}
		o.remind(string(proxy.Refused), 1, logrus.WarnLevel, &sessionEnds, f, "refused: "+reason)
	case proxy.Denied:
		o.remind(string(proxy.Denied), 1, logrus.WarnLevel, &sessionEnds, f, "denied: "+reason)
	case proxy.Left:
		o.tell(logrus.InfoLevel, &sessionEnds, f, "left: "+reason)
	case proxy.Unserved:
		if errors.Is(e.Err, proxy.ErrNoProgram) { // as long as nobody mends the command, everybody meets that
			o.remind(string(proxy.Unserved), 1, logrus.ErrorLevel, &sessionEnds, f, "not served: "+reason)
			return
		}
		o.tell(logrus.WarnLevel, &sessionEnds, f, "not served: "+reason)
	}
}

// reason is why a client is gone, without what is not told of it; "": both
// sides closed in order.
func (o *Observer) reason(e *proxy.EndEvent) string {
	if e.Err == nil {
		return ""
	}
	var refusal *access.Refusal // names the user of a UNIX client, too
	if o.clients != ClientsFull && errors.As(e.Err, &refusal) {
		return o.clients.hide(refusal.Why, e.Client)
	}
	return o.clients.hide(e.Err.Error(), e.Client)
}

// ending says why a served client is gone; side is the one that failed, "" if
// none did, and reason "" if both closed in order.
func ending(side, reason string) string {
	switch {
	case reason == "":
		return ""
	case side == "":
		return ", and ended: " + reason
	}
	return ", and ended by the " + side + ": " + reason
}
