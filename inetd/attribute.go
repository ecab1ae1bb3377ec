package inetd

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"
)

// attribute is what xinetd knows by a name, xinetd.conf(5).
type attribute struct {
	values int   // that it takes; some: any number
	set    bool  // values may stand in several lines, with += and -=
	in     scope // where it may stand

	// expand answers what a value of a set stands for; nil: itself.
	expand func(value string) ([]string, error)
	// apply takes the values into a service. It sees no other attribute of it.
	// nil: there is no counterpart.
	apply func(s *service, values []string) error
	why   string // there is no counterpart
}

const some = -1

// scope is a kind of block, or several.
type scope int

const (
	inService scope = 1 << iota
	inDefaults
	inBoth = inService | inDefaults
)

var attributes = map[string]attribute{
	"id":          {values: 1, in: inService, apply: (*service).setID},
	"type":        {values: some, in: inService, apply: (*service).setKinds},
	"flags":       {values: some, in: inService, apply: (*service).setFlags},
	"disable":     {values: 1, in: inService, apply: (*service).setDisable},
	"socket_type": {values: 1, in: inService, apply: (*service).setSocketType},
	"protocol":    {values: 1, in: inService, apply: (*service).setProtocol},
	"wait":        {values: 1, in: inService, apply: (*service).setWait},
	"port":        {values: 1, in: inService, apply: (*service).setPort},
	"bind":        {values: 1, in: inBoth, apply: func(s *service, v []string) error { s.bind = v[0]; return nil }},
	"v6only":      {values: 1, in: inBoth, apply: (*service).setV6Only},

	"user":         {values: 1, in: inService, apply: func(s *service, v []string) error { s.User = v[0]; return nil }},
	"group":        {values: 1, in: inService, apply: func(s *service, v []string) error { s.Group = v[0]; return nil }},
	"groups":       {values: 1, in: inBoth, apply: (*service).setGroups},
	"server":       {values: 1, in: inService, apply: (*service).setServer},
	"server_args":  {values: some, in: inService, apply: (*service).setServerArgs},
	"redirect":     {values: 2, in: inService, apply: (*service).setRedirect},
	"env":          {values: some, set: true, in: inService, apply: (*service).setEnvironment},
	"nice":         {values: 1, in: inService, apply: (*service).setNice},
	"umask":        {values: 1, in: inBoth, apply: (*service).setUMask},
	"rlimit_files": {values: 1, in: inService, apply: (*service).setFiles},
	"libwrap":      {values: 1, in: inService, apply: func(s *service, v []string) error { s.libwrap = v[0]; return nil }},

	"instances":    {values: 1, in: inBoth, apply: func(s *service, v []string) error { return setMost(&s.MaxConnections, v[0]) }},
	"per_source":   {values: 1, in: inBoth, apply: func(s *service, v []string) error { return setMost(&s.MaxPerSource, v[0]) }},
	"cps":          {values: 2, in: inBoth, apply: (*service).setRate},
	"only_from":    {values: some, set: true, in: inBoth, expand: expandSource, apply: (*service).setOnlyFrom},
	"no_access":    {values: some, set: true, in: inBoth, expand: expandSource, apply: (*service).setNoAccess},
	"access_times": {values: some, in: inService, apply: (*service).setTimes},
	"deny_time":    {values: 1, in: inService, apply: refuse("nobody remembers who touched a SENSOR")},

	// They are lists of services, see switches.
	"enabled":  {values: some, set: true, in: inDefaults, apply: func(s *service, v []string) error { s.enabled, s.selected = v, true; return nil }},
	"disabled": {values: some, set: true, in: inDefaults, apply: func(s *service, v []string) error { s.disabled = v; return nil }},

	"log_type":       {values: some, set: true, in: inBoth, why: "tiproxy and the server write to the journal"},
	"log_on_success": {values: some, set: true, in: inBoth, why: "tiproxy says in the journal who came, and for how long"},
	"log_on_failure": {values: some, set: true, in: inBoth, why: "tiproxy says in the journal whom it sent away"},
	"passenv":        {values: some, set: true, in: inBoth, why: "the server gets the environment that systemd gives to services; write variables with env"},
	"banner":         {values: 1, in: inBoth, why: "tiproxy says nothing to clients"},
	"banner_success": {values: 1, in: inBoth, why: "tiproxy says nothing to clients"},
	"banner_fail":    {values: 1, in: inBoth, why: "tiproxy says nothing to clients"},
	"max_load":       {values: 1, in: inBoth, why: "tiproxy does not look at the load; bound it with instances"},
	"mdns":           {values: 1, in: inService, why: "nothing is registered with mDNS"},
	"rpc_version":    {values: 1, in: inService, why: "it is for RPC services alone"},
	"rpc_number":     {values: 1, in: inService, why: "it is for RPC services alone"},
	"rlimit_as":      {values: 1, in: inService, why: "tiproxy sets no such limit: run the server by prlimit(1), --as="},
	"rlimit_cpu":     {values: 1, in: inService, why: "tiproxy sets no such limit: run the server by prlimit(1), --cpu="},
	"rlimit_data":    {values: 1, in: inService, why: "tiproxy sets no such limit: run the server by prlimit(1), --data="},
	"rlimit_rss":     {values: 1, in: inService, why: "tiproxy sets no such limit: run the server by prlimit(1), --rss="},
	"rlimit_stack":   {values: 1, in: inService, why: "tiproxy sets no such limit: run the server by prlimit(1), --stack="},
}

// refused are the types and flags that cannot be kept; those without a reason
// are understood.
var refused = map[string]string{
	"INTERNAL": "", "UNLISTED": "",
	"RPC":        "its port has to be told to rpcbind, which nobody does for a socket of systemd's",
	"TCPMUX":     "a service of tcpmux (RFC 1078) has no port: give it one",
	"TCPMUXPLUS": "a service of tcpmux (RFC 1078) has no port: give it one",
	"SPECIAL":    "it is a part of xinetd",

	"IPv4": "", "IPv6": "", "NAMEINARGS": "", "NODELAY": "", "KEEPALIVE": "", "NOLIBWRAP": "",
	"REUSE": "", "NORETRY": "", // so it is anyway
	"INTERCEPT": "nobody stands between the clients and a server that accepts them itself",
	"IDONLY":    "nobody asks clients for their user (RFC 1413)",
	"SENSOR":    "nobody remembers who touched it",
	"LABELED":   "the server keeps its SELinux context, whatever the client's",
}

// refuse is the apply of an attribute that cannot be kept and matters.
func refuse(why string) func(*service, []string) error {
	return func(*service, []string) error { return errors.New(why) }
}

func known(words []string, what string) error {
	for _, w := range words {
		if why, ok := refused[w]; !ok {
			return fmt.Errorf("%.60q is no %s of xinetd's", w, what)
		} else if why != "" {
			return fmt.Errorf("%s: %s", w, why)
		}
	}
	return nil
}

// yes reads yes or no.
func yes(value string) (bool, error) {
	if value != "yes" && value != "no" {
		return false, fmt.Errorf("%.60q is neither yes nor no", value)
	}
	return value == "yes", nil
}

func (s *service) setID(v []string) error { s.Name = v[0]; return nil }

func (s *service) setKinds(v []string) error { s.kinds = v; return known(v, "type") }

func (s *service) setFlags(v []string) error { s.flags = v; return known(v, "flag") }

func (s *service) setDisable(v []string) (err error) { s.disable, err = yes(v[0]); return err }

func (s *service) setWait(v []string) (err error) { s.Wait, err = yes(v[0]); return err }

func (s *service) setGroups(v []string) (err error) { s.groups, err = yes(v[0]); return err }

func (s *service) setV6Only(v []string) (err error) { s.v6only, err = yes(v[0]); return err }

func (s *service) setSocketType(v []string) error {
	t, ok := socketTypes[v[0]]
	if !ok || t.why != "" || t.is == Seqpacket {
		return fmt.Errorf("%.60q is no socket type that TCP or UDP has; want stream or dgram", v[0])
	}
	s.Type = t.is
	return nil
}

func (s *service) setProtocol(v []string) error {
	if v[0] != "tcp" && v[0] != "udp" {
		return fmt.Errorf("%.60q is no protocol that systemd listens on; want tcp or udp", v[0])
	}
	s.protocol = v[0]
	return nil
}

func (s *service) setPort(v []string) (err error) {
	n, err := strconv.ParseUint(v[0], 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%.60q is no port from 1 to 65535", v[0])
	}
	s.port = uint16(n)
	return nil
}

func (s *service) setServer(v []string) error {
	if !path.IsAbs(v[0]) {
		return fmt.Errorf("%.60q is no absolute path", v[0])
	}
	s.Program = v[0]
	return nil
}

func (s *service) setServerArgs(v []string) error {
	if len(v) == 0 {
		return errors.New("leave it out where there are no arguments")
	}
	s.args = v
	return nil
}

func (s *service) setRedirect(v []string) error {
	port, err := s.reader.port(v[1], "tcp")
	if err != nil {
		return err
	}
	a, err := netip.ParseAddr(v[0])
	switch {
	case err == nil:
		s.Redirect = netip.AddrPortFrom(a, port).String()
	case strings.ContainsAny(v[0], "/[]%:"):
		return fmt.Errorf("%.60q is no host", v[0])
	default:
		s.Redirect = fmt.Sprintf("%s:%d", v[0], port)
	}
	return nil
}

func (s *service) setEnvironment(v []string) error {
	for _, word := range v {
		if i := strings.IndexByte(word, '='); i < 1 {
			return fmt.Errorf("%.60q is not NAME=VALUE", word)
		}
	}
	s.Environment = v
	return nil
}

func (s *service) setNice(v []string) error {
	n, err := strconv.Atoi(v[0])
	if err != nil || n < -20 || n > 19 {
		return fmt.Errorf("%.60q is no number from -20 to 19", v[0])
	}
	s.Nice = &n
	return nil
}

func (s *service) setUMask(v []string) error {
	n, err := strconv.ParseUint(v[0], 8, 31)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%.60q is no octal number from 0 to 777", v[0])
	}
	mask := int(n)
	s.UMask = &mask
	return nil
}

func (s *service) setFiles(v []string) error {
	if v[0] == "UNLIMITED" {
		return nil
	}
	n, err := parseSize(strings.ToLower(v[0]))
	s.LimitNOFILE = n
	return err
}

// setMost reads a number, or UNLIMITED.
func setMost(most *int, value string) error {
	if value == "UNLIMITED" {
		*most = 0
		return nil
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return fmt.Errorf("%.60q is neither a number nor UNLIMITED", value)
	}
	if n == 0 {
		return errors.New("0 serves nobody: write disable = yes")
	}
	*most = int(n)
	return nil
}

// setRate reads connections in a second, and the seconds that xinetd would
// close the service for: tiproxy lets those above wait instead.
func (s *service) setRate(v []string) error {
	n, err1 := strconv.ParseUint(v[0], 10, 31)
	_, err2 := strconv.ParseUint(v[1], 10, 31)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("%.60q is no number of connections in a second and of seconds to wait", v)
	}
	s.Rate = Rate{int(n), time.Second}
	return nil
}

func (s *service) setOnlyFrom(v []string) error {
	s.restricted = true
	s.AllowFrom = prefixes(v)
	return nil
}

func (s *service) setNoAccess(v []string) error { s.DenyFrom = prefixes(v); return nil }

func (s *service) setTimes(v []string) error {
	if len(v) == 0 {
		return errors.New("want intervals such as 8:00-17:59")
	}
	for _, value := range v {
		interval, err := parseInterval(value)
		if err != nil {
			return err
		}
		s.AccessTimes = append(s.AccessTimes, interval)
	}
	return nil
}
