package config

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/sockaddr"
	"golang.org/x/sys/unix"
)

func TestDefault(t *testing.T) {
	want := &Config{
		Backend: Backend{
			Mode:          ModeConnect,
			UserGroups:    true,
			Ready:         ReadyListen,
			ReadyInterval: 500 * time.Millisecond,
			StartTimeout:  30 * time.Second,
			IdleStop:      30 * time.Second,
			StopTimeout:   30 * time.Second,
			StopSignal:    unix.SIGTERM,
			AliveInterval: 30 * time.Second,
			WakeOn:        WakeConnect,
			WakeTimeout:   10 * time.Second,
			IdleAction:    IdleStop,
			IdleFreeze:    Never,
			RecycleAge:    Never,
			RecycleGrace:  5 * time.Minute,
			Watchdog:      Never,
			NotifyAccess:  NotifyAll,
		},
		Gate: Gate{
			MaxConnections: 1, QueueLength: 1024, Fair: FairNo, QueueTimeout: Never, SessionTimeout: Never, SessionIdle: Never,
			OnTimeout: TimeoutClose, WhenFull: FullRefuse, KeepAlive: 5 * time.Minute,
		},
		Hooks:   Hooks{Timeout: 30 * time.Second, Failure: FailureContinue},
		Service: Service{IdleExit: Unset, Drain: 30 * time.Second, LogLevel: "info", LogFormat: "auto", LogClients: "full"},
		said:    map[string]string{},
	}
	if got := Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestSet(t *testing.T) {
	var tests = []struct {
		flag, value string
		got         func(*Config) any
		want        any
	}{
		{"workdir", "/srv", func(c *Config) any { return c.Backend.WorkingDirectory }, "/srv"},
		{"dest", "localhost:80", func(c *Config) any { return c.Backend.Address.String() }, "localhost:80"},
		{"dest", "/run/b.sock:0", func(c *Config) any { return c.Backend.Address.String() }, "/run/b.sock:0"},
		{"dest", "auto", func(c *Config) any { return c.Backend.AddressAuto }, true},
		{"unit", "mariadb.service", func(c *Config) any { return c.Backend.Unit }, "mariadb.service"},
		{"user", "mysql", func(c *Config) any { return c.Backend.User }, "mysql"},
		{"group", "33", func(c *Config) any { return c.Backend.Group }, "33"},
		{"user-groups", "no", func(c *Config) any { return c.Backend.UserGroups }, false},
		{"environment", `A=1 "B=2 3"`, func(c *Config) any { return strings.Join(c.Backend.Environment, "|") }, "A=1|B=2 3"},
		{"environment-file", "-/etc/default/x", func(c *Config) any { return c.Backend.EnvironmentFiles[0] }, "-/etc/default/x"},
		{"umask", "0027", func(c *Config) any { return *c.Backend.UMask }, 0o27},
		{"nice", "-5", func(c *Config) any { return *c.Backend.Nice }, -5},
		{"oom-score-adjust", "500", func(c *Config) any { return *c.Backend.OOMScoreAdjust }, 500},
		{"limit-nofile", "1024:4096", func(c *Config) any { return *c.Backend.LimitNOFILE }, Limit{1024, 4096}},
		{"limit-nofile", "512", func(c *Config) any { return *c.Backend.LimitNOFILE }, Limit{512, 512}},
		{"ready-when", "exec:pg_isready -q", func(c *Config) any { return strings.Join(c.Backend.ReadyCommand, "|") }, "pg_isready|-q"},
		{"ready-when", "log:ready for (connections|clients)$", func(c *Config) any { return c.Backend.ReadyLog.String() }, "ready for (connections|clients)$"},
		{"ready-when", "fd:3", func(c *Config) any { return c.Backend.ReadyFD }, 3},
		{"ready-delay", "200ms", func(c *Config) any { return c.Backend.ReadyDelay }, 200 * time.Millisecond},
		{"stop-signal", "int", func(c *Config) any { return c.Backend.StopSignal }, unix.SIGINT},
		{"stop-signal", "SIGQUIT", func(c *Config) any { return c.Backend.StopSignal }, unix.SIGQUIT},
		{"stop-signal", "2", func(c *Config) any { return c.Backend.StopSignal }, unix.SIGINT},
		{"stop-command", "ctl 'stop now'", func(c *Config) any { return strings.Join(c.Backend.StopCommand, "|") }, "ctl|stop now"},
		{"alive", "connect", func(c *Config) any { return c.Backend.Alive }, AliveConnect},
		{"alive", "exec:ping it", func(c *Config) any { return strings.Join(c.Backend.AliveCommand, "|") }, "ping|it"},
		{"alive-interval", "5", func(c *Config) any { return c.Backend.AliveInterval }, 5 * time.Second},
		{"wake-on", "data", func(c *Config) any { return c.Backend.WakeOn }, WakeData},
		{"wake-timeout", "0", func(c *Config) any { return c.Backend.WakeTimeout }, Never},
		{"min-uptime", "1min", func(c *Config) any { return c.Backend.MinUptime }, time.Minute},
		{"preload", "yes", func(c *Config) any { return c.Backend.Preload }, true},
		{"preload", "Off", func(c *Config) any { return c.Backend.Preload }, false},
		{"idle-action", "freeze", func(c *Config) any { return c.Backend.IdleAction }, IdleFreeze},
		{"idle-freeze", "1h", func(c *Config) any { return c.Backend.IdleFreeze }, time.Hour},
		{"recycle", "20", func(c *Config) any { return c.Backend.RecycleConnections }, 20},
		{"recycle-age", "0", func(c *Config) any { return c.Backend.RecycleAge }, Never},
		{"recycle-memory", "800M", func(c *Config) any { return c.Backend.RecycleMemory }, int64(800 << 20)},
		{"recycle-memory", "8191T", func(c *Config) any { return c.Backend.RecycleMemory }, int64(8191 << 40)},
		{"recycle-jitter", "10%", func(c *Config) any { return c.Backend.RecycleJitter }, 10},
		{"recycle-grace", "30", func(c *Config) any { return c.Backend.RecycleGrace }, 30 * time.Second},
		{"watchdog", "20s", func(c *Config) any { return c.Backend.Watchdog }, 20 * time.Second},
		{"notify-access", "main", func(c *Config) any { return c.Backend.NotifyAccess }, NotifyMain},
		{"on-timeout", "restart", func(c *Config) any { return c.Gate.OnTimeout }, TimeoutRestart},
		{"ready-when", "none", func(c *Config) any { return c.Backend.Ready }, ReadyNone},
		{"ready", "2", func(c *Config) any { return c.Backend.ReadyInterval }, 2 * time.Second},
		{"start", "0", func(c *Config) any { return c.Backend.StartTimeout }, Never},
		{"idle", "0", func(c *Config) any { return c.Backend.IdleStop }, time.Duration(0)},
		{"idle", "infinity", func(c *Config) any { return c.Backend.IdleStop }, Never},
		{"stop", "0", func(c *Config) any { return c.Backend.StopTimeout }, time.Duration(0)},
		{"connections", "0", func(c *Config) any { return c.Gate.MaxConnections }, 0},
		{"connections", "2147483647", func(c *Config) any { return c.Gate.MaxConnections }, math.MaxInt32},
		{"queue", "7", func(c *Config) any { return c.Gate.QueueLength }, 7},
		{"queue", "", func(c *Config) any { return c.Gate.QueueLength }, 1024},
		{"queue-timeout", "1min", func(c *Config) any { return c.Gate.QueueTimeout }, time.Minute},
		{"queue-timeout", "0", func(c *Config) any { return c.Gate.QueueTimeout }, Never},
		{"timeout", "90", func(c *Config) any { return c.Gate.SessionTimeout }, 90 * time.Second},
		{"exit-idle-time", "1s", func(c *Config) any { return c.Service.IdleExit }, time.Second},
		{"exit-idle-time", "never", func(c *Config) any { return c.Service.IdleExit }, Never},
		{"exit-idle-time", "", func(c *Config) any { return c.Service.IdleExit }, Unset},
		{"drain", "5min", func(c *Config) any { return c.Service.Drain }, 5 * time.Minute},
	}
	for _, tt := range tests {
		c := Default()
		if err := c.Set(tt.flag, tt.value); err != nil {
			t.Errorf("--%s %q: %v", tt.flag, tt.value, err)
		} else if got := tt.got(c); got != tt.want {
			t.Errorf("--%s %q: got %v, want %v", tt.flag, tt.value, got, tt.want)
		}
	}
}

func TestSetRefuses(t *testing.T) {
	var tests = []struct{ flag, value, want string }{
		{"workdir", "srv", "not an absolute path"},
		{"dest", "localhost", "is no address"},
		{"dest", "localhost:0", "port 0"},
		{"dest", "0", "port 0"},
		{"ready-when", "exec", "without a command"},
		{"ready-when", "exec:", "without a command"},
		{"ready-when", "log:", "without an expression"},
		{"ready-when", "log:(", "missing closing"},
		{"ready-when", "fd:2", "no fd from 3"},
		{"ready-when", "fd:x", "no fd from 3"},
		{"ready-when", "listen:80", "nothing stands behind"},
		{"ready-when", "soon", "none of listen, notify, connect, exec:"},
		{"stop-signal", "SIGNAL", "no signal"},
		{"alive", "exec:", "without a command"},
		{"alive", "yes", "neither connect nor exec"},
		{"alive-interval", "100ms", "1s at least"},
		{"ready", "0", "is no pause"},
		{"ready", "infinity", "is no pause"},
		{"start", "soon", "want a number"},
		{"idle", "-1s", "negative"},
		{"connections", "-1", "not a whole number"},
		{"connections", "1.5", "not a whole number"},
		{"queue", "2147483648", "too large"},
		{"exit-idle-time", "999ms", "too short"},
		{"exit-idle-time", "0", "too short"},
		{"unit", "mariadb", "its whole name"},
		{"unit", "a b.service", "its whole name"},
		{"unit", "mariadb.socket", "its whole name"},
		{"user", "a b", "not one word"},
		{"environment", "=1", "not NAME=VALUE"},
		{"environment-file", "x", "not an absolute path"},
		{"umask", "8", "from 0 to 777"},
		{"nice", "20", "from -20 to 19"},
		{"limit-nofile", "2:1", "the lower one first"},
		{"preload", "maybe", "neither yes nor no"},
		{"idle-action", "Freeze", "none of stop, freeze"},
		{"recycle-memory", "8388608T", "no number of bytes"},
		{"recycle-memory", "M", "no number of bytes"},
		{"recycle-memory", "1.5G", "no number of bytes"},
		{"recycle-jitter", "101", "no share"},
		{"nonsense", "1", "no setting has such a flag"},
		{"", "1", "no setting has such a flag"},
	}
	for _, tt := range tests {
		c := Default()
		err := c.Set(tt.flag, tt.value)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "--"+tt.flag) {
			t.Errorf("--%s %q: got error %v, want one with %q and the flag", tt.flag, tt.value, err, tt.want)
		}
		if !reflect.DeepEqual(c, Default()) {
			t.Errorf("--%s %q: refused, yet it changed the Config", tt.flag, tt.value)
		}
	}
}

func TestAddressLaterWins(t *testing.T) {
	c := Default()
	for _, value := range []string{"auto", "127.0.0.1:80"} {
		if err := c.Set("dest", value); err != nil {
			t.Fatal(err)
		}
	}
	if c.Backend.AddressAuto || c.Backend.Address.String() != "127.0.0.1:80" {
		t.Errorf("an address after auto: got %+v", c.Backend)
	}
	if err := c.Set("dest", "auto"); err != nil {
		t.Fatal(err)
	}
	if !c.Backend.AddressAuto || !c.Backend.Address.IsZero() {
		t.Errorf("auto after an address: got %+v", c.Backend)
	}
}

func TestCheck(t *testing.T) {
	address := func(s string) sockaddr.Name {
		n, err := sockaddr.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	command := []string{"/bin/server"}
	var tests = []struct {
		name    string
		backend Backend
		want    []string // parts of the error; none: no error
	}{
		{"gate and relay only", Backend{Address: address("127.0.0.1:80"), Ready: ReadyListen}, nil},
		{"relay to vsock", Backend{Address: address("vsock:3:80"), Ready: ReadyListen}, nil},
		{"command", Backend{Exec: command, Address: address("80"), Ready: ReadyListen}, nil},
		{"command on a free port", Backend{Exec: command, AddressAuto: true, Ready: ReadyNotify}, nil},
		{"command on vsock", Backend{Exec: command, Address: address("vsock:3:80"), Ready: ReadyConnect}, nil},
		{"no address", Backend{Exec: command, Ready: ReadyListen}, []string{"without an address", "Address=", "in [Backend] of /etc/x.conf"}},
		{"auto, no command", Backend{AddressAuto: true, Ready: ReadyListen}, []string{"without a command", "Exec="}},
		{"ready, no command", Backend{Address: address("80"), Ready: ReadyNotify}, []string{"without a command", "Ready=notify"}},
		{"both", Backend{AddressAuto: true, Ready: ReadyConnect}, []string{"Address=auto", "Ready=connect"}},
		{"listen on vsock", Backend{Exec: command, Address: address("vsock:3:80"), Ready: ReadyListen}, []string{"vsock:3:80", "Ready=notify or Ready=connect"}},
	}
	for _, tt := range tests {
		err := (&Config{Backend: tt.backend, file: "/etc/x.conf"}).Check()
		if (err != nil) != (tt.want != nil) || errors.Is(err, ErrNoBackend) {
			t.Errorf("%s: got error %v", tt.name, err)
			continue
		}
		for _, part := range tt.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: no %q in %q", tt.name, part, err)
			}
		}
	}
}

func TestCheckUnit(t *testing.T) {
	var tests = []struct{ name, flag, value, refused string }{
		{"nothing else", "dest", "3306", ""},
		{"by connect", "ready-when", "connect", ""},
		{"at once", "ready-when", "none", ""},
		{"another patience", "stop", "15min", ""},
		{"recycled", "recycle-memory", "1G", ""},
		{"asked by connect", "alive", "connect", ""},
		{"working directory", "workdir", "/srv", "WorkingDirectory="},
		{"user", "user", "mysql", "User="},
		{"group", "group", "mysql", "Group="},
		{"environment", "environment", "A=1", "Environment="},
		{"environment file", "environment-file", "/etc/default/x", "EnvironmentFile="},
		{"umask", "umask", "022", "UMask="},
		{"nice", "nice", "1", "Nice="},
		{"oom", "oom-score-adjust", "1", "OOMScoreAdjust="},
		{"limit", "limit-nofile", "1024", "LimitNOFILE="},
		{"auto", "dest", "auto", "Address=auto"},
		{"notify", "ready-when", "notify", "Ready=notify"},
		{"exec", "ready-when", "exec:true", "Ready=exec"},
		{"log", "ready-when", "log:ready", "Ready=log"},
		{"fd", "ready-when", "fd:3", "Ready=fd"},
		{"stop signal", "stop-signal", "SIGINT", "StopSignal="},
		{"stop command", "stop-command", "true", "StopCommand="},
		{"asked by command", "alive", "exec:true", "Alive=exec"},
		{"frozen", "idle-action", "freeze", "IdleAction=freeze"},
		{"watchdog", "watchdog", "1min", "WatchdogSec="},
		{"notify access", "notify-access", "main", "NotifyAccess=main"},
	}
	for _, tt := range tests {
		c := Default()
		for _, a := range [][2]string{{"unit", "mariadb.service"}, {"dest", "3306"}, {tt.flag, tt.value}} {
			if err := c.Set(a[0], a[1]); err != nil {
				t.Fatal(err)
			}
		}
		err := c.Check()
		if (err == nil) != (tt.refused == "") {
			t.Errorf("%s: got error %v", tt.name, err)
		} else if err != nil && !strings.Contains(err.Error(), "no room for "+tt.refused+", which") {
			t.Errorf("%s: no %q alone in %q", tt.name, tt.refused, err)
		}
	}
}

func TestCheckUnitAndCommand(t *testing.T) {
	c := Default()
	c.Backend.Unit, c.Backend.Exec = "mariadb.service", []string{"mariadbd"}
	err := c.Check()
	for _, part := range []string{"no room for Exec=,", "systemctl edit mariadb.service", "without an address"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in %v", part, err)
		}
	}
}

func TestCheckNoBackend(t *testing.T) {
	for _, file := range []string{"", "/etc/tiproxy/web.conf"} {
		c := Default()
		c.file = file
		err := c.Check()
		if !errors.Is(err, ErrNoBackend) {
			t.Fatalf("got %v, want ErrNoBackend", err)
		}
		for _, part := range []string{"Exec=", "Address=", "[Backend]", file} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("no %q in %q", part, err)
			}
		}
	}
}

func TestSettingsAreDistinct(t *testing.T) {
	seen := make(map[string]string)
	for _, s := range Settings() {
		for _, name := range []string{s.String(), "--" + s.Flag, "-" + s.Short} {
			if strings.Trim(name, "-") == "" {
				continue
			}
			if seen[name] != "" {
				t.Errorf("%s stands for %s and %s", name, seen[name], s.Key)
			}
			seen[name] = s.Key
		}
		if s.Usage == "" || strings.HasSuffix(s.Usage, ".") || s.Arg == "" {
			t.Errorf("%s: want an Arg and one sentence of Usage without its full stop: %+v", s.Key, s)
		}
	}
}
