package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	bus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

func TestEndingOfAUnitInWords(t *testing.T) {
	var tests = []struct {
		is   service
		want string
		ok   bool
	}{
		{service{result: "success", code: exitedByItself}, "exit status 0", true},
		{service{result: "exit-code", code: exitedByItself, status: 3}, "exit status 3", false},
		{service{result: "success", code: exitedByItself, status: 143}, "exit status 143", true}, // SuccessExitStatus=
		{service{result: "success", code: killedBySignal, status: int32(unix.SIGTERM)}, "signal: terminated", true},
		{service{result: "signal", code: killedBySignal, status: int32(unix.SIGKILL)}, "signal: killed", false},
		{service{result: "core-dump", code: dumpedCore, status: int32(unix.SIGSEGV)}, "signal: segmentation fault (core dumped)", false},
		{service{result: "oom-kill", code: killedBySignal, status: int32(unix.SIGKILL)}, "signal: killed, oom-kill", false},
		{service{result: "timeout", code: exitedByItself}, "exit status 0, timeout", false},
		{service{result: "resources"}, "resources", false},
		{service{result: "success"}, "success", true},
	}
	for _, tt := range tests {
		if got, ok := tt.is.ending(); got != tt.want || ok != tt.ok {
			t.Errorf("%+v: got %q, %v, want %q, %v", tt.is, got, ok, tt.want, tt.ok)
		}
	}
}

func TestRefusalSaysWhatToDo(t *testing.T) {
	u := unit("shop.service")
	if err := u.refused("start", nil); err != nil {
		t.Errorf("no refusal: got %v", err)
	}
	for name, want := range map[string]string{
		"org.freedesktop.systemd1.NoSuchUnit":                         "install it, or correct Unit=",
		"org.freedesktop.systemd1.UnitMasked":                         "systemctl unmask shop.service",
		"org.freedesktop.DBus.Error.AccessDenied":                     "User=root",
		"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired": "User=root",
		"org.freedesktop.systemd1.Other":                              "systemd's words",
	} {
		err := u.refused("start", fmt.Errorf("wrapped: %w", bus.Error{Name: name, Body: []any{"systemd's words"}}))
		if !strings.HasPrefix(err.Error(), "cannot start shop.service: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, want %q in it", name, err, want)
		}
	}
}

func TestFailedStartJobSaysWhy(t *testing.T) {
	for result, want := range map[string]string{
		"failed":     "exit status 1; see journalctl -u shop.service",
		"dependency": "a unit that it needs",
		"timeout":    "JobTimeoutSec=",
		"canceled":   "systemctl stop",
		"frobbed":    `"frobbed"`,
	} {
		err := unit("shop.service").notStarted(result, "exit status 1")
		if !strings.HasPrefix(err.Error(), "shop.service did not start") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, want %q in it", result, err, want)
		}
	}
}

func TestWhatAUnitCannotHaveIsRefused(t *testing.T) {
	at := somewhere()
	for name, cfg := range map[string]Config{
		"command":       {Command: []string{"true"}},
		"stop command":  {StopCommand: []string{"true"}},
		"alive command": {AliveCommand: []string{"true"}},
		"frozen":        {Freeze: true},
		"auto":          {Auto: true},
		"notify":        {Ready: ReadyNotify},
		"exec":          {Ready: ReadyExec, ReadyCommand: []string{"true"}},
	} {
		cfg.Unit, cfg.Address = "shop.service", at
		if s, err := New(cfg); err == nil {
			s.Shutdown(t.Context())
			t.Errorf("%s: got no error", name)
		}
	}
}

// A launch that is abandoned must not keep its owner until the unit has started.
func TestAbandonedStartTellsItsCause(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+t.TempDir()+"/none")
	ctx, abandon := context.WithCancelCause(t.Context())
	abandon(ErrShutdown)
	if err := unit("shop.service").start(ctx); !errors.Is(err, ErrShutdown) {
		t.Errorf("got %v, want %v", err, ErrShutdown)
	}
}
