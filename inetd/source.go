package inetd

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// everywhere is all addresses.
var everywhere = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}

// parseSource reads a value of only_from or no_access, xinetd.conf(5): an
// address, ADDRESS/BITS, or an IPv4 address of which the end is {N,N,…}. Zeros
// at the end of an IPv4 address stand for anything, those of an IPv6 address do
// not. A name would need a look-up for each client, and is refused but for
// localhost.
func parseSource(value string) ([]netip.Prefix, error) {
	if value == "localhost" {
		return []netip.Prefix{single(loopback[0]), single(loopback[1])}, nil
	}
	if head, list, ok := strings.Cut(value, "{"); ok {
		return parseFactorized(head, list)
	}
	if strings.Contains(value, "/") {
		p, err := netip.ParsePrefix(value)
		if err != nil || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%.60q is no ADDRESS/BITS", value)
		}
		return []netip.Prefix{p.Masked()}, nil
	}
	a, err := netip.ParseAddr(value)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%.60q is no address, and names are not looked up: write the addresses", value)
	case a.Zone() != "":
		return nil, fmt.Errorf("%.60q has a zone, which says where it is, not who", value)
	case a.Is4():
		return []netip.Prefix{parseZeros(a)}, nil
	case a.Is4In6():
		return nil, fmt.Errorf("%.60q is an IPv4 address: write %s", value, a.Unmap())
	}
	return []netip.Prefix{single(a)}, nil
}

// expandSource is parseSource for sets of values, in which equal networks are to
// be written alike.
func expandSource(value string) ([]string, error) {
	networks, err := parseSource(value)
	var words []string
	for _, p := range networks {
		words = append(words, p.String())
	}
	return words, err
}

// prefixes reads what expandSource wrote.
func prefixes(words []string) []netip.Prefix {
	var networks []netip.Prefix
	for _, w := range words {
		networks = append(networks, netip.MustParsePrefix(w))
	}
	return networks
}

// parseZeros is the network of an IPv4 address by the zeros at its end.
func parseZeros(a netip.Addr) netip.Prefix {
	bits := 32
	for octets := a.As4(); bits > 0 && octets[bits/8-1] == 0; {
		bits -= 8
	}
	return netip.PrefixFrom(a, bits)
}

// parseFactorized reads what stands before and after the { of 192.0.2.{1,7}.
func parseFactorized(head, list string) ([]netip.Prefix, error) {
	bad := fmt.Errorf("%.60q is no address such as 192.0.2.{1,7}", head+"{"+list)
	list, closed := strings.CutSuffix(list, "}")
	dots := strings.Count(head, ".")
	if !closed || !strings.HasSuffix(head, ".") || dots > 3 {
		return nil, bad
	}
	var networks []netip.Prefix
	for n := range strings.SplitSeq(list, ",") {
		if _, err := strconv.ParseUint(n, 10, 8); err != nil {
			return nil, bad
		}
		a, err := netip.ParseAddr(head + n + strings.Repeat(".0", 3-dots))
		if err != nil {
			return nil, bad
		}
		networks = append(networks, netip.PrefixFrom(a, 8*(dots+1)))
	}
	return networks, nil
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// within finds the one of networks that p lies in.
func within(p netip.Prefix, networks []netip.Prefix) (around netip.Prefix, ok bool) {
	for _, q := range networks {
		if q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
			return q, true
		}
	}
	return netip.Prefix{}, false
}

// parseInterval reads HH:MM-HH:MM, and answers it with its end left out:
// xinetd lets clients in throughout the last minute.
func parseInterval(value string) (string, error) {
	from, to, ok := strings.Cut(value, "-")
	begin, err1 := parseMinute(from)
	end, err2 := parseMinute(to)
	if err := errors.Join(err1, err2); !ok || err != nil || begin >= end {
		return "", fmt.Errorf("%.60q is no interval such as 8:00-17:59 within one day", value)
	}
	end = min(end+1, 24*60)
	return fmt.Sprintf("%02d:%02d-%02d:%02d", begin/60, begin%60, end/60, end%60), nil
}

// parseMinute reads HH:MM as minutes of the day; 24:00 is its end.
func parseMinute(s string) (int, error) {
	hours, minutes, _ := strings.Cut(s, ":")
	h, err1 := strconv.ParseUint(hours, 10, 8)
	m, err2 := strconv.ParseUint(minutes, 10, 8)
	n := int(h*60 + m)
	if err := errors.Join(err1, err2); err != nil || m > 59 || n > 24*60 {
		return 0, fmt.Errorf("%.60q is no time of the day", s)
	}
	return n, nil
}
