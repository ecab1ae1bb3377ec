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

	LocalAddr string // where it connected to, likewise; "": not known
	LocalPort int    // 0: not known
}

// variable is one of the environment; without a value it is not set.
type variable struct{ name, value string }

// variables are all that can be set.
func (f *Facts) variables(kind Kind) []variable {
	all := []variable{
		{"TIPROXY_HOOK", string(kind)},
		{"TIPROXY_REASON", f.Reason},
		{"TIPROXY_GENERATION", known(f.Generation)},
		{"TIPROXY_SERVED", strconv.FormatUint(f.Served, 10)},
		{"TIPROXY_WAITING", strconv.Itoa(f.Waiting)},
		{"TIPROXY_BACKEND_PID", known(uint64(f.PID))},
	}
	var c Client
	if f.Client != nil {
		c = *f.Client
	}
	return append(all, c.variables()...)
}

// variables are those that its command would see under xinetd (REMOTE_*) and
// tcpserver (PROTO, TCP*; see https://cr.yp.to/ucspi-tcp/environment.html).
func (c *Client) variables() []variable {
	tcp := Client{}
	if c.Proto == "TCP" {
		tcp = *c
	}
	return []variable{
		{"TIPROXY_SESSION", known(c.Session)},
		{"TIPROXY_LISTENER", c.Listener},
		{"PROTO", c.Proto},
		{"REMOTE_ADDR", c.Addr},
		{"REMOTE_HOST", c.Addr},
		{"REMOTE_PORT", known(uint64(c.Port))},
		{"TCPREMOTEIP", tcp.Addr},
		{"TCPREMOTEPORT", known(uint64(tcp.Port))},
		{"TCPLOCALIP", tcp.LocalAddr},
		{"TCPLOCALPORT", known(uint64(tcp.LocalPort))},
	}
}

// environment is env with the facts put over it.
func (f *Facts) environment(kind Kind, env []string) []string {
	return over(env, f.variables(kind))
}

// Environment is env with what is known of the client put over it, as a hook
// finds it: for a program that serves the client.
func (c *Client) Environment(env []string) []string {
	return over(env, c.variables())
}

// over is env with variables put over it, and without those that have no value.
func over(env []string, all []variable) []string {
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
