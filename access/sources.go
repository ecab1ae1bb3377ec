package access

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Sources are the addresses and prefixes of a setting. They are made by
// [ParseSources], in an order of their own: two of them joined by append are no
// Sources any more.
//
// Prefixes are apart, or one lies within the other. So they stand in the order
// of their first addresses, a wider one before those within it, and each knows
// the next wider one around it: what matches an address is the last one that
// does not begin after it, or one of those around that.
type Sources []source

// source is one prefix.
type source struct {
	prefix netip.Prefix // masked, and never IPv4 mapped into IPv6
	word   string       // that it was written as
	around int          // index+1 of the narrowest one that it lies within; 0: in none
}

// keywords are the words that stand for prefixes.
var keywords = map[string][]netip.Prefix{
	"localhost":  {netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	"link-local": {netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fe80::/10")},
	"any":        {netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
}

// ParseSources reads words separated by blanks or commas: an address, a prefix
// such as 10.0.0.0/8 or 2001:db8::/32, localhost (127.0.0.0/8 and ::1),
// link-local (169.254.0.0/16 and fe80::/10) or any. No text is no Sources. IPv4
// written as mapped into IPv6 (::ffff:192.0.2.1) is IPv4, and an IPv6 prefix
// never means an IPv4 client.
//
// Its errors name the word; they do not know the setting.
func ParseSources(text string) (Sources, error) {
	list, err := words(text)
	if err != nil {
		return nil, err
	}
	var s Sources
	for _, word := range list {
		prefixes, ok := keywords[word]
		if !ok {
			p, err := parsePrefix(word)
			if err != nil {
				return nil, err
			}
			prefixes = []netip.Prefix{p}
		}
		for _, p := range prefixes {
			s = append(s, source{prefix: p, word: word})
		}
	}
	return s.arrange(), nil
}

// Contains tells whether an address is one of Sources. IPv4 mapped into IPv6 is
// IPv4, and a zone does not matter.
func (s Sources) Contains(ip netip.Addr) bool { return s.narrowest(ip) != nil }

// narrowest is the most specific source that matches an address, or nil.
func (s Sources) narrowest(ip netip.Addr) *source {
	ip = ip.Unmap().WithZone("")
	n, _ := s.upTo(netip.PrefixFrom(ip, ip.BitLen()))
	for ; n > 0; n = s[n-1].around {
		if s[n-1].prefix.Contains(ip) {
			return &s[n-1]
		}
	}
	return nil
}

// upTo counts the sources up to p, in their order, and tells whether p is the
// last of them.
func (s Sources) upTo(p netip.Prefix) (n int, found bool) {
	n, found = slices.BinarySearchFunc(s, p, func(a source, p netip.Prefix) int { return a.prefix.Compare(p) })
	if found {
		n++
	}
	return n, found
}

// arrange brings a plain list into the order of Sources. Of a prefix written
// twice the first stays.
func (s Sources) arrange() Sources {
	slices.SortStableFunc(s, func(a, b source) int { return a.prefix.Compare(b.prefix) })
	s = slices.CompactFunc(s, func(a, b source) bool { return a.prefix == b.prefix })
	for i := range s {
		n := i
		for n > 0 && !s[n-1].prefix.Overlaps(s[i].prefix) {
			n = s[n-1].around
		}
		s[i].around = n
	}
	return s
}

// parsePrefix reads an address, which is the prefix of it alone, or a prefix.
func parsePrefix(word string) (netip.Prefix, error) {
	address, _, hasLength := strings.Cut(word, "/")
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%.60q is no source; want an address, a prefix such as 10.0.0.0/8, localhost, link-local or any (names are not looked up)", word)
	case ip.Zone() != "":
		return netip.Prefix{}, fmt.Errorf("%.60q has a zone; a rule holds on every interface, so write it without %q", word, "%"+ip.Zone())
	case !hasLength:
		return netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(word)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%.60q is no prefix; want a number of bits from 0 to %d after the slash", word, ip.BitLen())
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%.60q has bits set below its prefix; was %s meant, or %s alone?", word, p.Masked(), ip)
	}
	if ip.Is4In6() {
		p = netip.PrefixFrom(ip.Unmap(), p.Bits()-96)
	}
	return p, nil
}

// words cuts a list at blanks and commas. A comma stands between two words.
func words(text string) ([]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		between := strings.Fields(part)
		if len(between) == 0 {
			return nil, errors.New("empty word beside a comma")
		}
		list = append(list, between...)
	}
	return list, nil
}
