// Package unitstate asks systemd why a tiproxy does not answer: it sleeps behind
// its socket unit, or something is wrong with one of its two units.
//
//	socket      service     the tiproxy
//	listening   inactive    sleeps, and the next client wakes it
//	any         failed      has failed
//	failed      any         cannot be reached
//	inactive    inactive    is not enabled, or not installed
//	any         active      runs, and should have answered
//
// That only reads (org.freedesktop.systemd1(5)), which any user may. And it has
// systemd read again what has changed, which wants root: its units, or one unit
// its settings.
package unitstate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// patience is how long systemd may take to answer, while a person waits.
const patience = 5 * time.Second

// ErrUnknown is wrapped by what Asleep answers when systemd does not tell.
var ErrUnknown = errors.New("systemd cannot be asked")

// unit is what systemd says of one unit.
type unit struct {
	name  string
	load  string    // "loaded", "not-found", "masked" and so on
	state string    // ActiveState: "active", "failed" and so on
	sub   string    // SubState: the socket's "listening", for example
	since time.Time // the last change of the two; zero: none since boot
	file  string    // UnitFileState: "enabled", "generated" and so on
}

// Asleep answers since when a tiproxy sleeps ("tiproxy", or "tiproxy@shop"); zero
// if systemd does not know since when. If it does not sleep, the error says in one
// sentence what is wrong and what to do; it wraps ErrUnknown if systemd cannot be
// asked.
func Asleep(ctx context.Context, name string) (since time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := dbus.NewWithContext(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	defer conn.Close()
	socket, err := look(ctx, conn, name+".socket")
	if err != nil {
		return time.Time{}, err
	}
	service, err := look(ctx, conn, name+".service")
	if err != nil {
		return time.Time{}, err
	}
	if socket.state == "failed" && service.state == "inactive" {
		if other, at := rival(ctx, conn, socket.name); other != "" {
			return time.Time{}, fmt.Errorf("%s has failed, because %s listens at %s: give one of them another ListenStream= (systemctl edit %[1]s)", socket.name, other, at)
		}
	}
	return judge(socket, service)
}

// look asks about a unit. One that does not exist is not an error.
func look(ctx context.Context, conn *dbus.Conn, name string) (unit, error) {
	all, err := conn.GetUnitPropertiesContext(ctx, name)
	if err != nil {
		return unit{}, fmt.Errorf("%w about %s: %w", ErrUnknown, name, err)
	}
	u := unit{name: name}
	u.load, _ = all["LoadState"].(string)
	u.state, _ = all["ActiveState"].(string)
	u.sub, _ = all["SubState"].(string)
	if usec, _ := all["StateChangeTimestamp"].(uint64); usec != 0 {
		u.since = time.UnixMicro(int64(usec))
	}
	u.file, _ = all["UnitFileState"].(string)
	return u, nil
}

// judge is the table of the package. The socket's last change is when it began
// to listen by itself again.
func judge(socket, service unit) (since time.Time, err error) {
	switch {
	case service.state == "failed":
		return since, fmt.Errorf("%s has failed: see journalctl -u %s", service.name, service.name)
	case service.sub == "auto-restart":
		return since, fmt.Errorf("%s fails, and systemd tries again: see journalctl -u %s", service.name, service.name)
	case service.state != "inactive":
		return since, fmt.Errorf("%s is %s (%s): ask again, or see journalctl -u %s", service.name, service.state, service.sub, service.name)
	case socket.load == "not-found":
		return since, fmt.Errorf("%s is not installed", socket.name)
	case socket.load == "masked":
		return since, fmt.Errorf("%s is masked; run: systemctl unmask %s", socket.name, socket.name)
	case socket.load != "loaded":
		return since, fmt.Errorf("%s cannot be loaded (%s): see systemctl status %s", socket.name, socket.load, socket.name)
	case socket.state == "failed":
		return since, fmt.Errorf("%s has failed: see systemctl status %s", socket.name, socket.name)
	case socket.state != "active" && socket.file == "generated": // by tiproxy-inetd's generator; it cannot be enabled
		return since, fmt.Errorf("%s does not listen; run: systemctl start %s", socket.name, socket.name)
	case socket.state != "active":
		return since, fmt.Errorf("%s does not listen; run: systemctl enable --now %s", socket.name, socket.name)
	}
	return socket.since, nil
}
