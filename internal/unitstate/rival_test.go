package unitstate

import (
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	bus "github.com/godbus/dbus/v5"
)

// active lists the sockets that are up, as ListUnitsByPatterns does.
func (known units) active() (all []dbus.UnitStatus) {
	names := strings.NewReplacer("_40", "@", "_2e", ".")
	for path, u := range known {
		if name := names.Replace(path); strings.HasSuffix(name, ".socket") && u["ActiveState"].Value() == "active" {
			all = append(all, dbus.UnitStatus{Name: name, Path: "/" + bus.ObjectPath(path), JobPath: "/"})
		}
	}
	return all
}

// socket is a unit that listens, or wants to.
func socket(state string, places ...string) map[string]bus.Variant {
	u := properties("loaded", state, state, 0)
	var listen []struct{ Kind, At string }
	for _, p := range places {
		kind, at, _ := strings.Cut(p, " ")
		listen = append(listen, struct{ Kind, At string }{kind, at})
	}
	u["Listen"] = bus.MakeVariant(listen)
	return u
}

func TestAsleepNamesWhoHasTheAddress(t *testing.T) {
	for _, tt := range []struct {
		wants, has, want string // want: where they meet; "": nowhere
	}{
		{"Stream 127.0.0.1:4000", "Stream 127.0.0.1:4000", "127.0.0.1:4000"},
		{"Stream 127.0.0.1:4000", "Stream [::]:4000", "[::]:4000"},
		{"Stream [::]:4000", "Stream 127.0.0.1:4000", "127.0.0.1:4000"},
		{"Stream /run/x.sock", "Stream /run/x.sock", "/run/x.sock"},
		{"Stream 127.0.0.1:4000", "Stream 127.0.0.1:4001", ""},
		{"Stream 127.0.0.1:4000", "Datagram 127.0.0.1:4000", ""},
		{"Stream 127.0.0.1:4000", "Stream nonsense", ""},
	} {
		fakeBus(t, units{
			"tiproxy_40b_2esocket":  socket("failed", tt.wants),
			"tiproxy_40b_2eservice": properties("loaded", "inactive", "dead", 0),
			"web_2esocket":          socket("active", "Stream /run/web", tt.has),
			"down_2esocket":         socket("inactive", tt.wants),
		})
		_, err := Asleep(t.Context(), "tiproxy@b")
		want := "tiproxy@b.socket has failed, because web.socket listens at " + tt.want + ":"
		if tt.want == "" {
			want = "tiproxy@b.socket has failed: see systemctl status tiproxy@b.socket"
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s beside %s: %v, want %s", tt.wants, tt.has, err, want)
		}
	}
}
