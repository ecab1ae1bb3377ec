package main

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/control"
)

// completionCommand writes what makes a shell ask tiproxy, by its hidden command
// __complete, how a line may go on.
func completionCommand() *cobra.Command {
	write := map[string]func(*cobra.Command, io.Writer) error{
		"bash": func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"fish": func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
		"zsh":  (*cobra.Command).GenZshCompletion,
	}
	return &cobra.Command{
		Use:   "completion bash|fish|zsh",
		Short: "Write a script that completes tiproxy's command line in a shell",
		Long: `Write a script that completes tiproxy's command line in a shell. Packages
install it; without one:

  bash   source <(tiproxy completion bash)   (it wants the package bash-completion)
  fish   tiproxy completion fish | source
  zsh    source <(tiproxy completion zsh)`,
		ValidArgs: []string{"bash", "fish", "zsh"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return exitWith(exitFailed, write[args[0]](cmd.Root(), cmd.OutOrStdout()))
		},
	}
}

// complete says how the lines of the commands may go on.
func complete(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		switch {
		case cmd.Name() == "check":
			cmd.ValidArgsFunction = cobra.FixedCompletions([]string{"conf"}, cobra.ShellCompDirectiveFilterFileExt)
		case cmd.Name() == "set":
			cmd.ValidArgsFunction = behind(liveKeys, cobra.ShellCompDirectiveNoSpace)
		case cmd.Name() == "kick":
			cmd.ValidArgsFunction = behind(numbers, cobra.ShellCompDirectiveKeepOrder)
		case cmd.Flag("control") != nil:
			cmd.ValidArgsFunction = behind(nil, 0)
		}
	}
	_ = root.MarkFlagFilename("config", "conf") // these fail for flags that there are not
	_ = root.MarkFlagDirname("workdir")
}

// behind completes the arguments of a command for a running tiproxy: its name, and
// then one of the words that the command wants; nil: it wants none.
func behind(words func(context.Context, control.Client) []string, directive cobra.ShellCompDirective) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, named := control.Client{Path: cmd.Flag("control").Value.String()}, len(args) == 1
		var all []string
		switch {
		case len(args) > 1 || named && (words == nil || c.Path != ""):
			return nil, cobra.ShellCompDirectiveNoFileComp
		case c.Path != "":
		case named:
			c = control.Find(args[0])
		default:
			c, all = control.Find(""), instances(filepath.Dir(defaultFile), inetdFiles)
		}
		if words != nil {
			all = append(all, words(cmd.Context(), c)...)
		}
		return all, directive | cobra.ShellCompDirectiveNoFileComp
	}
}

// inetdFiles is where tiproxy-inetd's generator has the files of its services.
const inetdFiles = "/run/systemd/generator/tiproxy-inetd"

// instances are the NAMEs of those services for which a file is in dir, or in the
// folder of tiproxy-inetd.
func instances(dir, inetd string) (all []string) {
	names := func(dir, prefix string) {
		files, _ := filepath.Glob(filepath.Join(dir, "*.conf")) // fails for a wrong pattern alone
		for _, file := range files {
			if file = filepath.Base(file); file != filepath.Base(defaultFile) {
				all = append(all, prefix+strings.TrimSuffix(file, ".conf"))
			}
		}
	}
	names(dir, "")
	names(inetd, control.Inetd)
	return all
}

// liveKeys are what can be set.
func liveKeys(context.Context, control.Client) (all []string) {
	for _, s := range config.Settings() {
		if s.Live() {
			all = append(all, s.Key+"=\t"+s.Usage)
		}
	}
	return all
}

// numbers are those of all sessions, inside and in line. Of one that does not
// answer none are known, and that is no news while somebody types.
func numbers(ctx context.Context, c control.Client) (all []string) {
	var inside control.Sessions
	if raw, err := c.Sessions(ctx); err == nil {
		_ = json.Unmarshal(raw, &inside)
	}
	for _, s := range inside.Sessions {
		all = append(all, strconv.FormatUint(s.Session, 10)+"\t"+s.Client+", inside")
	}
	var line control.Queue
	if raw, err := c.Queue(ctx); err == nil {
		_ = json.Unmarshal(raw, &line)
	}
	for _, w := range line.Waiting {
		all = append(all, strconv.FormatUint(w.Session, 10)+"\t"+w.Client+", waiting")
	}
	return all
}
