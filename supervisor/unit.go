package supervisor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	bus "github.com/godbus/dbus/v5"
)

// busPatience is for one answer of systemd's; the D-Bus library's own is endless.
const busPatience = 25 * time.Second

// unit is the name of a service of systemd's that stands in for a child of
// ours. systemd starts, stops and signals it. Its cgroup is systemd's, too: we
// look into it, and never make, remove or freeze it.
//
// Each errand has a connection of its own, so that a bus that is restarted
// between two of them does not matter.
type unit string

// service is what systemd knows of a unit (org.freedesktop.systemd1(5)).
type service struct {
	main         int    // pid of its main process; 0: none
	group        string // its cgroup, from the root of the hierarchy; "": none
	result       string // "success", or why the unit failed
	code, status int32  // of the last main process, as in siginfo_t (sigaction(2)); 0: none has ended
}

// The values of service.code, si_code of SIGCHLD in linux's siginfo.h.
const (
	exitedByItself = 1
	killedBySignal = 2
	dumpedCore     = 3
)

// launchUnit returns when systemd has started the unit, or when ctx ends: then
// it is stopped again. One that runs already is taken as it is.
func (c *child) launchUnit(ctx context.Context) error {
	c.argv = []string{string(c.unit)}
	if err := c.unit.start(ctx); err != nil {
		return err
	}
	now, err := c.unit.look()
	if err != nil {
		return err
	}
	group := findCgroup(now.group)
	if group == nil {
		how, _ := now.ending()
		return fmt.Errorf("%s was started and has no process (%s); Unit= must name a service that stays", c.unit, how)
	}
	c.pid = now.main
	if members := group.members(); c.pid == 0 && len(members) > 0 {
		c.pid = members[0] // systemd does not know the main one either
	}
	c.main.Store(int64(c.pid))
	c.tree = &tree{leader: c.pid, main: &c.main, group: group}
	return nil
}

// waitUnit follows the unit to its end. systemd knows how the main process
// ended as soon as we do, for its SIGCHLD comes before our question.
func (c *child) waitUnit() {
	awaitEnd(c.pid)
	c.leave()
	c.tree.group.await()
	status, ok := "", false
	if now, err := c.unit.look(); err != nil {
		status = "unknown: " + err.Error()
	} else {
		status, ok = now.ending()
	}
	c.s.send(ending{child: c, status: status, ok: ok})
}

// stopUnit does not wait: waitUnit will see the end.
func (c *child) stopUnit() {
	if err := c.unit.stop(); err != nil {
		c.s.emit(NotifyEvent{c.gen, err})
	}
}

// killUnit has systemd kill all of the unit, or does so itself, should systemd
// not answer.
func (c *child) killUnit() {
	if err := c.unit.kill(); err != nil {
		c.s.emit(NotifyEvent{c.gen, err})
		c.tree.kill()
	}
}

// start has systemd start the unit, and waits for the job. If ctx ends first,
// the unit is stopped, and the error is ctx's cause.
func (u unit) start(ctx context.Context) error {
	err := u.runStartJob(ctx)
	if ctx.Err() == nil {
		return err
	}
	if err := u.stop(); err != nil {
		return fmt.Errorf("%w; %w", context.Cause(ctx), err)
	}
	return context.Cause(ctx)
}

func (u unit) runStartJob(ctx context.Context) error {
	conn, err := dbus.NewWithContext(ctx)
	if err != nil {
		return fmt.Errorf("cannot start %s: systemd cannot be reached over D-Bus: %w", u, err)
	}
	defer conn.Close()
	// Our own backoff stands in for the unit's start limit, which many clients
	// with pauses between them would run into. That it has not failed is no error.
	_ = conn.ResetFailedUnitContext(ctx, string(u))
	done := make(chan string, 1)
	if _, err := conn.StartUnitContext(ctx, string(u), "replace", done); err != nil {
		return u.refused("start", err)
	}
	select {
	case result := <-done:
		if result == "done" {
			return nil
		}
		now, err := u.look()
		if err != nil {
			return err
		}
		how, _ := now.ending()
		return u.notStarted(result, how)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop has systemd begin to stop the unit.
func (u unit) stop() error {
	return onBus(func(ctx context.Context, conn *dbus.Conn) error {
		_, err := conn.StopUnitContext(ctx, string(u), "replace", nil)
		return u.refused("stop", err)
	})
}

// kill has systemd send SIGKILL to all processes of the unit.
func (u unit) kill() error {
	return onBus(func(ctx context.Context, conn *dbus.Conn) error {
		return u.refused("kill", conn.KillUnitWithTarget(ctx, string(u), dbus.All, int32(syscall.SIGKILL)))
	})
}

// look asks systemd about the unit.
func (u unit) look() (now service, err error) {
	err = onBus(func(ctx context.Context, conn *dbus.Conn) error {
		all, err := conn.GetUnitTypePropertiesContext(ctx, string(u), "Service")
		if err != nil {
			return u.refused("ask about", err)
		}
		main, _ := all["MainPID"].(uint32)
		now.main = int(main)
		now.group, _ = all["ControlGroup"].(string)
		now.result, _ = all["Result"].(string)
		now.code, _ = all["ExecMainCode"].(int32)
		now.status, _ = all["ExecMainStatus"].(int32)
		return nil
	})
	return now, err
}

// onBus runs one errand.
func onBus(errand func(context.Context, *dbus.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), busPatience)
	defer cancel()
	conn, err := dbus.NewWithContext(ctx)
	if err != nil {
		return fmt.Errorf("cannot reach systemd over D-Bus: %w", err)
	}
	defer conn.Close()
	return errand(ctx, conn)
}

// refused says what to do about systemd's refusal; nil stays nil.
func (u unit) refused(what string, err error) error {
	if err == nil {
		return nil
	}
	refusal, _ := errors.AsType[bus.Error](err)
	switch refusal.Name {
	case "org.freedesktop.systemd1.NoSuchUnit":
		return fmt.Errorf("cannot %s %s: there is no such unit; install it, or correct Unit= (--unit)", what, u)
	case "org.freedesktop.systemd1.UnitMasked":
		return fmt.Errorf("cannot %s %s: it is masked; run: systemctl unmask %s", what, u, u)
	case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired":
		return fmt.Errorf("cannot %s %s: tiproxy may not manage units (%w); run it as root, with User=root in a drop-in of its service", what, u, err)
	}
	return fmt.Errorf("cannot %s %s: %w", what, u, err)
}

// notStarted says why a start job did not end as "done". The results are those
// of JobRemoved in org.freedesktop.systemd1(5); how is the unit's own ending.
func (u unit) notStarted(result, how string) error {
	switch result {
	case "failed":
		return fmt.Errorf("%s did not start: %s; see journalctl -u %s", u, how, u)
	case "dependency":
		return fmt.Errorf("%s did not start: a unit that it needs failed; see systemctl list-dependencies %s", u, u)
	case "timeout":
		return fmt.Errorf("%s did not start in its own time (JobTimeoutSec= of the unit)", u)
	case "canceled":
		return fmt.Errorf("%s did not start: another job came between, such as systemctl stop", u)
	}
	return fmt.Errorf("%s did not start: systemd calls the job %q", u, result)
}

// ending is how the unit ended, in the words of os.ProcessState, and systemd's
// own where they say more; ok: it did not fail, as systemd sees it.
func (s service) ending() (text string, ok bool) {
	switch s.code {
	case exitedByItself:
		text = "exit status " + strconv.Itoa(int(s.status))
	case killedBySignal:
		text = "signal: " + syscall.Signal(s.status).String()
	case dumpedCore:
		text = "signal: " + syscall.Signal(s.status).String() + " (core dumped)"
	default:
		return s.result, s.result == "success"
	}
	switch s.result {
	case "success", "exit-code", "signal", "core-dump":
	default:
		text += ", " + s.result
	}
	return text, s.result == "success"
}

// findCgroup is the cgroup that systemd names so; nil: there is none.
func findCgroup(path string) *cgroup {
	if path == "" {
		return nil
	}
	for _, mount := range hierarchies {
		if c := (&cgroup{filepath.Join(mount, path)}); c.exists() {
			return c
		}
	}
	return nil
}
