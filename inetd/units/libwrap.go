package units

import (
	"path"
	"slices"

	"github.com/tiproxy/tiproxy/inetd"
)

// askHosts has tcpd(8) ask hosts.allow and hosts.deny about the clients of an
// entry for which xinetd would have asked them itself. Else it answers why
// nobody asks.
//
// tcpd is given the server's path as argv[0], and knows the service by the
// last part of it.
func (h Host) askHosts(e *inetd.Entry) (why string) {
	switch {
	case e.Libwrap == "":
		return ""
	case e.Program == "":
		return "xinetd asked them of " + e.Libwrap + ", and tcpd can ask them for a program alone: say the like in only_from and no_access, and add flags = NOLIBWRAP"
	case e.Type == inetd.Stream && e.Wait:
		return "the server takes its clients itself, so that tcpd does not see them: add flags = NOLIBWRAP if they need not be asked"
	case path.Base(e.Program) != e.Libwrap || path.Base(e.Args[0]) != e.Libwrap:
		return "xinetd asked them of " + e.Libwrap + ", and tcpd would ask of " + path.Base(e.Program) + ": run tcpd as the server yourself, or add flags = NOLIBWRAP"
	case h.Tcpd == "":
		return "they are not asked without tcpd: install it (Debian's package tcpd)"
	}
	e.Args = slices.Concat([]string{e.Program}, e.Args[1:])
	e.Program = h.Tcpd
	return ""
}
