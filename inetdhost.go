package main

import (
	"bytes"
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/tiproxy/tiproxy/inetd/units"
)

// listedIn looks services up in /etc/services, services(5), and asks nobody else:
// there is no network yet when a generator runs. Package net reads that file once
// for all, and the watch would never see another one.
func listedIn(root fs.FS) func(name, protocol string) (uint16, bool) {
	ports := map[string]uint16{} // by name and protocol; the first line counts
	text, _ := readRegular(root, "/etc/services")
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		number, protocol, _ := strings.Cut(fields[1], "/")
		port, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			continue
		}
		for _, name := range append(fields[2:], fields[0]) {
			if key := name + "/" + protocol; ports[key] == 0 {
				ports[key] = uint16(port)
			}
		}
	}
	return func(name, protocol string) (uint16, bool) {
		port := ports[name+"/"+protocol]
		return port, port != 0
	}
}

// hostOf finds what of the machine the units want to know. A file that cannot be
// read may have rules.
func hostOf(root fs.FS) units.Host {
	var h units.Host
	if info, err := fs.Stat(root, "usr/sbin/tcpd"); err == nil && info.Mode().IsRegular() {
		h.Tcpd = "/usr/sbin/tcpd"
	}
	for _, name := range []string{"etc/hosts.allow", "etc/hosts.deny"} {
		text, err := readRegular(root, name)
		h.Rules = h.Rules || err != nil && !errors.Is(err, fs.ErrNotExist)
		for line := range bytes.Lines(text) {
			line = bytes.TrimSpace(line)
			h.Rules = h.Rules || len(line) > 0 && line[0] != '#'
		}
	}
	return h
}
