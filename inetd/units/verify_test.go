package units

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// systemd-analyze exits with 0 even for a setting that systemd does not know; it
// only warns. Where it is not installed, there is nobody to ask.
func TestUnitsVerifyWithoutAWord(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../packaging/inetd")); err != nil {
		t.Fatal(err)
	}
	names := []string{"tiproxy-inetd.target"}
	text, err := os.ReadFile("../testdata/debian/etc/inetd.conf")
	if err != nil {
		t.Fatal(err)
	}
	units := conf(string(text))
	units = append(units, conf("/run/100%/a\"b stream unix nowait root /bin/x\n[fe80::1%eth0]:8080 stream tcp6 nowait root /bin/x\n8081 stream tcp46,sndbuf=16k nowait root /bin/x")...)
	for _, u := range units {
		names = append(names, u.Socket())
		for _, f := range u.Files {
			path := filepath.Join(dir, f.Path)
			err := os.MkdirAll(filepath.Dir(path), 0o755)
			if err == nil && f.Link != "" {
				err = os.Symlink(f.Link, path)
			} else if err == nil {
				err = os.WriteFile(path, []byte(f.Text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command(analyze, append([]string{"--man=no", "verify"}, names...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":", "SYSTEMD_LOG_LEVEL=notice")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %v\n%s", cmd, err, out)
	}
}
