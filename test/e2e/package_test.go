//go:build e2e && deb

package e2e

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// The package, and the same one with a higher version, as packaging/deb/try puts them beside the tests.
const (
	currentPackage = "/usr/lib/tiproxy/current.deb"
	nextPackage    = "/usr/lib/tiproxy/next.deb"
)

// Each step finds the machine as the step before has left it.
func TestPackageFromInstallationToPurge(t *testing.T) {
	before := filesNamedTiproxy(t)
	output(t, "dpkg", "--install", currentPackage)
	mustBeAtRest(t)
	version := output(t, "dpkg-query", "--show", "--showformat=${Version}", "tiproxy")
	if says := output(t, "tiproxy", "--version"); !strings.HasSuffix(says, " "+version) {
		t.Errorf("the program of version %s says it is %q", version, says)
	}

	main := setUp(t, "tiproxy", dropIn, "127.0.0.1:3000", "tcp", "127.0.0.1:4000")
	shop := setUp(t, "tiproxy@shop", "/etc/tiproxy/shop.conf", "127.0.0.1:3001", "unix", "/run/tiproxy@shop.sock")
	for _, p := range []*packaged{main, shop} {
		p.visit()
		p.waitForExit()
	}
	upgrade(t, main, shop)

	main.visit()
	shop.visit()
	output(t, "tiproxy", "new", "extra", "--listen", "4002", "--dest", "3002")
	output(t, "systemctl", "daemon-reload")
	output(t, "systemctl", "enable", "--now", "--quiet", "tiproxy@extra.socket", "tiproxy-control@extra.socket")
	output(t, "systemctl", "enable", "--quiet", "tiproxy-control.socket") // may not start beside a service that runs
	output(t, "dpkg", "--remove", "tiproxy")
	mustBeAtRest(t)
	if _, err := os.Stat(dropIn); err != nil {
		t.Errorf("after the removal: %v; settings must stay until the purge", err)
	}

	output(t, "dpkg", "--purge", "tiproxy")
	var after []string
	eventually(t, "systemd has forgotten the units", func() bool {
		after = filesNamedTiproxy(t)
		return !slices.ContainsFunc(after, func(path string) bool { return strings.HasPrefix(path, "/run/systemd/") })
	})
	if !slices.Equal(before, after) {
		t.Errorf("before the installation:\n%s\nafter the purge:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	output(t, "getent", "passwd", "tiproxy") // stays, as Debian's policy wants: it may own files
}

// What debian/tests has for Debian's own machines.
func TestPackageSmoke(t *testing.T) {
	install(t)
	t.Log(output(t, "/usr/lib/tiproxy/smoke"))
}

// The same as of the units that test/e2e/run lays down, on each Debian that the package is tried on.
func TestPackageUnits(t *testing.T) {
	install(t)
	t.Run("verify", TestUnitsVerifyWithoutAWord)
	t.Run("sandboxes", TestSandboxesAreTightAndLiveable)
	t.Run("load", TestNothingFailsForGoodUnderLoad)
	t.Run("one port", TestTwoInstancesAtOnePort)
}

// install installs the package for one test.
func install(t *testing.T) {
	t.Helper()
	output(t, "dpkg", "--install", currentPackage)
	t.Cleanup(func() { output(t, "dpkg", "--purge", "tiproxy") })
}

// filesNamedTiproxy finds every path with tiproxy in the last part of its name.
func filesNamedTiproxy(t *testing.T) []string {
	t.Helper()
	return strings.Split(output(t, "find", "/", "(", "-path", "/proc", "-o", "-path", "/sys", ")", "-prune",
		"-o", "-name", "*tiproxy*", "-print"), "\n")
}

// mustBeAtRest demands that nothing of tiproxy listens or runs, whether its units are there or not.
func mustBeAtRest(t *testing.T) {
	t.Helper()
	if units := output(t, "systemctl", "list-units", "--plain", "--no-legend", "tiproxy*"); units != "" {
		t.Errorf("units are up:\n%s", units)
	}
	if sockets := output(t, "ss", "-Hlntx"); mentions(sockets, "tiproxy") || mentions(sockets, ":4000") {
		t.Errorf("somebody listens:\n%s", sockets)
	}
	if pids, _ := exec.Command("pgrep", "--uid", "tiproxy").Output(); len(pids) > 0 {
		t.Errorf("the user tiproxy has processes:\n%s", pids)
	}
}

// packaged is a unit of the package with a backend that tells who serves. It stays set up, for what
// becomes of it is what the test is about.
type packaged struct {
	*unit
	network, address string // where clients connect
}

func setUp(t *testing.T, name, conf, backend, network, address string) *packaged {
	t.Helper()
	text := "[Backend]\nExec=" + self + " backend who " + backend + "\nAddress=" + backend + "\nIdleStopSec=1\n" +
		"[Service]\nIdleExitSec=2\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	output(t, "systemctl", "enable", "--now", "--quiet", name+".socket")
	return &packaged{unit: &unit{t: t, name: name}, network: network, address: address}
}

// ask is a client that hears which process of tiproxy serves it, and leaves.
func (p *packaged) ask() (pid string, err error) {
	conn, err := net.Dial(p.network, p.address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	line, err := readLine(conn)
	pid, _, _ = strings.Cut(line, " ")
	return pid, err
}

// visit demands that the service answers a client, and leaves it running.
func (p *packaged) visit() {
	p.t.Helper()
	if pid, err := p.ask(); err != nil || pid != p.property("service", "MainPID") {
		p.t.Fatalf("%s: a client was served by process %q (error %v), wanted its service's", p.name, pid, err)
	}
}

// upgrade installs the next version while clients come to each service, one after the other. All of them
// are answered, at last by the new program, and the sockets are the same ones all the time.
func upgrade(t *testing.T, all ...*packaged) {
	t.Helper()
	installed := make(chan struct{})
	verdicts := make(chan error)
	opened := make(map[*packaged]string)
	for _, p := range all {
		opened[p] = p.property("socket", "ActiveEnterTimestampMonotonic")
		first, err := p.ask()
		if err != nil {
			t.Fatal(err)
		}
		go func() { verdicts <- p.keepAsking(first, installed) }()
	}
	output(t, "dpkg", "--install", nextPackage)
	close(installed)
	for range all {
		if err := <-verdicts; err != nil {
			t.Error(err)
		}
	}
	for _, p := range all {
		p.mustListen()
		if now := p.property("socket", "ActiveEnterTimestampMonotonic"); now != opened[p] {
			t.Errorf("%s.socket was opened at %s µs and again at %s µs", p.name, opened[p], now)
		}
	}
}

// keepAsking asks 50 times a second until the upgrade is over, and then once more.
func (p *packaged) keepAsking(first string, over <-chan struct{}) error {
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for {
		last := false
		select {
		case <-over:
			last = true
		case <-pace.C:
		}
		pid, err := p.ask()
		switch {
		case err != nil:
			return errors.New(p.name + ": a client of the time of the upgrade was not answered: " + err.Error())
		case last && pid == first:
			return errors.New(p.name + ": process " + pid + " serves as before the upgrade, wanted a new one")
		case last:
			return nil
		}
	}
}
