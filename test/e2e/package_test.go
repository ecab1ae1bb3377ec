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
	mustHaveFolder(t)
	version := output(t, "dpkg-query", "--show", "--showformat=${Version}", "tiproxy")
	if says := output(t, "tiproxy", "--version"); !strings.HasSuffix(says, " "+version) {
		t.Errorf("the program of version %s says it is %q", version, says)
	}

	const hasty = "[Service]\nIdleExitSec=2\n"
	main := setUp(t, "tiproxy", dropIn, "127.0.0.1:3000", "tcp", "127.0.0.1:4000", hasty+"[Gate]\nMaxConnections=2\n")
	shop := setUp(t, "tiproxy@shop", "/etc/tiproxy/shop.conf", "127.0.0.1:3001", "unix", "/run/tiproxy@shop.sock", hasty)
	for _, p := range []*packaged{main, shop} {
		p.visit()
		p.waitForExit()
	}
	desk := setUp(t, "tiproxy@desk", "/etc/tiproxy/desk.conf", "127.0.0.1:3003", "unix", "/run/tiproxy@desk.sock", "")
	desk.visit()
	upgrade(t, main, desk, shop)

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

// mustHaveFolder demands that /run/tiproxy is there for the control socket before the first start, and after a boot.
func mustHaveFolder(t *testing.T) {
	t.Helper()
	mustBe := func(when, want string) {
		t.Helper()
		if has := output(t, "stat", "--format=%U %G %a", "/run/tiproxy"); has != want {
			t.Errorf("%s /run/tiproxy is %q, wanted %q", when, has, want)
		}
	}
	boot := []string{"--create", "--remove", "--boot", "--prefix=/run/tiproxy"} // as systemd-tmpfiles-setup.service
	mustBe("after the installation", "tiproxy tiproxy 755")
	output(t, "rmdir", "/run/tiproxy")
	output(t, "systemd-tmpfiles", boot...)
	mustBe("after a boot", "tiproxy tiproxy 755")
	output(t, "chown", "daemon:daemon", "/run/tiproxy") // as a service with User=daemon does
	output(t, "systemd-tmpfiles", boot...)
	mustBe("beside a service of another user", "daemon daemon 755")
	output(t, "chown", "tiproxy:tiproxy", "/run/tiproxy")
}

// packaged is a unit of the package with a backend that tells who serves. It stays set up, for what
// becomes of it is what the test is about.
type packaged struct {
	*unit
	network, address string // where clients connect
}

func setUp(t *testing.T, name, conf, backend, network, address, more string) *packaged {
	t.Helper()
	text := "[Backend]\nExec=" + self + " backend who " + backend + "\nAddress=" + backend + "\nIdleStopSec=1\n" + more
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	output(t, "systemctl", "enable", "--now", "--quiet", name+".socket")
	return &packaged{unit: &unit{t: t, name: name}, network: network, address: address}
}

// come is a client that connects.
func (p *packaged) come() net.Conn {
	p.t.Helper()
	conn, err := net.Dial(p.network, p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	return conn
}

// servedBy is told which process of tiproxy serves a client.
func servedBy(conn net.Conn) (pid string, err error) {
	conn.SetDeadline(time.Now().Add(patience))
	line, err := readLine(conn)
	pid, _, _ = strings.Cut(line, " ")
	return pid, err
}

// visit demands that the service answers a client, and leaves it running.
func (p *packaged) visit() {
	p.t.Helper()
	conn := p.come()
	defer conn.Close()
	if pid, err := servedBy(conn); err != nil || pid != p.property("service", "MainPID") {
		p.t.Fatalf("%s: a client was served by process %q (error %v), wanted its service's", p.name, pid, err)
	}
}

// upgrade installs the next version while a service has 50 clients a second, another has nobody, and a third
// sleeps. No client notices, and the sockets are the same ones all the time.
func upgrade(t *testing.T, busy, quiet, sleeping *packaged) {
	t.Helper()
	all := []*packaged{busy, quiet, sleeping}
	opened := make(map[*packaged]string)
	for _, p := range all {
		opened[p] = p.property("socket", "ActiveEnterTimestampMonotonic")
	}
	first, rested := sleeping.property("service", "InvocationID"), quiet.property("service", "MainPID")
	stays, inside, waits := busy.come(), busy.come(), busy.come()
	pid, err := servedBy(stays)
	if err == nil {
		_, err = servedBy(inside)
	}
	if err != nil {
		t.Fatal(err)
	}
	installed := make(chan struct{})
	verdict := make(chan error)
	go func() { verdict <- busy.crowd(pid, inside, waits, installed) }()
	told := output(t, "dpkg", "--install", nextPackage)
	close(installed)
	if err := <-verdict; err != nil {
		t.Error(err)
	}
	stays.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := stays.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("who stayed for all the upgrade met %v, wanted nothing", err)
	}
	busy.mustRun(oldProgram)
	stays.Close()

	if !mentions(told, "tiproxy.service goes on with the old program", "systemctl restart tiproxy.service") || strings.Count(told, "goes on") != 1 {
		t.Errorf("the upgrade says:\n%s", told)
	}
	quiet.mustRun(newProgram)
	if pid := quiet.property("service", "MainPID"); pid == rested {
		t.Errorf("%s: process %s runs as before", quiet.name, pid)
	}
	if state := sleeping.property("service", "ActiveState"); state != "inactive" || sleeping.property("service", "InvocationID") != first {
		t.Errorf("%s.service is %s, or was started; wanted it left asleep", sleeping.name, state)
	}
	busy.waitForExit()
	for _, p := range all {
		p.visit()
		p.mustRun(newProgram)
		p.mustListen()
		if now := p.property("socket", "ActiveEnterTimestampMonotonic"); now != opened[p] {
			t.Errorf("%s.socket was opened at %s µs and again at %s µs", p.name, opened[p], now)
		}
	}
}

// What /proc says of a process, proc_pid_exe(5).
const (
	newProgram = "/usr/bin/tiproxy"
	oldProgram = newProgram + " (deleted)"
)

func (p *packaged) mustRun(program string) {
	p.t.Helper()
	runs, err := os.Readlink("/proc/" + p.property("service", "MainPID") + "/exe")
	if err != nil || runs != program {
		p.t.Errorf("%s runs %q (error %v), wanted %q", p.name, runs, err, program)
	}
}

// crowd has 50 clients a second come by until it is over. Somebody always stands in line, and is let in when
// who is inside leaves. The same process must serve them all.
func (p *packaged) crowd(pid string, inside, waits net.Conn, over <-chan struct{}) error {
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for {
		last := false
		select {
		case <-over:
			last = true
		case <-pace.C:
		}
		inside.Close()
		by, err := servedBy(waits)
		switch {
		case err != nil:
			return errors.New("a client in line was not answered: " + err.Error())
		case by != pid:
			return errors.New("process " + by + " serves a client in place of " + pid)
		}
		inside = waits
		if last {
			return inside.Close()
		}
		if waits, err = net.Dial(p.network, p.address); err != nil {
			return errors.New("a client was refused: " + err.Error())
		}
	}
}
