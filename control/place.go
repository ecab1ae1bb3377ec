package control

import (
	"os"
	"path/filepath"
	"strings"
)

// name is the control socket's file in the runtime directory of its tiproxy.
const name = "control.sock"

// Path is where the control socket is: override, if it is not empty (--control);
// else control.sock in the runtime directory that systemd made for the service
// ($RUNTIME_DIRECTORY, of several the first, systemd.exec(5)); else
// tiproxy/control.sock in the user's ($XDG_RUNTIME_DIR); else in /run.
func Path(override string) string {
	if override != "" {
		return override
	}
	if dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":"); dir != "" {
		return filepath.Join(dir, name)
	}
	return userPath("tiproxy")
}

// userPath is where a tiproxy of the user's own has its control socket.
func userPath(runtime string) string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = "/run"
	}
	return filepath.Join(dir, runtime, name)
}

// Find answers how to ask tiproxy, or one of its instances ("shop" for
// tiproxy@shop.service, "inetd-www-80-tcp" for tiproxy-inetd@www-80-tcp.service):
// the user's own if its socket is there, else systemd's, which alone has a Unit.
// Without an instance, what a service starts means that service's own.
func Find(instance string) Client {
	dir := "tiproxy"
	if instance != "" {
		dir += "@" + instance
	} else if os.Getenv("RUNTIME_DIRECTORY") != "" {
		return Client{Path: Path("")}
	}
	own, system := userPath(dir), filepath.Join("/run", dir, name)
	if _, err := os.Lstat(own); err == nil && own != system {
		return Client{Path: own}
	}
	unit := dir
	if service, is := strings.CutPrefix(instance, Inetd); is {
		unit = "tiproxy-inetd@" + service
	}
	return Client{Path: system, Unit: unit}
}

// Inetd is before the NAME of a tiproxy-inetd@NAME.service, to tell it from those
// of tiproxy@NAME.service.
const Inetd = "inetd-"
