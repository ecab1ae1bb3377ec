package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Check finds what can be seen only when all settings are known, and returns
// every fault that it finds. An error that wraps [ErrNoBackend] holds no other.
func (c *Config) Check() error {
	b := &c.Backend
	if b.Stdio() || b.Listens() {
		return c.checkMode()
	}
	command, address := len(b.Exec) > 0, b.AddressAuto || !b.Address.IsZero()
	kept := command || b.Unit != "" // the backend is ours to start
	if !kept && !address {
		return fmt.Errorf("%w: write Exec= and Address= %s, or give --dest", ErrNoBackend, c.place())
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !address {
		fault("backend without an address: write Address= %s, or give --dest: where the command listens, or auto for a free port", c.place())
	}
	if b.AddressAuto && !kept {
		fault("backend without a command: only a command can be told the port of Address=auto; write Exec= %s, or the address of a backend that runs already", c.place())
	}
	if b.Ready != ReadyListen && !kept {
		fault("backend without a command: Ready=%s is about a command that tiproxy starts; write Exec= %s, or leave Ready= out", b.Ready, c.place())
	}
	if c.Gate.OnTimeout == TimeoutRestart && !kept {
		fault("backend without a command: OnTimeout=restart is about a command that tiproxy starts; write Exec= %s, or leave OnTimeout= out", c.place())
	}
	if !kept && (b.User != "" || b.Group != "") {
		fault("backend without a command: User= and Group= are about a command that tiproxy starts; write Exec= %s, or leave them out", c.place())
	}
	if b.Ready == ReadyListen && kept && b.Address.Addr().Family == unix.AF_VSOCK {
		fault("cannot see who listens at %s: write Ready=notify or Ready=connect %s", b.Address, c.place())
	}
	if keys := b.ofCommand(); b.Unit != "" && len(keys) > 0 {
		fault("Unit=%s leaves no room for %s, which tiproxy can do for a command of its own alone: leave that out, or say the like in the unit (systemctl edit %[1]s)",
			b.Unit, strings.Join(keys, ", "))
	}
	return errors.Join(faults...)
}

// ofCommand lists the settings that are set and make sense only of a command
// that tiproxy itself starts.
func (b *Backend) ofCommand() (keys []string) {
	for _, s := range []struct {
		key string
		set bool
	}{
		{"Exec=", len(b.Exec) > 0},
		{"WorkingDirectory=", b.WorkingDirectory != ""},
		{"User=", b.User != ""},
		{"Group=", b.Group != ""},
		{"UserGroups=no", !b.UserGroups},
		{"Environment=", len(b.Environment) > 0},
		{"EnvironmentFile=", len(b.EnvironmentFiles) > 0},
		{"UMask=", b.UMask != nil},
		{"Nice=", b.Nice != nil},
		{"OOMScoreAdjust=", b.OOMScoreAdjust != nil},
		{"LimitNOFILE=", b.LimitNOFILE != nil},
		{"Address=auto", b.AddressAuto},
		{"Ready=" + string(b.Ready), !slices.Contains([]Readiness{ReadyListen, ReadyConnect, ReadyNone}, b.Ready)},
		{"StopSignal=", b.StopSignal != unix.SIGTERM},
		{"StopCommand=", len(b.StopCommand) > 0},
		{"Alive=exec", b.Alive == AliveExec},
		{"IdleAction=freeze", b.IdleAction == IdleFreeze},
		{"WatchdogSec=", b.Watchdog != Never},
		{"NotifyAccess=main", b.NotifyAccess == NotifyMain},
	} {
		if s.set {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// notForStdio are the settings about one backend that all clients share, and
// about bytes that are relayed: who is run for each client has neither.
var notForStdio = []string{
	"[Backend] Unit=", "[Backend] Address=", "[Backend] Ready=", "[Backend] ReadyIntervalSec=", "[Backend] ReadyDelaySec=",
	"[Backend] StartTimeoutSec=", "[Backend] IdleStopSec=", "[Backend] StopCommand=", "[Backend] Alive=", "[Backend] AliveSec=",
	"[Backend] MinUptimeSec=", "[Backend] Preload=", "[Backend] IdleAction=", "[Backend] IdleFreezeSec=",
	"[Backend] RecycleConnections=", "[Backend] RecycleAgeSec=", "[Backend] RecycleMemory=", "[Backend] RecycleJitter=",
	"[Backend] RecycleGraceSec=", "[Backend] WatchdogSec=", "[Backend] NotifyAccess=", "[Backend] SendProxy=",
	"[Gate] SessionIdleSec=", "[Gate] OnTimeout=",
	"[Hooks] OnStart=", "[Hooks] OnReady=", "[Hooks] OnStop=", "[Hooks] OnCrash=",
}

// notForListen are those about clients whom tiproxy accepts, and about what only
// those tell: Mode=listen leaves them to the backend.
var notForListen = []string{
	"[Backend] Unit=", "[Backend] Address=", "[Backend] WakeOn=", "[Backend] WakeTimeoutSec=", "[Backend] Preload=", "[Backend] SendProxy=",
	"[Backend] RecycleConnections=", "[Backend] RecycleAgeSec=", "[Backend] RecycleMemory=", "[Backend] RecycleJitter=",
	"[Backend] RecycleGraceSec=",
	"[Gate] MaxConnections=", "[Gate] MaxPerSource=", "[Gate] QueueLength=", "[Gate] QueuePerSource=", "[Gate] Fair=", "[Gate] Rate=",
	"[Gate] QueueTimeoutSec=", "[Gate] SessionTimeoutSec=", "[Gate] SessionIdleSec=", "[Gate] OnTimeout=", "[Gate] WhenFull=",
	"[Gate] QueueMessage=", "[Gate] AbortOnClose=", "[Gate] KeepAliveSec=",
	"[Access] AllowFrom=", "[Access] DenyFrom=", "[Access] AccessTimes=", "[Access] AllowUsers=", "[Access] AllowGroups=",
	"[Access] AcceptProxy=",
	"[Hooks] BeforeNext=", "[Hooks] OnTimeout=", "[Hooks] HookFailure=", "[Service] DrainSec=",
}

// checkMode is Check with a Mode= in which clients are not relayed.
func (c *Config) checkMode() error {
	b := &c.Backend
	if len(b.Exec) == 0 {
		return fmt.Errorf("%w: Mode=%s is about a command that tiproxy starts: write Exec= %s", ErrNoBackend, b.Mode, c.place())
	}
	unfit, why := notForStdio, "each client has a command of its own, which gets the client's own socket"
	if b.Listens() {
		unfit, why = notForListen, "the backend accepts its clients itself"
	}
	said := slices.DeleteFunc(slices.Clone(unfit), func(setting string) bool { return c.said[setting] == "" })
	if b.Listens() && (b.Ready == ReadyConnect || b.Ready == ReadyFD) {
		said = append(said, "[Backend] Ready="+string(b.Ready))
	}
	if b.Listens() && b.Alive == AliveConnect {
		said = append(said, "[Backend] Alive="+b.Alive)
	}
	if len(said) == 0 {
		return nil
	}
	return fmt.Errorf("cannot use %s with Mode=%s: %s; leave that out, or Mode=%[2]s", strings.Join(said, ", "), b.Mode, why)
}

// place tells where the backend's settings are to be written.
func (c *Config) place() string {
	return c.whichFileFor("Exec")
}

func (c *Config) whichFile() string {
	if c.file == "" {
		return "of tiproxy.conf"
	}
	return "of " + c.file
}
