package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// samples are values of settings that are not their defaults.
var samples = map[string]string{
	"WorkingDirectory": "/srv", "User": "www-data", "Group": "www-data", "UserGroups": "no", "Environment": "A=1", "EnvironmentFile": "/etc/default/x",
	"UMask": "022", "Nice": "5", "OOMScoreAdjust": "1", "LimitNOFILE": "64",
	"Unit": "x.service", "Address": "80", "Ready": "none", "ReadyIntervalSec": "1s", "ReadyDelaySec": "1s", "StartTimeoutSec": "1s",
	"IdleStopSec": "1s", "StopTimeoutSec": "1s", "StopSignal": "SIGHUP", "StopCommand": "/bin/true", "Alive": "connect", "AliveSec": "1s",
	"WakeOn": "data", "WakeTimeoutSec": "1s", "MinUptimeSec": "1s", "Preload": "yes", "IdleAction": "freeze", "IdleFreezeSec": "1s",
	"RecycleConnections": "1", "RecycleAgeSec": "1s", "RecycleMemory": "1M", "RecycleJitter": "1", "RecycleGraceSec": "1s",
	"WatchdogSec": "1s", "SendProxy": "v1", "NotifyAccess": "main",
	"MaxConnections": "3", "MaxPerSource": "1", "QueueLength": "1", "QueuePerSource": "1", "Fair": "source", "Rate": "1/1s",
	"QueueTimeoutSec": "1s", "SessionTimeoutSec": "1s", "SessionIdleSec": "1s", "WhenFull": "reset", "QueueMessage": "wait",
	"AbortOnClose": "yes", "KeepAliveSec": "1s",
	"AllowFrom": "192.0.2.1", "DenyFrom": "192.0.2.1", "AccessTimes": "08:00-18:00", "AllowUsers": "root", "AllowGroups": "root",
	"AcceptProxy": "192.0.2.1",
	"BeforeNext":  "/bin/true", "OnStart": "/bin/true", "OnReady": "/bin/true", "OnStop": "/bin/true", "OnCrash": "/bin/true",
	"HookTimeoutSec": "1s", "HookFailure": "close", "DrainSec": "1s",
}

// held are the settings that hold in a mode; all others of these sections are refused.
var held = map[string][]string{
	ModeStdio:       heldStdio,
	ModeStdioStderr: heldStdio,
	ModeListen:      heldListen,
	ModeListenStdin: heldListen,
}

var heldStdio = []string{
	"Exec", "Mode", "WorkingDirectory", "User", "Group", "UserGroups", "Environment", "EnvironmentFile", "UMask", "Nice", "OOMScoreAdjust", "LimitNOFILE",
	"StopTimeoutSec", "StopSignal", "WakeOn", "WakeTimeoutSec",
	"MaxConnections", "MaxPerSource", "QueueLength", "QueuePerSource", "Fair", "Rate", "QueueTimeoutSec", "SessionTimeoutSec",
	"WhenFull", "QueueMessage", "AbortOnClose", "KeepAliveSec",
	"AllowFrom", "DenyFrom", "AccessTimes", "AllowUsers", "AllowGroups", "AcceptProxy",
	"BeforeNext", "[Hooks] OnTimeout=", "HookTimeoutSec", "HookFailure", "DrainSec",
}

var heldListen = []string{
	"Exec", "Mode", "WorkingDirectory", "User", "Group", "UserGroups", "Environment", "EnvironmentFile", "UMask", "Nice", "OOMScoreAdjust", "LimitNOFILE",
	"Ready", "ReadyIntervalSec", "ReadyDelaySec", "StartTimeoutSec", "IdleStopSec", "StopTimeoutSec", "StopSignal", "StopCommand",
	"AliveSec", "MinUptimeSec", "IdleAction", "IdleFreezeSec", "WatchdogSec", "NotifyAccess",
	"OnStart", "OnReady", "OnStop", "OnCrash", "HookTimeoutSec",
}

// A setting that cannot hold is refused by its name, and no other is.
func TestSettingsOfAMode(t *testing.T) {
	for mode, holds := range held {
		for _, s := range settings {
			value := samples[s.Key]
			switch {
			case s.Section == "Service" && s.Key != "DrainSec" || s.Key == "Exec" || s.Key == "Mode":
				continue
			case s.String() == "[Gate] OnTimeout=":
				value = TimeoutReset
			case s.String() == "[Hooks] OnTimeout=":
				value = "/bin/true"
			case value == "" || value == s.Default:
				t.Fatalf("no sample of %s", s)
			}
			text := "[Backend]\nMode=" + mode + "\nExec=/bin/cat\n[" + s.Section + "]\n" + s.Key + "=" + value + "\n"
			c, err := loadText(t, text)
			if err != nil {
				t.Fatal(err)
			}
			err = c.Check()
			holds := slices.Contains(holds, s.Key) || slices.Contains(holds, s.String())
			if holds && err != nil || !holds && (err == nil || !strings.Contains(err.Error(), "cannot use "+s.String()) || !strings.Contains(err.Error(), " with Mode="+mode+":")) {
				t.Errorf("%s with Mode=%s: %v", s, mode, err)
			}
		}
	}
}

func TestModeWithoutACommand(t *testing.T) {
	for mode := range held {
		c, err := loadText(t, "[Backend]\nMode="+mode+"\n")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); !errors.Is(err, ErrNoBackend) || !strings.Contains(err.Error(), "write Exec= in [Backend]") {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// Some values of a setting hold, and others do not.
func TestReadinessOfABackendThatListens(t *testing.T) {
	for setting, refused := range map[string]bool{
		"Ready=notify": false, "Ready=exec:/bin/true": false, "Ready=log:up": false, "Ready=none": false,
		"Ready=connect": true, "Ready=fd:4": true, "Alive=connect": true, "Alive=exec:/bin/true": false,
	} {
		c, err := loadText(t, "[Backend]\nMode=listen\nExec=/bin/cat\n"+setting+"\n")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); (err != nil) != refused {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

func TestExec(t *testing.T) {
	for _, tt := range []struct {
		value, path, argv string
		err               string // a part of it; "": none
	}{
		{"/usr/sbin/in.fingerd -w", "", "/usr/sbin/in.fingerd|-w", ""},
		{"@/usr/sbin/tcpd in.fingerd -w", "/usr/sbin/tcpd", "in.fingerd|-w", ""},
		{`"@/usr/sbin/two words" "" x`, "/usr/sbin/two words", "|x", ""},
		{"@cat cat", "cat", "cat", ""},
		{"", "", "", ""},
		{"@/usr/sbin/tcpd", "", "", "want @PATH ARGV0"},
		{"@ in.fingerd", "", "", "want @PATH ARGV0"},
		{`""`, "", "", "the command is empty"},
	} {
		c := Default()
		err := parseExec(c, tt.value)
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: %v", tt.value, err)
			}
		case err != nil || c.Backend.ExecPath != tt.path || strings.Join(c.Backend.Exec, "|") != tt.argv:
			t.Errorf("%q: %q with %q, %v", tt.value, c.Backend.ExecPath, c.Backend.Exec, err)
		}
	}
	c := Default() // a later line takes back what one before it said
	if err := errors.Join(parseExec(c, "@/bin/a b"), parseExec(c, "/bin/c")); err != nil || c.Backend.ExecPath != "" {
		t.Errorf("%+v, %v", c.Backend, err)
	}
}

// loadText is Load of a file with that text.
func loadText(t *testing.T, text string) (*Config, error) {
	t.Helper()
	return load(t.TempDir()+"/tiproxy.conf", text)
}
