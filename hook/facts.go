package hook

import (
	"slices"
	"strconv"
	"strings"
)

// Facts are what a command is told in its environment. What is unknown is not
// set there, and a variable of its name that tiproxy itself has is taken out.
type Facts struct {
	Reason     string  // why it has happened, a sentence; "": there is none
	Generation uint64  // which start of the backend it is about; 0: none
	Served     uint64  // connections served so far
	Waiting    int     // connections in line
	PID        int     // of the backend's main process; 0: it has none
	Client     *Client // the connection that it is about, not to be changed any more; nil: none
}

// Client is a connection from where it came.
type Client struct {
	Session  uint64 // its number, as in the log
	Listener string // name of the listener that it came to; "": it has none
	Proto    string // "TCP", "UNIX" or "VSOCK"
	Addr     string // its IP address, without the port; of VSOCK the CID; "": of UNIX
	Port     int    // 0: of UNIX
}

// variable is one of the environment; without a value it is not set.
type variable struct{ name, value string }

// variables are all that can be set. The client's are those that its command
// would see under xinetd (REMOTE_*) and tcpserver (PROTO, TCPREMOTE*; see
// https://cr.yp.to/ucspi-tcp/environment.html).
func (f *Facts) variables(kind Kind) []variable {
	all := []variable{
		{"TIPROXY_HOOK", string(kind)},
		{"TIPROXY_REASON", f.Reason},
		{"TIPROXY_GENERATION", known(f.Generation)},
		{"TIPROXY_SERVED", strconv.FormatUint(f.Served, 10)},
		{"TIPROXY_WAITING", strconv.Itoa(f.Waiting)},
		{"TIPROXY_BACKEND_PID", known(uint64(f.PID))},
	}
	var c, tcp Client
	if f.Client != nil {
		c = *f.Client
	}
	if c.Proto == "TCP" {
		tcp = c
	}
	return append(all,
		variable{"TIPROXY_SESSION", known(c.Session)},
		variable{"TIPROXY_LISTENER", c.Listener},
		variable{"PROTO", c.Proto},
		variable{"REMOTE_ADDR", c.Addr},
		variable{"REMOTE_HOST", c.Addr},
		variable{"REMOTE_PORT", known(uint64(c.Port))},
		variable{"TCPREMOTEIP", tcp.Addr},
		variable{"TCPREMOTEPORT", known(uint64(tcp.Port))},
	)
}

// environment is env with the facts put over it.
func (f *Facts) environment(kind Kind, env []string) []string {
	all := f.variables(kind)
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.ContainsFunc(all, func(v variable) bool { return v.name == name })
	})
	for _, v := range all {
		if v.value != "" {
			env = append(env, v.name+"="+strings.ReplaceAll(v.value, "\x00", "")) // NUL would end it (environ(7))
		}
	}
	return env
}

// known writes a number of which 0 means that there is none.
func known(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}
