//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// systemd-analyze exits with 0 even for a setting that systemd does not know; it only warns.
func TestUnitsVerifyWithoutAWord(t *testing.T) {
	cmd := exec.Command("systemd-analyze", "verify",
		"tiproxy.socket", "tiproxy.service", "tiproxy@shop.socket", "tiproxy@shop.service",
		"tiproxy-control.socket", "tiproxy-control@shop.socket")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %v\n%s", cmd, err, out)
	}
}

func TestTemplatesSayTheSameAsTheMainUnits(t *testing.T) {
	main, template := settings(t, "tiproxy.service"), settings(t, "tiproxy@.service")
	if !slices.Equal(main, template) {
		t.Errorf("tiproxy.service:\n%s\ntiproxy@.service:\n%s", strings.Join(main, "\n"), strings.Join(template, "\n"))
	}
}

// settings lists the lines of a unit that set something, with what names the instance taken out.
func settings(t *testing.T, unit string) []string {
	t.Helper()
	text, err := os.ReadFile("/usr/lib/systemd/system/" + unit)
	if err != nil {
		t.Fatal(err)
	}
	main := strings.NewReplacer("tiproxy@%i", "tiproxy", " for %i", "", " -c /etc/tiproxy/%i.conf", "")
	var lines []string
	for line := range bytes.Lines(text) {
		if line := strings.TrimSpace(string(line)); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, main.Replace(line))
		}
	}
	return lines
}

func TestInstanceIsConfiguredByItsOwnFile(t *testing.T) {
	shop := enable(t, "tiproxy@shop", map[string]string{
		"/etc/tiproxy/shop.conf": "[Backend]\nExec=" + self + " backend who 127.0.0.1:3001\nAddress=127.0.0.1:3001\n",
	})
	conn := dial(t, "unix", "/run/tiproxy@shop.sock")
	tiproxy, _, _ := strings.Cut(hear(t, conn), " ")
	if pid := shop.property("service", "MainPID"); tiproxy != pid {
		t.Errorf("the client was served by process %s, wanted %s, which is tiproxy@shop.service", tiproxy, pid)
	}
	if pid := strconv.Itoa(shop.status().PID); tiproxy != pid {
		t.Errorf("the status of the instance is that of process %s, wanted %s", pid, tiproxy)
	}
}
