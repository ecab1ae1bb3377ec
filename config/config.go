// Package config turns tiproxy.conf, its drop-ins and the flags of the command
// line into one checked [Config].
//
//	table ─> Default ─> FILE ─> FILE.d/*.conf ─> Set, flag by flag ─> Check
//
// What comes later wins. One table, [Settings], says for each setting its key,
// flag, default, meaning and parser; the files, the flags, the help and the
// example file all come from it, so they cannot drift apart.
//
// Invariants: a value that stands in a Config has passed its parser; a file is
// either taken whole or refused with everything that is wrong in it; nothing is
// looked up, opened or resolved beyond the configuration files themselves.
package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tiproxy/tiproxy/access"
	"github.com/tiproxy/tiproxy/sockaddr"
)

// Never is the time span without an end, systemd's "infinity".
const Never time.Duration = math.MaxInt64

// Unset is the time span that nobody has written: the program chooses.
const Unset time.Duration = -1

// ErrNoBackend is what [Config.Check] wraps when there is nothing to relay to.
// It is a machine just installed rather than a mistake.
var ErrNoBackend = errors.New("no backend configured")

// Config is everything an administrator can say, one field per section.
type Config struct {
	Backend Backend
	Gate    Gate
	Access  Access
	Hooks   Hooks
	Service Service

	said map[string]string // what each setting was given, by Setting.String; written by note
	file string            // written by Load, for the messages of Check; "": no file was read
}

// Readiness is how it is learned that a started backend takes connections.
type Readiness string

// The values of Ready=.
const (
	ReadyListen  Readiness = "listen"  // the kernel says that the backend listens at Address=
	ReadyNotify  Readiness = "notify"  // the backend says READY=1, see sd_notify(3)
	ReadyConnect Readiness = "connect" // a connection to Address= succeeds; the backend sees it
	ReadyExec    Readiness = "exec"    // a command succeeds
	ReadyLog     Readiness = "log"     // a line of the backend's output matches
	ReadyFD      Readiness = "fd"      // the backend writes a newline to an fd, as for s6
	ReadyNone    Readiness = "none"    // it is ready as soon as it runs
)

// Backend is the section [Backend]: what is started, and when it is stopped.
type Backend struct {
	// Mode is how it meets its clients, Mode=: ModeConnect, the default,
	// ModeStdio, ModeStdioStderr, ModeListen or ModeListenStdin.
	Mode string
	// Exec is the command and its arguments, Exec=, from argv[0] on. Empty, the
	// default: no command is run, tiproxy is only gate and relay to Address.
	Exec []string
	// ExecPath is what is executed, where Exec= begins with @. Empty: Exec[0].
	ExecPath string
	// Unit is the service of systemd's that is started and stopped instead of a
	// command, Unit=. Empty, the default: none.
	Unit string
	// WorkingDirectory is where Exec runs, an absolute path; empty, the
	// default: where tiproxy runs.
	WorkingDirectory string
	// User and Group are whose process it is, User= and Group=, names or
	// numbers. Empty, the default: tiproxy's own.
	User, Group string
	// UserGroups gives it all groups of User, initgroups(3), UserGroups=. False:
	// its one group alone. True by default.
	UserGroups bool
	// Environment is NAME=VALUE over tiproxy's own environment, Environment=.
	Environment []string
	// EnvironmentFiles are read at each start, EnvironmentFile=; a '-' before
	// the path allows it to be missing.
	EnvironmentFiles []string
	// UMask, Nice and OOMScoreAdjust are of the backend. Nil, the default: as
	// tiproxy's own.
	UMask, Nice, OOMScoreAdjust *int
	// LimitNOFILE is of the backend. Nil, the default: as tiproxy was given it.
	LimitNOFILE *Limit
	// Address is where the backend listens. Zero by default, and with AddressAuto.
	Address sockaddr.Name
	// AddressAuto, Address=auto: each start chooses a free TCP port and tells it
	// to the command as $PORT and {port}. False by default.
	AddressAuto bool
	// Ready is how readiness is learned, Ready=. Default: ReadyListen.
	Ready Readiness
	// ReadyCommand, ReadyLog and ReadyFD are what stands behind the colon of
	// Ready=exec:, log: and fd:.
	ReadyCommand []string
	ReadyLog     *regexp.Regexp
	ReadyFD      int
	// ReadyDelay is more patience after any of them, ReadyDelaySec=.
	ReadyDelay time.Duration
	// ReadyInterval is the longest pause between two probes, ReadyIntervalSec=.
	// Over 0 and not Never; default 500ms.
	ReadyInterval time.Duration
	// StartTimeout is the longest a start may take until ready,
	// StartTimeoutSec=. Over 0; default 30s, may be Never.
	StartTimeout time.Duration
	// IdleStop is how long the backend runs on without a connection,
	// IdleStopSec=. 0: stopped at once; Never: not stopped. Default 30s.
	IdleStop time.Duration
	// StopTimeout is the patience between SIGTERM and SIGKILL, StopTimeoutSec=.
	// 0: SIGKILL at once; may be Never. Default 30s.
	StopTimeout time.Duration
	// StopSignal asks its processes to end, StopSignal=. Default SIGTERM.
	StopSignal unix.Signal
	// StopCommand is run before that, StopCommand=. Empty, the default: none.
	StopCommand []string
	// Alive is how it is asked whether it still answers, Alive=: AliveConnect,
	// AliveExec with AliveCommand, or empty, the default: not at all.
	Alive        string
	AliveCommand []string
	// AliveInterval is how often, AliveSec=. 1s at least; default 30s.
	AliveInterval time.Duration
	// WakeOn is what a client must do to start it, WakeOn=: WakeConnect, the
	// default, or WakeData.
	WakeOn string
	// WakeTimeout is how long it may take for that, WakeTimeoutSec=. Default 10s.
	WakeTimeout time.Duration
	// MinUptime is how long it stays at least, however idle, MinUptimeSec=.
	MinUptime time.Duration
	// Preload starts it with tiproxy, Preload=.
	Preload bool
	// IdleAction is what becomes of it when idle, IdleAction=: IdleStop, the
	// default, or IdleFreeze.
	IdleAction string
	// IdleFreeze is how long it may be frozen, IdleFreezeSec=. Default Never.
	IdleFreeze time.Duration
	// RecycleConnections is after how many connections it is replaced,
	// RecycleConnections=. 0, the default: never.
	RecycleConnections int
	// RecycleAge is how long after it was ready, RecycleAgeSec=. Default Never.
	RecycleAge time.Duration
	// RecycleMemory is above how many bytes, RecycleMemory=. 0, the default: never.
	RecycleMemory int64
	// RecycleJitter shortens RecycleConnections and RecycleAge at random, by up
	// to so many percent, RecycleJitter=.
	RecycleJitter int
	// RecycleGrace is how long connections may keep it from being replaced,
	// RecycleGraceSec=. Default 5min, may be Never.
	RecycleGrace time.Duration
	// Watchdog is how long it may be silent, WatchdogSec=. Default Never.
	Watchdog time.Duration
	// SendProxy is the version of the PROXY header that it gets before each
	// client's bytes, SendProxy=. 0, the default: it gets none.
	SendProxy int
	// NotifyAccess is whose sd_notify messages count, NotifyAccess=: NotifyAll,
	// the default, or NotifyMain.
	NotifyAccess string
}

// The values of Mode=.
const (
	ModeConnect = "connect" // one for all clients, who are relayed to where it listens

	// One for each client, with its socket as stdin and stdout, or as stderr,
	// too, as inetd has it; else that is our log.
	ModeStdio       = "stdio"
	ModeStdioStderr = "stdio:stderr"

	// One for all clients, which accepts them itself: it gets the listening
	// sockets as systemd passes them, or the only one as stdin and stdout.
	ModeListen      = "listen"
	ModeListenStdin = "listen:stdin"
)

// Stdio tells whether each client has a process of its own.
func (b *Backend) Stdio() bool { return b.Mode == ModeStdio || b.Mode == ModeStdioStderr }

// Listens tells whether the backend accepts its clients itself.
func (b *Backend) Listens() bool { return b.Mode == ModeListen || b.Mode == ModeListenStdin }

// Limit is a resource limit, see setrlimit(2).
type Limit struct{ Soft, Hard uint64 }

// The values of Alive=, IdleAction=, NotifyAccess=, WakeOn= and OnTimeout=.
const (
	AliveConnect   = "connect"
	AliveExec      = "exec"
	IdleStop       = "stop"
	IdleFreeze     = "freeze"
	NotifyAll      = "all"
	NotifyMain     = "main"
	WakeConnect    = "connect"
	WakeData       = "data"
	TimeoutClose   = "close"
	TimeoutReset   = "reset"
	TimeoutRestart = "restart"
)

// The values of Fair=, WhenFull= and HookFailure=.
const (
	FairNo          = "no"
	FairSource      = "source"
	FullRefuse      = "refuse"
	FullReset       = "reset"
	FullMessage     = "message"
	FullBacklog     = "backlog"
	FailureContinue = "continue"
	FailureClose    = "close"
)

// Gate is the section [Gate]: how many connections go through, and who waits.
type Gate struct {
	// MaxConnections is how many go through at once, MaxConnections=. 0: no
	// limit. Default 1.
	MaxConnections int
	// MaxPerSource is how many of one source do, MaxPerSource=. 0, the default:
	// any number.
	MaxPerSource int
	// QueueLength is how many may wait in line, QueueLength=. 0: nobody waits.
	// Default 1024.
	QueueLength int
	// QueuePerSource is how many of one source may, QueuePerSource=. 0, the
	// default: any number.
	QueuePerSource int
	// Fair is whose turn it is, Fair=: FairNo, the default, or FairSource.
	Fair string
	// Rate bounds new connections, Rate=. Zero, the default: it does not.
	Rate Rate
	// QueueTimeout is the longest that one may wait in line, QueueTimeoutSec=.
	// Over 0; default Never.
	QueueTimeout time.Duration
	// SessionTimeout is the longest that a connection may last once it went
	// through, SessionTimeoutSec=. Over 0; default Never.
	SessionTimeout time.Duration
	// SessionIdle is the longest that no byte may move on it, SessionIdleSec=.
	// Over 0; default Never.
	SessionIdle time.Duration
	// OnTimeout is what these two do, OnTimeout=: TimeoutClose, the default,
	// TimeoutReset or TimeoutRestart.
	OnTimeout string
	// WhenFull is what becomes of a connection that finds no place in line,
	// WhenFull=: FullRefuse, the default, FullReset, FullMessage or FullBacklog.
	WhenFull string
	// FullMessage is what stands behind FullMessage's colon.
	FullMessage []byte
	// QueueMessage is sent to who begins to wait, QueueMessage=. Empty, the
	// default: nothing.
	QueueMessage []byte
	// AbortOnClose takes a half-close in line for leaving, AbortOnClose=.
	AbortOnClose bool
	// KeepAlive is after how long of silence a client is asked whether it is
	// still there, KeepAliveSec=. 1s at least; Never: as the socket unit says.
	// Default 5min.
	KeepAlive time.Duration
}

// Rate is so many in any stretch of time of that length.
type Rate struct {
	N   int
	Per time.Duration
}

// Access is the section [Access]: who may come in, and who the client is.
type Access struct {
	// AllowFrom and DenyFrom are where clients may come from, AllowFrom= and
	// DenyFrom=. Empty, the default: from everywhere.
	AllowFrom, DenyFrom access.Sources
	// Times are when they may, AccessTimes=. Empty, the default: always.
	Times access.Times
	// AllowUsers and AllowGroups are the uids and gids of those who may over a
	// UNIX socket, AllowUsers= and AllowGroups=. Both empty, the default:
	// everybody whom the socket's file mode lets connect.
	AllowUsers, AllowGroups []uint32
	// AcceptProxy are the proxies that say who the client is, AcceptProxy=.
	// Empty, the default: none.
	AcceptProxy access.Sources
	// AcceptProxyUnix: a client of a UNIX socket is such a proxy.
	AcceptProxyUnix bool
}

// Hooks is the section [Hooks]: commands of the administrator's. Each is empty
// by default: none.
type Hooks struct {
	BeforeNext []string // before a connection is let through, BeforeNext=
	OnTimeout  []string // a session ran into a time limit, OnTimeout=
	OnStart    []string // the backend was started, OnStart=
	OnReady    []string // it is ready, OnReady=
	OnStop     []string // it has ended as it should, OnStop=
	OnCrash    []string // it has ended unasked, or could not be started, OnCrash=
	// Timeout is the longest that one may take, HookTimeoutSec=. Default 30s,
	// may be Never.
	Timeout time.Duration
	// Failure is what becomes of a connection when BeforeNext= failed,
	// HookFailure=: FailureContinue, the default, or FailureClose.
	Failure string
}

// Service is the section [Service]: tiproxy's own end.
type Service struct {
	// IdleExit is how long tiproxy stays without a connection, IdleExitSec=. At
	// least 1s; may be Never. Default Unset: 5min when systemd passed the
	// sockets, else Never.
	IdleExit time.Duration
	// Drain is how long those already let in are served on after SIGTERM,
	// DrainSec=. 0: cut at once; may be Never. Default 30s.
	Drain time.Duration
	// LogLevel is the least that is told, LogLevel=: error, warning, info, the
	// default, or debug.
	LogLevel string
	// LogFormat is how, LogFormat=: auto, the default, text, json or journal.
	LogFormat string
	// LogClients is what is told of a client's address, LogClients=: full, the
	// default, masked or none.
	LogClients string
	// MetricsListen is where /metrics is served over TCP, MetricsListen=. Zero,
	// the default: on the control socket alone.
	MetricsListen sockaddr.Name
	// ControlGroup is the group that may use the control socket besides root,
	// ControlGroup=, a name or a number. Empty, the default: none.
	ControlGroup string
}

// Default is the Config of an empty file.
func Default() *Config {
	c := new(Config)
	for _, s := range settings {
		if err := s.set(c, ""); err != nil {
			panic(fmt.Sprintf("default of %s=: %v", s.Key, err)) // a mistake in the table
		}
	}
	return c
}

// Set writes one flag, named without its dashes, over what the file said. An
// empty value is the default again. The error names the flag.
func (c *Config) Set(flag, value string) error {
	for _, s := range settings {
		if s.Flag != flag || flag == "" {
			continue
		}
		if err := s.set(c, value); err != nil {
			return fmt.Errorf("cannot use --%s: %w", flag, err)
		}
		return nil
	}
	return fmt.Errorf("cannot use --%s: no setting has such a flag", flag)
}
