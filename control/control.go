// Package control is the control socket of a running tiproxy, both ends of it:
// the [Server] inside tiproxy, and what the commands that look at it need,
// [Status] and [Print].
//
// It speaks HTTP over a UNIX socket, so that curl --unix-socket can ask too:
//
//	GET /v1/status      200, what tiproxy knows of itself, as JSON
//	anything else       4xx, {"error": "one sentence"}
//
// (A request that is not even HTTP is refused by net/http, in plain text.)
//
// Invariants:
//   - Only the user that tiproxy runs as, and root, can connect: the socket's
//     file has mode 0600 from the moment that it exists.
//   - The socket of another tiproxy that answers is never taken, nor removed.
//   - One request per connection, bounded in size and time. Between requests
//     nothing runs: no timer, no system call.
package control

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// patience is how long either end waits for the other, for a status that takes
// microseconds: who needs longer has gone to sleep, or is hostile.
const patience = 5 * time.Second

// statusPath is what the status is asked for with.
const statusPath = "/v1/status"

// Path is where the control socket is: override, if it is not empty (--control);
// else control.sock in the runtime directory that systemd made for the service
// ($RUNTIME_DIRECTORY, of several the first, systemd.exec(5)); else
// tiproxy/control.sock in the user's ($XDG_RUNTIME_DIR); else in /run.
func Path(override string) string {
	if override != "" {
		return override
	}
	if dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":"); dir != "" {
		return filepath.Join(dir, "control.sock")
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = "/run"
	}
	return filepath.Join(dir, "tiproxy", "control.sock")
}
