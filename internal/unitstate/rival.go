package unitstate

import (
	"context"
	"slices"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/tiproxy/tiproxy/sockaddr"
)

// rival finds the socket unit that listens where another one wants to, and where
// that is; "": there is none, or systemd does not tell. Of a socket that failed
// systemd itself says only that its address is in use.
func rival(ctx context.Context, conn *dbus.Conn, name string) (other, at string) {
	wanted := places(ctx, conn, name)
	sockets, err := conn.ListUnitsByPatternsContext(ctx, []string{"active"}, []string{"*.socket"})
	if err != nil {
		return "", ""
	}
	for _, s := range sockets {
		for _, there := range places(ctx, conn, s.Name) {
			clashes := func(a sockaddr.Addr) bool { return a.Covers(there, false) || there.Covers(a, false) }
			if s.Name != name && slices.ContainsFunc(wanted, clashes) {
				return s.Name, there.String()
			}
		}
	}
	return "", ""
}

// places are where a socket unit listens for streams, ListenStream= of
// systemd.socket(5).
func places(ctx context.Context, conn *dbus.Conn, name string) (all []sockaddr.Addr) {
	socket, err := conn.GetUnitTypePropertiesContext(ctx, name, "Socket")
	if err != nil {
		return nil
	}
	listen, _ := socket["Listen"].([][]any)
	for _, l := range listen {
		if len(l) != 2 || l[0] != "Stream" {
			continue
		}
		text, _ := l[1].(string)
		if place, err := sockaddr.Parse(text); err == nil {
			all = append(all, place.Addr())
		}
	}
	return all
}
