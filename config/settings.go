package config

import (
	"slices"
	"time"

	"github.com/tiproxy/tiproxy/access"
)

// Setting is one line of the table of settings.
type Setting struct {
	Section string // in tiproxy.conf, without brackets
	Key     string // in tiproxy.conf, without "="
	Flag    string // long flag without dashes; "": the command line says it another way
	Short   string // flag of one letter; "": none
	Arg     string // what stands for the value in help, such as DURATION
	Default string // as it is written in tiproxy.conf; "": nothing is set
	Usage   string // one sentence, without its full stop

	// parse writes a value, or "" for nothing, into its field.
	parse func(*Config, string) error
}

// set gives the setting a value; an empty one is its default again, as an empty
// assignment resets a setting in a unit file.
func (s Setting) set(c *Config, value string) error {
	said := value
	if value == "" {
		value = s.Default
	}
	if err := s.parse(c, value); err != nil {
		return err
	}
	c.note(s, said)
	return nil
}

// isList tells whether a setting may stand several times, and adds up.
func (s Setting) isList() bool {
	return slices.Contains([]string{
		"Environment", "EnvironmentFile", "AllowFrom", "DenyFrom", "AccessTimes", "AllowUsers", "AllowGroups", "AcceptProxy",
	}, s.Key)
}

// Settings is the table, in the order of the example file.
func Settings() []Setting { return slices.Clone(settings) }

var settings = []Setting{
	{"Backend", "Exec", "", "", "COMMAND", "",
		"Command that starts the backend, quoted as in a unit file; without one tiproxy only queues and relays",
		words(func(c *Config) *[]string { return &c.Backend.Exec })},
	{"Backend", "Unit", "unit", "", "NAME.service", "",
		"Instead of a command, a service of systemd's to start and stop; one that runs already is taken as it is, and stopped when idle like any other; tiproxy must run as root for that",
		parseUnit},
	{"Backend", "WorkingDirectory", "workdir", "", "DIR", "",
		"Where the command runs, an absolute path; without one where tiproxy runs",
		parseWorkingDirectory},
	{"Backend", "User", "user", "", "USER", "",
		"User that the backend runs as, a name or a number; tiproxy must run as root for that; without one it is tiproxy's own",
		text(func(c *Config) *string { return &c.Backend.User })},
	{"Backend", "Group", "group", "", "GROUP", "",
		"Group that the backend runs as, a name or a number; without one the user's",
		text(func(c *Config) *string { return &c.Backend.Group })},
	{"Backend", "Environment", "environment", "", "NAME=VALUE", "",
		"Variables of the backend's environment, quoted as in a unit file; may stand several times",
		parseEnvironment},
	{"Backend", "EnvironmentFile", "environment-file", "", "FILE", "",
		"File of NAME=VALUE lines for the backend's environment, read at each start; with - before it it may be missing; may stand several times",
		parseEnvironmentFile},
	{"Backend", "UMask", "umask", "", "MODE", "",
		"File mode bits, octal, that files of the backend do not get; without one as tiproxy's own",
		number(func(c *Config) **int { return &c.Backend.UMask }, 8, 0, 0o777)},
	{"Backend", "Nice", "nice", "", "N", "",
		"Scheduling priority of the backend, -20 (first) to 19; without one as tiproxy's own",
		number(func(c *Config) **int { return &c.Backend.Nice }, 10, -20, 19)},
	{"Backend", "OOMScoreAdjust", "oom-score-adjust", "", "N", "",
		"How ready the kernel is to kill the backend when memory is short, -1000 (never) to 1000; without one as tiproxy's own",
		number(func(c *Config) **int { return &c.Backend.OOMScoreAdjust }, 10, -1000, 1000)},
	{"Backend", "LimitNOFILE", "limit-nofile", "", "N[:N]", "",
		"How many files the backend may have open, soft or soft:hard; without one as tiproxy was given it",
		parseLimitNOFILE},
	{"Backend", "Address", "dest", "d", "ADDR", "",
		"Where the backend listens: host:port, a UNIX socket's path, vsock:CID:PORT, or auto for a free port told to the command as $PORT and {port}",
		parseAddress},
	{"Backend", "Ready", "ready-when", "", "HOW", "listen",
		"When a started backend counts as ready: listen (it listens at the address), notify (it says so with sd_notify), connect (a connection succeeds), exec:COMMAND (that succeeds), log:REGEX (a line of its output matches), fd:N (it writes a newline to that fd, as for s6), or none (at once)",
		parseReady},
	{"Backend", "ReadyIntervalSec", "ready", "", "DURATION", "500ms",
		"Longest pause between two looks at whether the backend is ready",
		parseReadyInterval},
	{"Backend", "ReadyDelaySec", "ready-delay", "", "DURATION", "0",
		"Wait so long after any of them before the first client is let through",
		span(func(c *Config) *time.Duration { return &c.Backend.ReadyDelay })},
	{"Backend", "StartTimeoutSec", "start", "", "DURATION", "30s",
		"Longest a start may take until the backend is ready, with 0 or infinity no limit",
		limit(func(c *Config) *time.Duration { return &c.Backend.StartTimeout })},
	{"Backend", "IdleStopSec", "idle", "", "DURATION", "30s",
		"Stop the backend after that long without a connection, with 0 at once, with infinity never",
		span(func(c *Config) *time.Duration { return &c.Backend.IdleStop })},
	{"Backend", "StopTimeoutSec", "stop", "", "DURATION", "30s",
		"Patience between SIGTERM and SIGKILL when the backend is stopped, with 0 none",
		span(func(c *Config) *time.Duration { return &c.Backend.StopTimeout })},

	{"Backend", "StopSignal", "stop-signal", "", "SIGNAL", "SIGTERM",
		"Signal that asks the backend's processes to end",
		parseStopSignal},
	{"Backend", "StopCommand", "stop-command", "", "COMMAND", "",
		"Command that asks the backend to end, run before StopSignal= is sent, with $MAINPID",
		words(func(c *Config) *[]string { return &c.Backend.StopCommand })},
	{"Backend", "Alive", "alive", "", "HOW", "",
		"How a running backend is asked whether it still answers: connect (a connection succeeds) or exec:COMMAND; without one it is not asked",
		parseAlive},
	{"Backend", "AliveSec", "alive-interval", "", "DURATION", "30s",
		"How often Alive= asks; a backend that does not answer twice in a row is replaced",
		parseAliveInterval},
	{"Backend", "WakeOn", "wake-on", "", "EVENT", "connect",
		"What a client must do to stand in line and start the backend: connect, or data (send its first byte, for protocols in which the client speaks first)",
		choice(func(c *Config) *string { return &c.Backend.WakeOn }, WakeConnect, WakeData)},
	{"Backend", "WakeTimeoutSec", "wake-timeout", "", "DURATION", "10s",
		"With WakeOn=data, send a client away that said nothing for so long, with 0 or infinity never",
		limit(func(c *Config) *time.Duration { return &c.Backend.WakeTimeout })},
	{"Backend", "MinUptimeSec", "min-uptime", "", "DURATION", "0",
		"Do not stop the backend for idleness before it was ready for so long",
		span(func(c *Config) *time.Duration { return &c.Backend.MinUptime })},
	{"Backend", "Preload", "preload", "", "BOOL", "no",
		"Start the backend with tiproxy, before any client comes",
		boolean(func(c *Config) *bool { return &c.Backend.Preload })},
	{"Backend", "IdleAction", "idle-action", "", "ACTION", "stop",
		"What becomes of an idle backend: stop, or freeze (its processes stand still, keep their memory, and go on when a client comes)",
		choice(func(c *Config) *string { return &c.Backend.IdleAction }, IdleStop, IdleFreeze)},
	{"Backend", "IdleFreezeSec", "idle-freeze", "", "DURATION", "infinity",
		"Stop a backend for good that was frozen for so long, with 0 or infinity never",
		limit(func(c *Config) *time.Duration { return &c.Backend.IdleFreeze })},
	{"Backend", "RecycleConnections", "recycle", "", "N", "0",
		"Replace the backend after so many connections, between two of them, with 0 never; who comes meanwhile waits",
		count(func(c *Config) *int { return &c.Backend.RecycleConnections })},
	{"Backend", "RecycleAgeSec", "recycle-age", "", "DURATION", "infinity",
		"Replace the backend so long after it was ready, with 0 or infinity never",
		limit(func(c *Config) *time.Duration { return &c.Backend.RecycleAge })},
	{"Backend", "RecycleMemory", "recycle-memory", "", "BYTES", "0",
		"Replace the backend when all its processes use more than that, as seen at the end of a connection; with K, M or G, and with 0 never",
		size(func(c *Config) *int64 { return &c.Backend.RecycleMemory })},
	{"Backend", "RecycleJitter", "recycle-jitter", "", "PERCENT", "0",
		"Shorten RecycleConnections= and RecycleAgeSec= by up to so many percent at random, so that many machines do not replace theirs at once",
		percent(func(c *Config) *int { return &c.Backend.RecycleJitter })},
	{"Backend", "RecycleGraceSec", "recycle-grace", "", "DURATION", "5min",
		"How long connections may last on that keep a backend from being replaced, with 0 or infinity no limit; then they are cut",
		limit(func(c *Config) *time.Duration { return &c.Backend.RecycleGrace })},
	{"Backend", "WatchdogSec", "watchdog", "", "DURATION", "infinity",
		"Replace a backend that has not said WATCHDOG=1 (sd_notify) for so long, with 0 or infinity never; it is told so as WATCHDOG_USEC",
		limit(func(c *Config) *time.Duration { return &c.Backend.Watchdog })},
	{"Backend", "SendProxy", "send-proxy", "", "VERSION", "",
		"Tell the backend who each client is by a PROXY header before its bytes, v1 (text) or v2 (binary); the backend must expect it",
		parseSendProxy},
	{"Backend", "NotifyAccess", "notify-access", "", "WHO", "all",
		"Whose sd_notify messages count: all (any process of the backend), or main (its main process)",
		choice(func(c *Config) *string { return &c.Backend.NotifyAccess }, NotifyAll, NotifyMain)},

	{"Gate", "MaxConnections", "connections", "n", "N", "1",
		"How many connections reach the backend at once, with 0 any number",
		count(func(c *Config) *int { return &c.Gate.MaxConnections })},
	{"Gate", "MaxPerSource", "connections-per-source", "", "N", "0",
		"How many of them may be of one source (IPv4 address, IPv6 /64, user of a UNIX socket), with 0 any number; the others wait, and those behind them may pass",
		count(func(c *Config) *int { return &c.Gate.MaxPerSource })},
	{"Gate", "QueueLength", "queue", "", "N", "1024",
		"How many connections may wait for their turn, with 0 none; see WhenFull= for those beyond",
		count(func(c *Config) *int { return &c.Gate.QueueLength })},
	{"Gate", "QueuePerSource", "queue-per-source", "", "N", "0",
		"How many connections of one source may wait, with 0 any number; those beyond are seen off as WhenFull= says, with backlog as with refuse",
		count(func(c *Config) *int { return &c.Gate.QueuePerSource })},
	{"Gate", "Fair", "fair", "", "WHO", "no",
		"Whose turn it is: no (whoever came first), or source (the sources that wait take turns, and within one whoever came first)",
		choice(func(c *Config) *string { return &c.Gate.Fair }, FairNo, FairSource)},
	{"Gate", "Rate", "rate", "", "N/DURATION", "",
		"The most new connections in any stretch of that length, such as 20/2s; those beyond are taken later, none is refused",
		parseRate},
	{"Gate", "QueueTimeoutSec", "queue-timeout", "", "DURATION", "infinity",
		"Longest a connection may wait for its turn, with 0 or infinity no limit",
		limit(func(c *Config) *time.Duration { return &c.Gate.QueueTimeout })},
	{"Gate", "SessionTimeoutSec", "timeout", "t", "DURATION", "infinity",
		"Longest a connection may last once it is let through, with 0 or infinity no limit",
		limit(func(c *Config) *time.Duration { return &c.Gate.SessionTimeout })},
	{"Gate", "SessionIdleSec", "session-idle", "", "DURATION", "infinity",
		"Longest that no byte may move on it either way, with 0 or infinity no limit",
		limit(func(c *Config) *time.Duration { return &c.Gate.SessionIdle })},
	{"Gate", "OnTimeout", "on-timeout", "", "ACTION", "close",
		"What SessionTimeoutSec= and SessionIdleSec= do: close the connection, reset it, or restart (close it, and replace the backend too)",
		choice(func(c *Config) *string { return &c.Gate.OnTimeout }, TimeoutClose, TimeoutReset, TimeoutRestart)},
	{"Gate", "WhenFull", "when-full", "", "ACTION", "refuse",
		"What becomes of a connection that finds no place in line: refuse (it is closed), reset, message:TEXT (it is sent that, with \\r\\n as in C, and closed), or backlog (none is accepted until there is room, so the kernel keeps them)",
		parseWhenFull},
	{"Gate", "QueueMessage", "queue-message", "", "TEXT", "",
		"What is sent to a client that begins to wait, with \\r\\n as in C, where the protocol allows that; without one nothing",
		parseQueueMessage},
	{"Gate", "AbortOnClose", "abort-on-close", "", "BOOL", "no",
		"Take it for leaving when a client in line closes its sending side; without that, who has sent something is served",
		boolean(func(c *Config) *bool { return &c.Gate.AbortOnClose })},
	{"Gate", "KeepAliveSec", "keep-alive", "", "DURATION", "5min",
		"Ask a TCP client that was quiet for so long whether it is still there; one that vanished is gone after twice that; with 0 or infinity as the socket unit says",
		parseKeepAlive},

	{"Access", "AllowFrom", "allow-from", "", "ADDRESS...", "",
		"Where clients may come from: addresses, prefixes (10.0.0.0/8), localhost, link-local, any; may stand several times; without one from everywhere. The most specific of AllowFrom= and DenyFrom= counts",
		sources(func(c *Config) *access.Sources { return &c.Access.AllowFrom })},
	{"Access", "DenyFrom", "deny-from", "", "ADDRESS...", "",
		"Where they may not come from, written as AllowFrom=",
		sources(func(c *Config) *access.Sources { return &c.Access.DenyFrom })},
	{"Access", "AccessTimes", "access-times", "", "HH:MM-HH:MM...", "",
		"When clients may come, in local time; 22:00-06:00 passes midnight; without one always",
		parseAccessTimes},
	{"Access", "AllowUsers", "allow-users", "", "USER...", "",
		"Users who may come over a UNIX socket, names or numbers; without one and without AllowGroups= everybody whom the socket's mode lets in",
		names(func(c *Config) *[]uint32 { return &c.Access.AllowUsers }, access.LookupUsers)},
	{"Access", "AllowGroups", "allow-groups", "", "GROUP...", "",
		"Groups whose members may",
		names(func(c *Config) *[]uint32 { return &c.Access.AllowGroups }, access.LookupGroups)},
	{"Access", "AcceptProxy", "accept-proxy", "", "ADDRESS...", "",
		"Proxies that begin each connection with a PROXY header (v1 or v2), written as AllowFrom=, and unix for UNIX sockets; the client is whom the header names, and over TCP nobody else may connect",
		parseAcceptProxy},

	{"Hooks", "BeforeNext", "before-next", "", "COMMAND", "",
		"Command, quoted as in a unit file, that is run before each connection is let through, which waits for it",
		words(func(c *Config) *[]string { return &c.Hooks.BeforeNext })},
	{"Hooks", "OnTimeout", "timeout-hook", "", "COMMAND", "",
		"Command that is run when a connection was ended by SessionTimeoutSec= or SessionIdleSec=",
		words(func(c *Config) *[]string { return &c.Hooks.OnTimeout })},
	{"Hooks", "OnStart", "on-start", "", "COMMAND", "",
		"Command that is run when the backend was started",
		words(func(c *Config) *[]string { return &c.Hooks.OnStart })},
	{"Hooks", "OnReady", "on-ready", "", "COMMAND", "",
		"Command that is run when it is ready",
		words(func(c *Config) *[]string { return &c.Hooks.OnReady })},
	{"Hooks", "OnStop", "on-stop", "", "COMMAND", "",
		"Command that is run when it has ended as it should",
		words(func(c *Config) *[]string { return &c.Hooks.OnStop })},
	{"Hooks", "OnCrash", "on-crash", "", "COMMAND", "",
		"Command that is run when it has ended unasked, or could not be started",
		words(func(c *Config) *[]string { return &c.Hooks.OnCrash })},
	{"Hooks", "HookTimeoutSec", "hook-timeout", "", "DURATION", "30s",
		"Longest that such a command may take, with 0 or infinity no limit; then it is killed with all its processes",
		limit(func(c *Config) *time.Duration { return &c.Hooks.Timeout })},
	{"Hooks", "HookFailure", "hook-failure", "", "ACTION", "continue",
		"What becomes of a connection whose BeforeNext= failed: continue (it is let through), or close",
		choice(func(c *Config) *string { return &c.Hooks.Failure }, FailureContinue, FailureClose)},

	{"Service", "IdleExitSec", "exit-idle-time", "", "DURATION", "",
		"Exit after that long without a connection, 1s at least; when not set, 5min if systemd passed the sockets, else infinity",
		parseIdleExit},
	{"Service", "DrainSec", "drain", "", "DURATION", "30s",
		"How long those already let in are served on when tiproxy is told to stop, with 0 not at all",
		span(func(c *Config) *time.Duration { return &c.Service.Drain })},
	{"Service", "LogLevel", "log-level", "", "LEVEL", "info",
		"The least that is told: error, warning, info or debug",
		choice(func(c *Config) *string { return &c.Service.LogLevel }, "error", "warning", "info", "debug")},
	{"Service", "LogFormat", "log-format", "", "FORMAT", "auto",
		"How it is told: auto (with fields to the journal where systemd gives us one, else text), text, json or journal",
		choice(func(c *Config) *string { return &c.Service.LogFormat }, "auto", "text", "json", "journal")},
	{"Service", "LogClients", "log-clients", "", "WHAT", "full",
		"What is told of clients' addresses: full, masked (IPv4 /24, IPv6 /48, no users) or none",
		choice(func(c *Config) *string { return &c.Service.LogClients }, "full", "masked", "none")},
	{"Service", "ControlGroup", "control-group", "", "GROUP", "",
		"Group whose members may use the control socket, too, a name or a number; without one only root and tiproxy's own user",
		text(func(c *Config) *string { return &c.Service.ControlGroup })},
	{"Service", "MetricsListen", "metrics-listen", "", "ADDRESS", "",
		"Where Prometheus may fetch /metrics over TCP, host:port or port; anybody who can connect there can read it; without one only at the control socket",
		parseMetricsListen},
}
