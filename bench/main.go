// Bench compares tiproxy with other proxies and with none, side by side on the
// same work: see docs/performance.md for what it found.
//
//	bench [run]      measure, and write results and report
//	bench report     write the report of runs that were measured before, as one
//
// It starts itself twice more for each measurement: as the backend behind the
// proxy, and as the clients before it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/tiproxy/tiproxy/bench/backend"
	"github.com/tiproxy/tiproxy/bench/load"
	"github.com/tiproxy/tiproxy/bench/peer"
	"github.com/tiproxy/tiproxy/bench/record"
	"github.com/tiproxy/tiproxy/bench/report"
)

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	name := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	switch {
	case name == "run":
		return runAndReport(args)
	case name == "report":
		return reportOnly(args)
	case name == "backend" && len(args) == 2:
		return backend.Serve(args[0], args[1], os.Stdout)
	case name == "load" && len(args) == 1:
		var s load.Spec
		if err := json.Unmarshal([]byte(args[0]), &s); err != nil {
			return fmt.Errorf("cannot read what to do: %w", err)
		}
		return load.Serve(s, os.Stdin, os.Stdout)
	}
	return fmt.Errorf("unknown command %q; there are run and report", name)
}

// destination is where a report goes.
type destination struct {
	format string
	docs   string
}

// formats are what can be printed.
var formats = map[string]func(io.Writer, *record.Run) error{"text": report.Text, "go": report.GoBenchmark}

func (d *destination) flags(set *flag.FlagSet) {
	d.format = "text"
	set.Func("format", "what to print: text, or go for benchstat (default text)", func(name string) error {
		d.format = name
		if formats[name] == nil {
			return fmt.Errorf("unknown format; there are text and go")
		}
		return nil
	})
	set.StringVar(&d.docs, "docs", "", "also write the figures and charts into performance.md in this `folder`")
}

func (d *destination) write(r *record.Run) error {
	if d.docs != "" {
		if err := report.Document(r, d.docs); err != nil {
			return err
		}
	}
	return formats[d.format](os.Stdout, r)
}

func reportOnly(args []string) error {
	set := flag.NewFlagSet("bench report RUN.json…", flag.ContinueOnError)
	var to destination
	to.flags(set)
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() == 0 {
		return errors.New("cannot report: name a file of bench/results, or several")
	}
	var runs []*record.Run
	for _, file := range set.Args() {
		r, err := record.Load(file)
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	r, err := record.Pool(runs[0], runs[1:]...)
	if err != nil {
		return err
	}
	return to.write(r)
}

func runAndReport(args []string) error {
	set := flag.NewFlagSet("bench run", flag.ContinueOnError)
	var to destination
	to.flags(set)
	short := set.Bool("quick", false, "try it: short and small, figures not to be cited")
	program := set.String("tiproxy", "build/tiproxy", "`path` of the tiproxy to measure")
	results := set.String("results", "build", "`folder` for the raw rounds")
	revision := set.String("revision", "", "of that tiproxy, to be named in the report")
	only := set.String("only", "", "`expression` for the names of the pieces of work; default: all")
	against := set.String("peers", "", "`expression` for the names of the peers; default: all")
	if err := set.Parse(args); err != nil {
		return err
	}
	if err := os.Mkdir(*results, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot keep the raw rounds: %w", err)
	}
	s := full
	if *short {
		s = quick
	}
	chosen, err := matching(works, *only, func(w work) string { return w.name })
	if err != nil {
		return err
	}
	peers, err := matching(peer.All(*program), *against, func(p peer.Peer) string { return p.Name })
	if err != nil {
		return err
	}
	r, err := run(s, chosen, peers)
	if err != nil {
		return err
	}
	r.Quick, r.Revision = *short, *revision
	file := filepath.Join(*results, r.Started.UTC().Format("2006-01-02-1504")+".json")
	if err := r.Save(file); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "the raw rounds are in %s\n", file)
	return to.write(r)
}

// matching answers those whose names match an expression; "": all.
func matching[T any](all []T, expression string, name func(T) string) (chosen []T, err error) {
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		if re.MatchString(name(one)) {
			chosen = append(chosen, one)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("cannot choose by %q: nothing has such a name", expression)
	}
	return chosen, nil
}

// run checks that all is there, and measures.
func run(s size, works []work, peers []peer.Peer) (*record.Run, error) {
	if err := peer.Missing(peers); err != nil {
		return nil, err
	}
	var err error
	if s.files, err = raiseFileLimit(); err != nil {
		return nil, err
	}
	r := &record.Run{Started: time.Now(), Rounds: s.rounds, Machine: machine()}
	for _, p := range peers {
		version, err := p.Version()
		if err != nil {
			return nil, err
		}
		r.Peers = append(r.Peers, record.Peer{Name: p.Name, Version: version})
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	r.Samples, err = s.measure(ctx, works, peers, os.Stderr)
	return r, err
}

func machine() record.Machine {
	m := record.Machine{CPUs: runtime.NumCPU(), Go: runtime.Version()}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		_, rest, _ := strings.Cut(string(text), "model name")
		rest, _, _ = strings.Cut(rest, "\n")
		m.CPU = strings.TrimLeft(rest, "\t :")
	}
	for path, field := range map[string]*string{
		"/proc/sys/kernel/osrelease":                &m.Kernel,
		"/proc/sys/net/ipv4/tcp_congestion_control": &m.Congestion,
	} {
		if text, err := os.ReadFile(path); err == nil {
			*field = strings.TrimSpace(string(text))
		}
	}
	return m
}
