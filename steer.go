package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/tiproxy/tiproxy/control"
	"github.com/tiproxy/tiproxy/internal/unitstate"
)

// steerCommands look at a running tiproxy, and act on it.
func steerCommands() []*cobra.Command {
	return []*cobra.Command{
		statusCommand(),
		listCommand("queue", "List who waits in line", control.Client.Queue, control.PrintQueue),
		listCommand("sessions", "List who is let in", control.Client.Sessions, control.PrintSessions),
		restartCommand(), drainCommand(), resumeCommand(), setCommand(), kickCommand(),
		topCommand(),
	}
}

// steerCommand is one of them. The tiproxy that it is for is named by a flag, or
// by an argument before the others, which are as many as words names.
func steerCommand(verb, words, short string, run func(cmd *cobra.Command, c control.Client, args []string) error) *cobra.Command {
	var path string
	own := len(strings.Fields(words))
	cmd := &cobra.Command{
		Use:   strings.TrimSpace(verb + " [NAME] " + words),
		Short: short,
		Long:  short + ".\n\nNAME means tiproxy@NAME.service, and inetd-NAME tiproxy-inetd@NAME.service. Without it, that is the tiproxy that you run by hand, or tiproxy.service.",
		Args: func(cmd *cobra.Command, args []string) error {
			switch named := len(args) - own; {
			case named != 0 && named != 1:
				return fmt.Errorf("wrong number of arguments; want %s", cmd.UseLine())
			case named == 1 && path != "":
				return fmt.Errorf("give the name %q or --control, not both", args[0])
			case named == 1 && (args[0] == "" || strings.Contains(args[0], "/")):
				return fmt.Errorf("%q is not the name of an instance; want NAME of tiproxy@NAME.service", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			instance := strings.Join(args[:len(args)-own], "") // one, or none
			c := control.Client{Path: path}
			if path == "" {
				c = control.Find(instance)
			}
			return exitWith(exitFailed, run(cmd, c, args[len(args)-own:]))
		},
	}
	cmd.Flags().StringVar(&path, "control", "", "`PATH` of the control socket, instead of a NAME")
	return cmd
}

func statusCommand() *cobra.Command {
	var asJSON, watching bool
	cmd := steerCommand("status", "", "Tell how a running tiproxy does", func(cmd *cobra.Command, c control.Client, _ []string) error {
		look := func(ctx context.Context, now time.Time) (view, error) {
			return lookAt(ctx, c, now, asJSON)
		}
		if watching {
			ctx, end := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer end()
			return watch(ctx, cmd.OutOrStdout(), look)
		}
		v, err := look(cmd.Context(), time.Now())
		if err != nil {
			return err
		}
		_, err = io.WriteString(cmd.OutOrStdout(), v.text)
		return err
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().BoolVarP(&watching, "watch", "w", false, "again whenever it changes, until Ctrl-C")
	return cmd
}

// lookAt asks for the status; now is as for control.Print. The JSON has clocks
// in it that always run, so what people would read tells whether it changed.
func lookAt(ctx context.Context, c control.Client, now time.Time, asJSON bool) (view, error) {
	raw, err := c.Status(ctx)
	if err != nil {
		raw, err = asleep(ctx, c, err)
	}
	if err != nil {
		return view{}, err
	}
	var text strings.Builder
	if err := control.Print(&text, raw, now); err != nil {
		return view{}, err
	}
	if asJSON {
		return view{string(raw), text.String()}, nil
	}
	return view{text.String(), text.String()}, nil
}

// listCommand shows an answer that is a list.
func listCommand(verb, short string, ask func(control.Client, context.Context) (json.RawMessage, error), print func(io.Writer, []byte) error) *cobra.Command {
	var asJSON bool
	cmd := steerCommand(verb, "", short, func(cmd *cobra.Command, c control.Client, _ []string) error {
		raw, err := ask(c, cmd.Context())
		if err != nil {
			return unanswered(cmd.Context(), c, err)
		}
		if !asJSON {
			return print(cmd.OutOrStdout(), raw)
		}
		_, err = cmd.OutOrStdout().Write(raw)
		return err
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// actCommand does something, and then says what it has done.
func actCommand(verb, words, short string, do func(ctx context.Context, c control.Client, args []string) (done string, err error)) *cobra.Command {
	return steerCommand(verb, words, short, func(cmd *cobra.Command, c control.Client, args []string) error {
		done, err := do(cmd.Context(), c, args)
		if err != nil {
			return unanswered(cmd.Context(), c, err)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), done)
		return err
	})
}

func restartCommand() *cobra.Command {
	var now bool
	cmd := actCommand("restart", "", "Replace the backend, once those inside are done", func(ctx context.Context, c control.Client, _ []string) (string, error) {
		if now {
			return "the backend is being replaced", c.Restart(ctx, true)
		}
		return "the backend will be replaced once those inside are done", c.Restart(ctx, false)
	})
	cmd.Flags().BoolVar(&now, "now", false, "at once: those inside are cut")
	return cmd
}

func drainCommand() *cobra.Command {
	return actCommand("drain", "", "Let nobody in any more; those inside are served to their end", func(ctx context.Context, c control.Client, _ []string) (string, error) {
		return "nobody is let in until it is resumed", c.Drain(ctx)
	})
}

func resumeCommand() *cobra.Command {
	return actCommand("resume", "", "Let clients in again after drain", func(ctx context.Context, c control.Client, _ []string) (string, error) {
		return "clients are let in again", c.Resume(ctx)
	})
}

func setCommand() *cobra.Command {
	cmd := actCommand("set", "KEY=VALUE", "Change a setting of the running tiproxy, such as MaxConnections=3", func(ctx context.Context, c control.Client, args []string) (string, error) {
		key, value, _ := strings.Cut(args[0], "=")
		return args[0] + " until tiproxy exits or reloads; write it into tiproxy.conf to keep it", c.Set(ctx, key, value)
	})
	cmd.Args = cobra.MatchAll(cmd.Args, func(_ *cobra.Command, args []string) error {
		if text := args[len(args)-1]; strings.Index(text, "=") < 1 {
			return fmt.Errorf("cannot set %q; want KEY=VALUE as in tiproxy.conf, such as MaxConnections=3", text)
		}
		return nil
	})
	return cmd
}

func kickCommand() *cobra.Command {
	cmd := actCommand("kick", "SESSION", "End the connection of a session, by its number", func(ctx context.Context, c control.Client, args []string) (string, error) {
		number, err := session(args[0])
		if err != nil {
			return "", err
		}
		return "session " + args[0] + " is ended", c.Kick(ctx, number)
	})
	cmd.Args = cobra.MatchAll(cmd.Args, func(_ *cobra.Command, args []string) error {
		_, err := session(args[len(args)-1])
		return err
	})
	return cmd
}

// session reads the number of a session.
func session(text string) (uint64, error) {
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot kick %q: that is not the number of a session; see tiproxy sessions and tiproxy queue", text)
	}
	return number, nil
}

// asleep is the status of a tiproxy from which err came instead of an answer, if
// that is because it sleeps. Otherwise it answers err, or a better one where
// systemd knows what is wrong.
func asleep(ctx context.Context, c control.Client, err error) (json.RawMessage, error) {
	silent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
	// Behind a file that may not be used there need not be anybody.
	hidden := errors.Is(err, fs.ErrPermission)
	if !silent && !hidden || c.Unit == "" {
		return nil, err
	}
	since, wrong := unitstate.Asleep(ctx, c.Unit)
	switch {
	case wrong == nil:
		return control.Asleep(since), nil
	case hidden, errors.Is(wrong, unitstate.ErrUnknown):
		return nil, err
	}
	return nil, fmt.Errorf("no tiproxy answers at %s: %w; or give the place of another with --control", c.Path, wrong)
}

// unanswered says it if err comes from a tiproxy that sleeps; see asleep.
func unanswered(ctx context.Context, c control.Client, err error) error {
	status, err := asleep(ctx, c, err)
	if err != nil {
		return err
	}
	var text strings.Builder
	_ = control.Print(&text, status, time.Now()) // neither can fail
	return errors.New(c.Unit + " is " + strings.TrimSuffix(text.String(), "\n"))
}
