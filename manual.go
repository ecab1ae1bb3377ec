package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/man"
	"github.com/tiproxy/tiproxy/observe"
)

// manualCommand is for those who build packages.
func manualCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "manual FOLDER",
		Short:  "Write the manual pages, of the time of SOURCE_DATE_EPOCH",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return exitWith(exitFailed, writeManual(cmd.Root(), args[0]))
		},
	}
}

func writeManual(root *cobra.Command, dir string) error {
	date, err := sourceDate()
	if err != nil {
		return err
	}
	known := map[string]map[string]string{
		"tiproxy.8": aboutCommands(root), "tiproxy-inetd.8": aboutInetd(root), "tiproxy.conf.5": aboutSettings(), "tiproxy.7": aboutEvents(),
	}
	for _, page := range man.Pages() {
		text, err := page.Write(man.Head{Date: date, Version: version}, known[page.File()])
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, page.File()), []byte(text), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sourceDate is when the source was changed last. The clock would make every
// build another one: https://reproducible-builds.org/specs/source-date-epoch/
func sourceDate() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot date the manual pages: SOURCE_DATE_EPOCH=%s is no number of seconds since 1970; make man sets it", text)
	}
	return time.Unix(seconds, 0), nil
}

// exits are what a service manager or a script learns.
var exits = []struct {
	status int
	usage  string
}{
	{0, "It was told to stop, or nobody needed it any more; a command has done what it was told."},
	{exitFailed, "It failed while running; a command could not do what it was told."},
	{exitUsage, "The command line is wrong."},
	{exitConfig, "The configuration is wrong."},
}

func aboutCommands(root *cobra.Command) map[string]string {
	root.InitDefaultHelpFlag()
	root.InitDefaultVersionFlag()
	synopsis := "```\n" + root.UseLine() + "\n"
	texts := map[string]string{"flags": aboutFlags(root.LocalFlags())}
	for _, cmd := range root.Commands() {
		if cmd.Hidden {
			continue
		}
		synopsis += cmd.UseLine() + "\n"
		texts[cmd.CommandPath()] = aboutCommand(cmd)
	}
	texts["synopsis"] = synopsis + "```\n"
	statuses := ""
	for _, e := range exits {
		statuses += item(man.Plain(e.usage), literal(strconv.Itoa(e.status)))
	}
	texts["exit statuses"] = statuses
	return texts
}

// aboutInetd is what stands in a page of its own.
func aboutInetd(root *cobra.Command) map[string]string {
	texts := map[string]string{}
	for _, cmd := range root.Commands() {
		if cmd.Name() != "inetd" {
			continue
		}
		texts["flags"] = aboutFlags(cmd.PersistentFlags())
		for _, c := range cmd.Commands() {
			texts[c.CommandPath()] = aboutCommand(c)
		}
	}
	return texts
}

// aboutCommand is an item for a command.
func aboutCommand(cmd *cobra.Command) string {
	return item(sentence(cmd.Short), literal(cmd.UseLine())) + aboutFlagsOf(cmd)
}

// aboutFlags is an item for each flag.
func aboutFlags(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		head, usage := aboutFlag(f)
		if s, is := f.Value.(*settingFlag); is {
			usage += " In the file: " + literal(s.s.String()) + "." + byDefault(s.s)
		}
		b.WriteString(item(usage, head))
	})
	return b.String()
}

// aboutFlagsOf is a paragraph in the item of a command for each flag of its own.
func aboutFlagsOf(cmd *cobra.Command) string {
	var b strings.Builder
	settings := false
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		_, isSetting := f.Value.(*settingFlag)
		settings = settings || isSetting
		if isSetting || f.Name == "help" || f.Name == "control" {
			return // they stand among those of tiproxy, or above all commands
		}
		head, usage := aboutFlag(f)
		b.WriteString("  " + head + ": " + usage + "\n\n")
	})
	if settings {
		b.WriteString("  All flags of settings.\n\n")
	}
	return b.String()
}

func aboutFlag(f *pflag.Flag) (head, usage string) {
	arg, usage := pflag.UnquoteUsage(f)
	head = literal("--" + f.Name)
	if f.Shorthand != "" {
		head = literal("-"+f.Shorthand) + ", " + head
	}
	if arg != "" {
		head += " " + placeholder(arg)
	}
	return head, sentence(usage)
}

func byDefault(s config.Setting) string {
	if s.Default == "" {
		return ""
	}
	return " Default: " + literal(s.Default) + "."
}

func aboutSettings() map[string]string {
	texts := map[string]string{}
	for _, s := range config.Settings() {
		usage := sentence(s.Usage) + byDefault(s)
		if s.Flag != "" {
			usage += " Flag: " + literal("--"+s.Flag) + "."
		}
		texts[s.String()] = item(usage, literal(s.Key+"=")+placeholder(s.Arg))
	}
	return texts
}

func aboutEvents() map[string]string {
	var events, fields strings.Builder
	for _, k := range observe.Kinds() {
		usage := man.Plain(k.Usage)
		if len(k.Fields) > 0 {
			usage += " Fields: " + man.Plain(strings.Join(k.Fields, ", ")) + "."
		}
		events.WriteString(item(usage, literal(k.Event), literal("MESSAGE_ID="+k.MessageID)))
	}
	for _, f := range observe.Fields() {
		fields.WriteString(item(sentence(f.Usage), literal(f.Journal()), literal(f.Key)))
	}
	return map[string]string{"events": events.String(), "fields": fields.String()}
}

// item is one with a head of some words, in Markdown as package man reads it.
func item(usage string, head ...string) string {
	return strings.Join(head, ", ") + "\n: " + usage + "\n\n"
}

// sentence is a usage that has neither a capital nor a full stop.
func sentence(usage string) string {
	return man.Plain(strings.ToUpper(usage[:1])+usage[1:]) + "."
}

func literal(text string) string     { return "`" + text + "`" }
func placeholder(text string) string { return "*" + text + "*" }
