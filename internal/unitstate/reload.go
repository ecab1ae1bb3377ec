package unitstate

import (
	"context"
	"fmt"

	"github.com/coreos/go-systemd/v22/dbus"
)

// private connects to systemd itself, which is there before the bus is. It wants
// root.
func private(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return conn, nil
}

// ReadAgain has systemd run its generators and read all units again, as
// `systemctl daemon-reload` does, and returns when that is done. It wants root.
func ReadAgain(ctx context.Context) error {
	conn, err := private(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.ReloadContext(ctx); err != nil {
		return fmt.Errorf("systemd cannot read its units again: %w", err)
	}
	return nil
}

// Reload has a unit reloaded, and returns when that is done. It never takes the
// place of a job that waits for the unit, such as its stop. It wants root.
func Reload(ctx context.Context, name string) error {
	conn, err := private(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	done := make(chan string, 1)
	if _, err := conn.ReloadUnitContext(ctx, name, "fail", done); err != nil {
		return fmt.Errorf("systemd cannot reload %s: %w", name, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("systemd has not reloaded %s: %w", name, context.Cause(ctx))
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("systemd cannot reload %s (%s): see journalctl -u %[1]s", name, result)
		}
	}
	return nil
}
