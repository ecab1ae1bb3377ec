//go:build e2e && deb

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// inetdPackage is tiproxy-inetd, as packaging/deb/try puts it beside the tests.
const inetdPackage = "/usr/lib/tiproxy/inetd.deb"

const inetdConf = "/etc/inetd.conf"

// outside is an address of this machine for which openbsd-inetd answers datagrams: to senders in
// 127.0.0.0/8 its built-in services say nothing.
const outside = "10.9.8.7"

// Servers that Debian's packages have registered in /etc/inetd.conf, and lines of an administrator's, are
// asked by 20 clients at once; first openbsd-inetd serves them, and then, from the same file, tiproxy-inetd.
func TestInetdAnswersAsOpenBSDs(t *testing.T) {
	setUpInetd(t)
	conf, err := os.ReadFile(inetdConf)
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"www", "finger", "ident", "telnet", "ntalk"} {
		if !mentions("\n"+string(conf), service+"\t", "/usr/sbin/") {
			t.Errorf("no package has registered %s in:\n%s", service, conf)
		}
	}
	before := askAll(t)
	t.Run("openbsd-inetd turns away who comes too early", openbsdTurnsAway)

	t.Log(output(t, "apt-get", "install", "--quiet=2", "--yes", currentPackage, inetdPackage))
	if now, err := os.ReadFile(inetdConf); err != nil || !bytes.Equal(now, conf) {
		t.Errorf("error %v; in place of inetd.conf as it was there is now:\n%s", err, now)
	}
	t.Run("beside each other", func(t *testing.T) {
		t.Run("who comes too early waits for the minute", func(t *testing.T) {
			t.Parallel()
			tooEarlyWaits(t)
		})
		t.Run("the same answers", func(t *testing.T) {
			t.Parallel()
			compareAnswers(t, before, askAll(t))
		})
		t.Run("instances of xinetd", func(t *testing.T) {
			t.Parallel()
			threeInstances(t)
		})
		t.Run("one change on the heels of another", func(t *testing.T) {
			t.Parallel()
			changesAreHeard(t)
		})
	})
}

// compareAnswers demands of each conversation that it went as before.
func compareAnswers(t *testing.T, before, after []string) {
	t.Helper()
	for i, c := range conversations {
		if before[i] != after[i] {
			t.Errorf("%s: openbsd-inetd answered\n%s\nand tiproxy-inetd\n%s", c.name, excerpt(before[i]), excerpt(after[i]))
		}
	}
}

// excerpt is a text, or as much of it as fits on a screen.
func excerpt(text string) string {
	if len(text) > 2000 {
		return text[:2000] + fmt.Sprintf("… (%d bytes)", len(text))
	}
	return text
}

// setUpInetd is the work of an administrator: the services that Debian's packages bring are on, with
// something to serve, and some lines of his own are there.
func setUpInetd(t *testing.T) {
	t.Helper()
	output(t, "ip", "address", "add", outside+"/32", "dev", "lo")
	// These have units, too, by which they would serve without inetd.
	output(t, "systemctl", "disable", "--now", "--quiet", "micro-httpd.socket")
	output(t, "systemctl", "stop", "tftpd-hpa.service")

	output(t, "useradd", "--create-home", "--shell", "/bin/sh", "--gid", "users", "--groups", "games", visitor)
	output(t, "sh", "-c", "echo "+visitor+":"+password+" | chpasswd")
	for path, text := range map[string]string{
		"/home/" + visitor + "/.hushlogin": "", // or login tells when it was used last
		"/home/" + visitor + "/letter":     strings.Repeat("A line of a letter.\n", 5000),
		"/home/" + visitor + "/.efingerd":  "#!/bin/sh\necho \"asked for $3; $(id -un) tells: gone fishing\"\n",
		"/var/www/html/page.html":          strings.Repeat("<p>A line of a page.\n", 10000),
		"/srv/tftp/blob":                   blob(),
		"/usr/local/bin/surroundings":      surroundings,
		"/usr/local/bin/guarded":           "#!/bin/sh\necho come in\n",
		"/usr/local/bin/slow":              slow,
		"/usr/local/bin/accepts":           accepts,
		"/etc/hosts.deny":                  "guarded: 127.0.0.1\n",
		"/etc/resolv.conf":                 "# nobody, so that tcpd need not wait for a name\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	output(t, "chmod", "755", "/home/"+visitor)

	output(t, "update-inetd", "--enable", "telnet,ntalk")
	// No tftpd of Debian's does that by itself any more, and not every ftpd.
	output(t, "update-inetd", "--group", "STANDARD", "--add", `ftp\t\tstream\ttcp\tnowait\troot\t/usr/sbin/tcpd\t/usr/sbin/ftpd`)
	output(t, "update-inetd", "--enable", "ftp")
	output(t, "update-inetd", "--group", "BOOT", "--add", `tftp\t\tdgram\tudp\twait\troot\t/usr/sbin/tcpd\t/usr/sbin/in.tftpd --secure /srv/tftp`)
	conf, err := os.OpenFile(inetdConf, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conf.WriteString(ownLines); err != nil {
		t.Fatal(err)
	}
	if err := conf.Close(); err != nil {
		t.Fatal(err)
	}
	output(t, "systemctl", "restart", "inetd.service")
}

// ownLines is what the administrator adds to inetd.conf.
const ownLines = `
echo	stream	tcp	nowait	root	internal
echo	dgram	udp	wait	root	internal
discard	stream	tcp	nowait	root	internal
discard	dgram	udp	wait	root	internal
daytime	stream	tcp	nowait	root	internal
daytime	dgram	udp	wait	root	internal
time	stream	tcp	nowait	root	internal
time	dgram	udp	wait	root	internal
chargen	stream	tcp	nowait	root	internal
chargen	dgram	udp	wait	root	internal
7001	stream	tcp	nowait	visitor.users	/usr/local/bin/surroundings	called a  b
7002	stream	tcp	nowait	root	/usr/local/bin/surroundings	surroundings
7003	stream	tcp6	nowait	nobody	/usr/local/bin/surroundings	surroundings
127.0.0.2:7004	stream	tcp	nowait	visitor:games	/usr/local/bin/surroundings	surroundings
7005	stream	tcp	nowait	nobody	/usr/sbin/tcpd	/usr/local/bin/guarded
7006	stream	tcp	wait	nobody	/usr/local/bin/accepts	accepts
/run/visit.sock	stream	unix	nowait	visitor	/usr/local/bin/surroundings	surroundings
7008	stream	tcp	nowait	nobody	/bin/ls	ls /nonexistent
7007	stream	tcp	nowait.3	nobody	/bin/date	date +%s.%N
`

// surroundings tells what a server finds.
const surroundings = `#!/bin/bash
echo "$0, $# arguments: $*"
id
pwd
umask
nice
ulimit -a
grep -E '^(SigBlk|NoNewPrivs|Cap(Inh|Eff|Amb))' /proc/self/status
# Signals 32 and 33 are glibc's own (nptl(7)); make starts what it starts with these ignored.
printf 'SigIgn: %x\n' $((0x$(sed -n 's/^SigIgn:\t//p' /proc/self/status) & ~0x180000000))
cat /proc/self/oom_score_adj
for fd in 0 1 2; do readlink /proc/$$/fd/$fd | sed 's/[0-9]*//g'; done
ls /proc/self/fd
[[ $(ps -o sid= -p $$) -eq $$ ]] && echo a session of its own
`

// slow tells when it began and when it ends.
const slow = `#!/bin/sh
began=$(date +%s%N)
sleep 0.3
echo $began $(date +%s%N)
`

// accepts is a server of "wait" for streams: it has the listening socket as its stdin, and takes clients
// from there until none has come for a second.
const accepts = `#!/usr/bin/python3
import select, socket
listener = socket.socket(fileno=0)
while select.select([listener], [], [], 1)[0]:
    client, _ = listener.accept()
    client.sendall(b"taken\n")
    client.close()
`
