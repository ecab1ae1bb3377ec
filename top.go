package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/tiproxy/tiproxy/control"
	"github.com/tiproxy/tiproxy/top"
)

func topCommand() *cobra.Command {
	cmd := steerCommand("top", "", "Show a running tiproxy on a live screen, with keys to steer it", func(cmd *cobra.Command, c control.Client, _ []string) error {
		ctx, end := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer end()
		t := sleeper{c}
		if _, err := t.Status(ctx); err != nil { // said on the terminal as it is, where it stays
			return err
		}
		screen := top.Screen{In: cmd.InOrStdin(), Out: cmd.OutOrStdout(), Title: cmp.Or(c.Unit, "tiproxy"), ASCII: !knowsUTF8()}
		return screen.Run(ctx, t)
	})
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		in, is := cmd.InOrStdin().(io.Writer)
		if !is || terminalOf(in) == nil || terminalOf(cmd.OutOrStdout()) == nil {
			return exitWith(exitUsage, errors.New("cannot show a live screen: stdin and stdout are not both a terminal; try tiproxy status --watch"))
		}
		if term := os.Getenv("TERM"); term == "" || term == "dumb" {
			return exitWith(exitUsage, errors.New("cannot show a live screen on the terminal of TERM="+term+"; try tiproxy status --watch"))
		}
		return nil
	}
	return cmd
}

// sleeper is a tiproxy that may fall asleep, which is an answer too.
type sleeper struct{ control.Client }

// Status is that of the tiproxy, or what systemd says of one that sleeps.
func (s sleeper) Status(ctx context.Context) (json.RawMessage, error) {
	status, err := s.Client.Status(ctx)
	if err != nil {
		return asleep(ctx, s.Client, err)
	}
	return status, nil
}

// knowsUTF8 tells whether the locale of the terminal has more letters than ASCII:
// the first of these variables that is set, locale(7).
func knowsUTF8() bool {
	locale := strings.ToLower(cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG")))
	return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
}
