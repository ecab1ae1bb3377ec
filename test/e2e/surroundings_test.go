//go:build e2e

package e2e

import (
	"io"
	"strings"
	"testing"
)

// A tiproxy that is root has its backend run as somebody else; and whatever the sandbox of the unit,
// the backend's descendants are gone with it.
func TestBackendRunsAsItsOwnUser(t *testing.T) {
	u := enable(t, "tiproxy", map[string]string{
		"/etc/systemd/system/tiproxy.service.d/root.conf": "[Service]\nUser=root\n",
		dropIn: "[Backend]\nExec=/bin/sh -c 'umask; exec ncat -l -k 127.0.0.1 3000 --sh-exec \"id -un; id -gn; umask; nice; ulimit -Sn; echo $GREETING; pwd\"'\n" +
			"Address=127.0.0.1:3000\nUser=nobody\nGroup=daemon\nUMask=0027\nNice=7\nLimitNOFILE=300:400\n" +
			"Environment=GREETING=hello\nWorkingDirectory=/var/tmp\n",
	})
	conn := dial(t, "tcp", "127.0.0.1:4000")
	got, err := io.ReadAll(conn)
	if want := "nobody\ndaemon\n0027\n7\n300\nhello\n/var/tmp\n"; err != nil || string(got) != want {
		t.Errorf("the backend says %q, %v; wanted %q", got, err, want)
	}
	u.mustListen()
}

// Without the rights for it the start fails, says so, and tiproxy lives on.
func TestOtherUserWantsRoot(t *testing.T) {
	u := configure(t, "[Backend]\nExec=ncat -l -k 127.0.0.1 3000\nAddress=127.0.0.1:3000\nUser=nobody\nStartTimeoutSec=1s\n")
	if got, err := io.ReadAll(dial(t, "tcp", "127.0.0.1:4000")); err != nil || len(got) > 0 {
		t.Errorf("the client got %q, %v", got, err)
	}
	if want := "cannot become the user 65534 (User=): operation not permitted; tiproxy must run as root for that"; !strings.Contains(u.journal(), want) {
		t.Errorf("the journal does not say %q", want)
	}
	u.mustListen()
}
