package main

import (
	"context"
	"time"

	"github.com/tiproxy/tiproxy/activation"
)

// watch tells systemd that we live, if it wants to hear that (WatchdogSec= of
// the unit, sd_watchdog_enabled(3)): twice in the time that it gives us, and only
// while who accepts, who relays and who owns the backend all answer. Without
// WatchdogSec= nothing ticks.
func (s *service) feedWatchdog(ctx context.Context) {
	limit := activation.WatchdogInterval()
	if limit == 0 {
		return
	}
	tick := time.NewTicker(limit / 2)
	defer tick.Stop()
	for {
		if s.answers(ctx) {
			if err := activation.Alive(); err != nil {
				s.log.Warn(err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// answers tells whether all parts do; it waits for them.
func (s *service) answers(ctx context.Context) bool {
	parts := []func(context.Context) error{s.relay.Ping}
	if s.backend != nil {
		parts = append(parts, s.backend.Ping)
	}
	for _, ping := range parts {
		if err := ping(ctx); err != nil {
			return false
		}
	}
	return true
}
