package supervisor

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Run runs a command that is not the backend's to its end: as this process's
// user and in its working directory, with nothing to read. A name without slash
// is looked up in our PATH. env is its environment, nil ours; what systemd said
// to this process alone is taken out of it. output is told each line that it
// writes to its stdout or stderr, without its end (LF or CR LF) and in pieces of
// 16 kB at most; the last one before Run returns.
//
// When ctx ends the command is killed, with all that came of it. What it leaves
// in the background when it ends by itself is killed, too: it is no way to
// start a daemon. Where systemd has delegated a cgroup to this process it runs
// in one of its own, else beneath a keeper (keeper.go), which knows all that
// comes of it just as well.
//
// It fails if the command cannot be executed, or did not succeed; the error
// wraps the cause of ctx's end if it was killed for that. Without a cgroup, one
// that ended by signal N has exit status 128+N, as in a shell.
//
// It needs no Supervisor: it works as well for a backend that is external, and
// after Shutdown.
func Run(ctx context.Context, argv, env []string, output func(line string)) error {
	if env == nil {
		env = os.Environ()
	}
	e := errand{
		order: order{traits: asWeAre, path: argv[0], argv: argv},
		env:   withoutOurOwn(env),
		tell:  func(_ int, line string) { output(line) },
	}
	t, err := e.house(delegatedCgroup(), fmt.Sprintf("command-%d", commands.Add(1)))
	if err != nil {
		return err
	}
	defer t.await()
	f := newForker()
	defer f.stop()
	return f.run(ctx, e)
}

// asWeAre changes nothing.
var asWeAre = traits{uid: -1, gid: -1, umask: -1}

// commands counts those that Run gave a cgroup.
var commands atomic.Uint64

// errand is a command that is expected to end.
type errand struct {
	order  order                      // its path as it was given: a name is looked up
	env    []string                   // its environment
	client *os.File                   // its stdin and stdout; nil: nothing to read, and its stdout is told
	stderr bool                       // the client is its stderr, too, and nothing is told
	begun  func(*os.Process)          // is told when it was executed; nil: nobody is
	tell   func(pid int, line string) // is told each line that it writes; with a client, to its stderr
	stop   func(*os.Process)          // ends it when ctx does; nil: kill
	kill   func(*os.Process)          // ends it with what came of it; once it has ended, what it left
}

// house gives an errand a cgroup of that name beneath groups or, where there are
// none, a keeper. The tree is who lives in it; its leader is to be written once
// it is known.
func (e *errand) house(groups *cgroup, name string) (*tree, error) {
	if groups == nil {
		e.order.kept = true
		e.kill = func(keeper *os.Process) { _ = keeper.Signal(unix.SIGTERM) }
		return &tree{main: new(atomic.Int64), kept: true}, nil
	}
	group, err := groups.make(name)
	if err != nil {
		return nil, err
	}
	t := &tree{group: group}
	e.order.cgroup = group.dir
	e.kill = func(*os.Process) { t.kill() }
	return t, nil
}

// run runs an errand to its end, or ends it when ctx does.
func (f *forker) run(ctx context.Context, e errand) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	name := e.order.path
	path, err := executable(name)
	if err != nil {
		return err
	}
	e.order.path = path
	output, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot make a pipe for the output of %s: %w", name, err)
	}
	std := streams{out: theirs, err: theirs}
	if e.client != nil {
		std.in, std.out = e.client, e.client
	}
	if e.stderr {
		std.err = e.client
	}
	p, err := f.start(e.order, e.env, std, nil)
	theirs.Close()
	if err != nil {
		output.Close()
		return err
	}
	if e.begun != nil {
		e.begun(p)
	}
	stop := e.stop
	if stop == nil {
		stop = e.kill
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		eachLine(output, func(line string) { e.tell(p.Pid, line) })
	}()
	spare := context.AfterFunc(ctx, func() { stop(p) })
	state, err := p.Wait()
	ours.forget(p.Pid)
	killed := !spare()
	e.kill(p)
	_ = output.SetReadDeadline(time.Now().Add(outputPatience))
	<-told
	switch {
	case killed:
		return fmt.Errorf("%s did not end in time and was killed (%w)", name, context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("cannot wait for %s: %w", name, err)
	case !state.Success():
		return fmt.Errorf("%s: %s", name, state)
	}
	return nil
}

// eachLine tells what comes out of a pipe, without the ends of lines, and
// closes it at its end. Longer lines than lineMax come in pieces.
func eachLine(output *os.File, tell func(line string)) {
	defer output.Close()
	r := bufio.NewReaderSize(output, lineMax)
	cut := false // the line goes on that was told last
	for {
		piece, err := r.ReadSlice('\n')
		text, whole := strings.CutSuffix(string(piece), "\n")
		if whole {
			text = strings.TrimSuffix(text, "\r")
		}
		if text != "" || whole && !cut {
			tell(text)
		}
		cut = err == bufio.ErrBufferFull
		if err != nil && !cut {
			return
		}
	}
}
