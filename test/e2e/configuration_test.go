//go:build e2e

package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const who = `[Backend]
Exec=` + self + ` backend who 127.0.0.1:3000
Address=127.0.0.1:3000
`

func TestUnconfiguredSaysWhichLineToWriteInWhichFile(t *testing.T) {
	u := enable(t, "tiproxy", nil)
	waitForClose(t, dial(t, "tcp", "127.0.0.1:4000"))
	eventually(t, "the journal says which line to write in which file", func() bool {
		return mentions(u.journal(), "Exec=", "Address=", "[Backend]", "/etc/tiproxy/tiproxy.conf")
	})
	waitForClose(t, dial(t, "tcp", "127.0.0.1:4000"))
	u.mustListen()
}

// The client of a service that cannot start stays in line at systemd until somebody mends the file. Six
// failures are one more than systemd allows by default, before it gives up service and socket.
func TestClientWaitsForTheConfigurationToBeMended(t *testing.T) {
	u := configure(t, "[Gate]\nMaxConections=2\n")
	conn := dial(t, "tcp", "127.0.0.1:4000")
	eventually(t, "the journal shows the error six times", func() bool {
		return len(linesWith(u.journal(), dropIn+":2:", "MaxConections=", "MaxConnections=")) >= 6
	})
	eventually(t, "tiproxy has exited with 78", func() bool { return u.property("service", "ExecMainStatus") == "78" })
	u.mustListen()
	if err := os.WriteFile(dropIn, []byte(who), 0o644); err != nil {
		t.Fatal(err)
	}
	hear(t, conn)
}

func TestBadInputIsRefusedWithItsPlace(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "bad.conf")
	run := []string{"--config", conf}
	tests := []struct {
		what string
		text string // of the file
		args []string
		code int
		says []string // all in one line
	}{
		{"unknown flag", "", []string{"--conections", "2"}, 2, []string{"--conections"}},
		{"unknown command", "", []string{"stauts"}, 2, []string{"stauts"}},
		{"flag without its value", "", []string{"--dest"}, 2, []string{"--dest"}},
		{"no number in a flag", "", []string{"--dest", "127.0.0.1:1", "--connections", "two"}, 2, []string{"--connections", "two"}},
		{"unknown key", "[Gate]\nMaxConections=2\n", run, 78, []string{conf + ":2:", "MaxConections=", "MaxConnections="}},
		{"unknown section", "[Gate]\n\n[Bakend]\n", run, 78, []string{conf + ":3:", "[Bakend]", "[Backend]"}},
		{"no number", "[Gate]\nMaxConnections=two\n", run, 78, []string{conf + ":2:", "MaxConnections=", "two"}},
		{"no time span", "# slow\n[Backend]\nIdleStopSec=3 fortnights\n", run, 78, []string{conf + ":3:", "IdleStopSec=", "3 fortnights"}},
		{"checked only", "[Gate]\nMaxConections=2\n", []string{"check", conf}, 78, []string{conf + ":2:", "MaxConections="}},
		{"file that is not there", "", []string{"--config", conf + ".gone"}, 78, []string{conf + ".gone"}},
	}
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			if err := os.WriteFile(conf, []byte(test.text), 0o644); err != nil {
				t.Fatal(err)
			}
			var stderr strings.Builder
			patient, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(patient, "tiproxy", test.args...)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != test.code {
				t.Errorf("%v ended with %v, wanted exit status %d", cmd, err, test.code)
			}
			if !mentions(stderr.String(), test.says...) {
				t.Errorf("%v: no line of stderr has all of %q:\n%s", cmd, test.says, stderr.String())
			}
			if len(out) > 0 {
				t.Errorf("%v wrote to stdout, which is for answers: %s", cmd, out)
			}
		})
	}
}
