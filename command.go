package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/tiproxy/tiproxy/activation"
	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/control"
	"github.com/tiproxy/tiproxy/demo"
	"github.com/tiproxy/tiproxy/observe"
	"github.com/tiproxy/tiproxy/sockaddr"
	"github.com/tiproxy/tiproxy/supervisor"
)

const (
	defaultFile   = "/etc/tiproxy/tiproxy.conf"
	defaultListen = "127.0.0.1:4000"
	// idleExit is what socket activation is for; by hand, tiproxy stays.
	idleExit = 5 * time.Minute
	// noBackendExit makes the next client see a configuration that was
	// written meanwhile.
	noBackendExit = time.Second
)

// options are the flags that are no settings, and those that are.
type options struct {
	file     string
	listen   []string
	exec     string
	control  string
	settings []assignment // in the order of the command line
}

// assignment is a flag of a setting.
type assignment struct{ flag, value string }

func command() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   "tiproxy [flags] [-- COMMAND [ARG...]]",
		Short: "Let clients through to one backend, in order, and run it only while it is needed",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return fmt.Errorf("unknown command %q; a backend's command stands behind --", args[0])
			}
			return nil
		},
		RunE:              func(_ *cobra.Command, args []string) error { return o.run(args) },
		Version:           version,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	o.addFlags(root.Flags())
	root.AddCommand(checkCommand(), newCommand(), demoCommand(), demoBackendCommand(), completionCommand(), manualCommand(), inetdCommand(), inetdBuiltinCommand())
	root.AddCommand(steerCommands()...)
	complete(root)
	return root
}

func (o *options) addFlags(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "bind" { // TCPLock's and the on-demand proxy's word
			name = "listen"
		}
		return pflag.NormalizedName(name)
	})
	fs.StringVarP(&o.file, "config", "c", "", "configuration `FILE` ("+defaultFile+" when socket-activated)")
	fs.StringArrayVarP(&o.listen, "listen", "l", nil, "listen at `ADDR` when systemd passed no socket: host:port, port or path; repeatable, also --bind ("+defaultListen+")")
	fs.StringVar(&o.exec, "exec", "", "`PATH` of the backend's command, whose arguments stand behind --")
	o.addSettings(fs)
	fs.StringVar(&o.control, "control", "", "`PATH` of the control socket")
}

// addSettings adds the flags of the settings.
func (o *options) addSettings(fs *pflag.FlagSet) {
	for _, s := range config.Settings() {
		if s.Flag != "" {
			fs.VarPF(&settingFlag{o, s}, s.Flag, s.Short, s.Usage)
		}
	}
}

// settingFlag is a flag that overrules a setting of the file.
type settingFlag struct {
	o *options
	s config.Setting
}

// Set implements pflag.Value.
func (f *settingFlag) Set(value string) error {
	f.o.settings = append(f.o.settings, assignment{f.s.Flag, value})
	return nil
}

// String implements pflag.Value; help shows it as the default.
func (f *settingFlag) String() string {
	if f.o == nil {
		return "" // the zero value that pflag compares with
	}
	return f.s.Default
}

// Type implements pflag.Value; help shows it.
func (f *settingFlag) Type() string { return f.s.Arg }

func (o *options) run(args []string) error {
	listeners, err := activation.Inherited()
	if err != nil {
		return exitWith(exitConfig, err)
	}
	listeners, looking := take(listeners)
	if looking != (sockets{}) && len(listeners) == 0 {
		return exitWith(exitConfig, errors.New("systemd passed sockets to look at tiproxy, and none for its clients: enable its own socket unit, too (systemctl enable --now tiproxy.socket)"))
	}
	activated := len(listeners) > 0
	cfg, err := o.configure(args, activated)
	noBackend := err
	if err != nil && !(activated && errors.Is(err, config.ErrNoBackend)) {
		return err
	}
	if !activated {
		if listeners, err = bind(o.listen); err != nil {
			return err
		}
	}
	if err := errors.Join(notOurselves(cfg.Backend.Address, listeners), servable(&cfg.Backend, listeners)); err != nil {
		closeAll(listeners)
		return exitWith(exitConfig, err)
	}
	if noBackend != nil {
		cfg.Service.IdleExit = noBackendExit
	}
	s := &service{
		cfg: cfg, listeners: listeners, noBackend: noBackend,
		control: control.Path(o.control), looking: looking,
		log: observe.NewLog(observe.Options{
			Out: os.Stderr, IsJournal: activation.StderrIsJournal(), Instance: instance(),
			Format: observe.Format(cfg.Service.LogFormat), Level: cfg.Service.LogLevel,
		}),
	}
	if o.file != "" || activated {
		s.reread = func() (*config.Config, error) { return o.configure(args, activated) }
	}
	return exitWith(exitFailed, s.run())
}

// instance is the name behind the @ of our unit, as its runtime directory has
// it; "": it has none.
func instance() string {
	_, name, _ := strings.Cut(filepath.Base(os.Getenv("RUNTIME_DIRECTORY")), "@")
	return name
}

// configure reads the file, and the flags over it. Its errors have their exit
// status; config.ErrNoBackend comes with the Config.
func (o *options) configure(args []string, activated bool) (cfg *config.Config, err error) {
	switch {
	case o.file != "":
		cfg, err = config.Load(o.file)
	case activated:
		cfg, err = config.LoadDefault(defaultFile)
	default:
		cfg = config.Default()
	}
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	for _, a := range o.settings {
		if err := cfg.Set(a.flag, a.value); err != nil {
			return nil, exitWith(exitUsage, err)
		}
	}
	if o.exec != "" {
		cfg.Backend.Exec = append([]string{o.exec}, args...)
	} else if len(args) > 0 {
		cfg.Backend.Exec = args
	}
	if cfg.Service.IdleExit == config.Unset {
		cfg.Service.IdleExit = config.Never
		if activated {
			cfg.Service.IdleExit = idleExit
		}
	}
	return cfg, exitWith(exitConfig, cfg.Check())
}

// servable refuses sockets that cannot be served in the Mode= of the backend.
func servable(b *config.Backend, listeners []activation.Listener) error {
	if b.Mode == config.ModeListenStdin && len(listeners) > 1 {
		return fmt.Errorf("cannot give the backend %d sockets as its stdin; write Mode=listen, or leave one in the socket unit", len(listeners))
	}
	for _, l := range listeners {
		if l.Datagram && !b.Listens() {
			return fmt.Errorf("cannot serve the datagram socket %s with Mode=%s; write Mode=listen, so that the backend itself does, or ListenStream= in the socket unit", l.Addr, b.Mode)
		}
	}
	return nil
}

// bind opens the listeners that the command line asks for. Its errors have
// their exit status.
func bind(addrs []string) ([]activation.Listener, error) {
	if len(addrs) == 0 {
		addrs = []string{defaultListen}
	}
	var all []activation.Listener
	for _, text := range addrs {
		name, err := sockaddr.Parse(text)
		if err != nil {
			closeAll(all)
			return nil, exitWith(exitUsage, fmt.Errorf("cannot use --listen: %w", err))
		}
		ls, err := activation.Listen(context.Background(), name)
		if err != nil {
			closeAll(all)
			return nil, exitWith(exitFailed, fmt.Errorf("%w; choose another --listen", err))
		}
		all = append(all, ls...)
	}
	return all, nil
}

// closeAll closes listeners, so that no socket file is left behind.
func closeAll(listeners []activation.Listener) {
	for i := range listeners {
		_ = listeners[i].Close()
	}
}

// notOurselves refuses a backend's address at which we listen: each client
// would be passed to us again, without end.
func notOurselves(dest sockaddr.Name, listeners []activation.Listener) error {
	addrs, err := dest.Resolve(context.Background())
	if err != nil || dest.IsZero() {
		return nil // the resolver may know better when a client comes
	}
	for _, a := range addrs {
		for _, l := range listeners {
			if l.Addr.Covers(a, l.V6Only) {
				return fmt.Errorf("cannot use %s as Address= (--dest): tiproxy itself listens there (%s); give the backend another", a, l.Addr)
			}
		}
	}
	return nil
}

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE...]",
		Short: "Check configuration files (" + defaultFile + "), and exit with 0 or 78",
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(files) == 0 {
				files = []string{defaultFile}
			}
			var errs []error
			for _, file := range files {
				cfg, err := config.Load(file)
				if err == nil {
					err = cfg.Check()
				}
				errs = append(errs, err)
			}
			return exitWith(exitConfig, errors.Join(errs...))
		},
	}
}

// demoIdle is short enough to be watched.
const demoIdle = 3 * time.Second

func demoCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run with a built-in backend and clients, to see it work",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			listeners, err := bind([]string{listen})
			if err != nil {
				return err
			}
			cfg := config.Default()
			cfg.Backend.Exec = []string{"/proc/self/exe", "demo-backend"}
			cfg.Backend.AddressAuto = true
			cfg.Backend.IdleStop = demoIdle
			cfg.Service.IdleExit = config.Never
			return exitWith(exitFailed, runDemo(cmd, &service{
				cfg: cfg, listeners: listeners, control: control.Path(""),
				log: observe.NewLog(observe.Options{Out: os.Stderr}),
			}))
		},
	}
	cmd.Flags().StringVarP(&listen, "listen", "l", defaultListen, "listen at `ADDR`, host:port")
	return cmd
}

// runDemo runs the service, and the clients beside it.
func runDemo(cmd *cobra.Command, s *service) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	stopped := make(chan struct{}, 1)
	s.watch = func(e supervisor.Event) {
		if _, is := e.(supervisor.ExitEvent); is {
			select {
			case stopped <- struct{}{}:
			default: // nobody is waiting for it any more
			}
		}
	}
	go demo.Play(ctx, cmd.OutOrStdout(), s.listeners[0].Addr.String(), func(ctx context.Context) {
		select {
		case <-stopped:
		case <-ctx.Done():
		}
	})
	return s.run()
}

func demoBackendCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "demo-backend",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return exitWith(exitFailed, demo.ServeBackend()) },
	}
}
