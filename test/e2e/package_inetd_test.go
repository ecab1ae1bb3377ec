//go:build e2e && deb

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// inetdPackage with a higher version, as packaging/deb/try puts it beside the tests, and openbsd-inetd with all
// that it needs, as test/e2e/run has it.
const (
	nextInetdPackage = "/usr/lib/tiproxy/inetd-next.deb"
	openbsdPackages  = "/var/lib/tiproxy-e2e/*.deb"
)

// What debian/tests has for Debian's own machines.
func TestPackageInetdSmoke(t *testing.T) {
	output(t, "dpkg", "--install", currentPackage, inetdPackage)
	t.Cleanup(func() { output(t, "dpkg", "--purge", "tiproxy-inetd", "tiproxy") })
	t.Log(output(t, "/usr/lib/tiproxy/inetd"))
}

// Each step finds the machine as the step before has left it.
func TestPackageInetdFromInstallationToPurge(t *testing.T) {
	before := filesNamedTiproxy(t)
	output(t, "dpkg", "--install", currentPackage, inetdPackage)
	if sockets := inetdUnits(t, "socket"); sockets != "" || stateOf(t, "tiproxy-inetd.target") != "active" {
		t.Errorf("nothing is on in the inetd.conf of the package, and there are the sockets:\n%s", sockets)
	}

	verify := exec.Command("systemd-analyze", "--man=no", "verify", "tiproxy-inetd.target", "tiproxy-inetd.service", "tiproxy-inetd-watch.service")
	if out, err := verify.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %v\n%s", verify, err, out)
	}

	// As a run of apt would, with all that Debian has for inetd: one after the other, at once.
	ports := []string{"7010", "7011", "7012", "7013", "7014", "7015"}
	for _, port := range ports {
		addService(t, port)
	}
	for _, port := range ports {
		mustBeServed(t, port)
	}
	output(t, "update-inetd", "--disable", "7012")
	mustBeClosed(t, "7012")
	output(t, "update-inetd", "--enable", "7012")
	mustBeServed(t, "7012")
	// Another package's scripts may be faster than the watch: then the units are there, and nobody has started them.
	output(t, "systemctl", "kill", "--signal=STOP", "tiproxy-inetd-watch.service")
	addService(t, "7019")
	output(t, "systemctl", "daemon-reload")
	output(t, "systemctl", "kill", "--signal=CONT", "tiproxy-inetd-watch.service")
	mustBeServed(t, "7019")
	output(t, "systemctl", "stop", "tiproxy-inetd")
	mustBeClosed(t, "7012")
	addService(t, "7018")
	output(t, "systemctl", "start", "tiproxy-inetd")
	mustBeServed(t, "7018")
	mustBeServed(t, "7012")
	wrongLinesAreNamed(t)
	mustBeServed(t, "7010")
	maskedGeneratorIsNamed(t)
	sleepsByName(t)
	upgradeUnderASession(t)

	output(t, "dpkg", "--remove", "tiproxy-inetd", "tiproxy")
	mustBeAtRest(t)
	for _, port := range ports {
		mustBeClosed(t, port)
	}
	output(t, "dpkg", "--install", currentPackage, inetdPackage)
	mustBeServed(t, "7010")
	output(t, "update-inetd", "--remove", "70..")
	output(t, "sed", "--in-place", "/^[^#]/d", inetdConf)
	output(t, "dpkg", "--purge", "tiproxy-inetd", "tiproxy")
	after := filesNamedTiproxy(t)
	eventually(t, "systemd has forgotten the units", func() bool {
		after = filesNamedTiproxy(t)
		return !slices.ContainsFunc(after, func(path string) bool { return strings.HasPrefix(path, "/run/systemd/") })
	})
	if _, err := os.Stat(inetdConf); err == nil || !slices.Equal(before, after) {
		t.Errorf("before the installation:\n%s\nafter the purge:\n%s\nand inetd.conf, without any service: %v",
			strings.Join(before, "\n"), strings.Join(after, "\n"), err)
	}
}

// The one that is installed takes the place of the other in one run of apt, and neither touches inetd.conf.
func TestPackageInetdAndOpenBSDsTakeEachOthersPlace(t *testing.T) {
	packages, err := filepath.Glob(openbsdPackages)
	if err != nil || len(packages) == 0 {
		t.Fatalf("packages %q, error %v", packages, err)
	}
	install := func(packages ...string) {
		output(t, "env", append([]string{"DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--quiet=2", "--yes"}, packages...)...)
	}
	t.Cleanup(func() { output(t, "dpkg", "--purge", "openbsd-inetd", "tiproxy-inetd", "tiproxy") })
	install(packages...)
	addService(t, "7020")
	mustBeServed(t, "7020")
	conf := output(t, "cat", inetdConf)
	for range 2 {
		install(currentPackage, inetdPackage)
		if state := stateOf(t, "inetd.service"); state != "inactive" {
			t.Errorf("openbsd-inetd is %s beside tiproxy-inetd", state)
		}
		if state := stateOf(t, "tiproxy-inetd@7020-tcp.socket"); state != "active" {
			t.Errorf("the socket is %s as soon as the package is installed", state)
		}
		mustBeServed(t, "7020")

		install(packages...)
		if sockets := inetdUnits(t, "*"); sockets != "" || stateOf(t, "inetd.service") != "active" {
			t.Errorf("openbsd-inetd is %s beside tiproxy-inetd:\n%s", stateOf(t, "inetd.service"), sockets)
		}
		mustBeServed(t, "7020")
	}
	if now := output(t, "cat", inetdConf); now != conf {
		t.Errorf("inetd.conf was\n%s\nand is\n%s", conf, now)
	}
	output(t, "update-inetd", "--remove", "7020")
}

// Where the machine's policy forbids to start anything, and where systemd does not run, as in a chroot.
func TestPackageInetdStartsNothingWhereItMustNot(t *testing.T) {
	const policy = "/usr/sbin/policy-rc.d"
	for name, install := range map[string]func() string{
		"policy": func() string {
			if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(policy)
			return output(t, "dpkg", "--install", currentPackage, inetdPackage)
		},
		"no systemd": func() string {
			return output(t, "unshare", "--mount", "sh", "-ec", "mount -t tmpfs none /run/systemd; dpkg --install "+currentPackage+" "+inetdPackage)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(install())
			if units := inetdUnits(t, "*"); units != "" {
				t.Errorf("units are up:\n%s", units)
			}
			if is := output(t, "systemctl", "is-enabled", "tiproxy-inetd.target"); is != "enabled" {
				t.Errorf("the target is %s, wanted it for the next boot", is)
			}
			output(t, "dpkg", "--purge", "tiproxy-inetd", "tiproxy")
			output(t, "systemctl", "daemon-reload") // nobody has told systemd
		})
	}
}

// addService has update-inetd add a service that says its port, and then says again what it hears.
func addService(t *testing.T, port string) {
	t.Helper()
	const server = "/usr/local/sbin/in.test"
	if err := os.WriteFile(server, []byte("#!/bin/sh\necho $1\nexec cat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, "update-inetd", "--group", "OTHER", "--add", port+`\tstream\ttcp\tnowait\tnobody\t`+server+`\tin.test `+port)
}

// visitService is a client that hears the service's first line, and stays.
func visitService(port string) (conn net.Conn, line string, err error) {
	conn, err = net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return nil, "", err
	}
	conn.SetDeadline(time.Now().Add(patience))
	line, err = readLine(conn)
	return conn, line, err
}

// mustBeServed waits until a client of a service is answered.
func mustBeServed(t *testing.T, port string) {
	t.Helper()
	eventually(t, port+" is served", func() bool {
		conn, line, err := visitService(port)
		if conn != nil {
			conn.Close()
		}
		return err == nil && line == port
	})
}

// mustBeClosed waits until nobody listens at a port.
func mustBeClosed(t *testing.T, port string) {
	t.Helper()
	eventually(t, port+" is closed", func() bool {
		return output(t, "ss", "-Hltn", "sport = :"+port) == ""
	})
}

// inetdUnits are the units of tiproxy-inetd's services that are up.
func inetdUnits(t *testing.T, kind string) string {
	t.Helper()
	return output(t, "systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating", "tiproxy-inetd*."+kind)
}

// wrongLinesAreNamed leaves in the journal what is wrong, by line.
func wrongLinesAreNamed(t *testing.T) {
	t.Helper()
	conf, err := os.ReadFile(inetdConf)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Count(string(conf), "\n") + 1
	wrong := "nonsense\nno-such-service stream tcp nowait root /bin/true\n7016 stream tcp nowait nobody /bin/echo echo 7016\n"
	if err := os.WriteFile(inetdConf, append(conf, wrong...), 0o644); err != nil {
		t.Fatal(err)
	}
	mustBeServed(t, "7016")
	for i, word := range []string{"nonsense", "no-such-service"} {
		eventually(t, "the journal names the line of "+word, func() bool {
			return mentions(output(t, "journalctl", "--boot", "--no-pager", "-u", "tiproxy-inetd.service"), fmt.Sprintf("/etc/inetd.conf:%d: ", first+i), word)
		})
	}
	if out, err := exec.Command("tiproxy", "inetd", "check").CombinedOutput(); err == nil || !mentions(string(out), "cannot take over everything: 2 of the lines") {
		t.Errorf("error %v of:\n%s", err, out)
	}
}

// maskedGeneratorIsNamed demands that the journal says why nothing comes where the administrator has switched the
// generator off, systemd.generator(7), and that what has not come does when it is on again.
func maskedGeneratorIsNamed(t *testing.T) {
	t.Helper()
	const mask = "/etc/systemd/system-generators/tiproxy-inetd-generator"
	if err := errors.Join(os.MkdirAll(filepath.Dir(mask), 0o755), os.Symlink("/dev/null", mask)); err != nil {
		t.Fatal(err)
	}
	addService(t, "7021")
	eventually(t, "the journal names the generator", func() bool {
		return mentions(output(t, "journalctl", "--boot", "--no-pager", "-u", "tiproxy-inetd.service"), "does not run tiproxy-inetd-generator")
	})
	if err := os.Remove(mask); err != nil {
		t.Fatal(err)
	}
	output(t, "systemctl", "reload", "tiproxy-inetd")
	mustBeServed(t, "7021")
	mustBeServed(t, "7010")
}

// sleepsByName demands that tiproxy status knows a service of inetd's that nobody uses.
func sleepsByName(t *testing.T) {
	t.Helper()
	output(t, "systemctl", "stop", "tiproxy-inetd@7010-tcp.service")
	if says := output(t, "tiproxy", "status", "inetd-7010-tcp"); !strings.HasPrefix(says, "asleep") {
		t.Errorf("of a service that nobody uses: %s", says)
	}
	mustBeServed(t, "7010")
	if says := output(t, "tiproxy", "status", "inetd-7010-tcp"); !mentions(says, "7010") || strings.HasPrefix(says, "asleep") {
		t.Errorf("of a service that somebody has used: %s", says)
	}
}

// upgradeUnderASession installs the next version while a client is served, who does not notice, and others come.
func upgradeUnderASession(t *testing.T) {
	t.Helper()
	socket := &unit{t: t, name: "tiproxy-inetd@7011-tcp"}
	conn, _, err := visitService("7011")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	opened := socket.property("socket", "ActiveEnterTimestampMonotonic")
	output(t, "dpkg", "--install", nextPackage, nextInetdPackage)
	say(t, conn, "still here")
	if heard := hear(t, conn); heard != "still here" {
		t.Errorf("after the upgrade the client hears %q", heard)
	}
	mustBeServed(t, "7011")
	if now := socket.property("socket", "ActiveEnterTimestampMonotonic"); now != opened {
		t.Errorf("the socket was opened at %s µs and again at %s µs", opened, now)
	}
	addService(t, "7017")
	mustBeServed(t, "7017")
	watch := (&unit{t: t, name: "tiproxy-inetd-watch"}).property("service", "MainPID")
	if program := output(t, "readlink", "/proc/"+watch+"/exe"); program != "/usr/bin/tiproxy" {
		t.Errorf("after the upgrade the files are watched by %s", program)
	}
}
