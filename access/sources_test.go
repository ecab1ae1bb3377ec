package access

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestSources(t *testing.T) {
	for _, tt := range []struct {
		text    string
		in, out string
	}{
		{"", "", "192.0.2.9 ::1"},
		{" \t", "", "192.0.2.9"},
		{"192.0.2.9", "192.0.2.9 ::ffff:192.0.2.9", "192.0.2.8 192.0.2.10 ::1"},
		{"10.0.0.0/8", "10.0.0.0 10.255.255.255", "9.255.255.255 11.0.0.0 a00::"},
		{"0.0.0.0/0", "0.0.0.0 255.255.255.255", "::"},
		{"2001:db8::/32", "2001:db8:: 2001:db8:ffff::1", "2001:db9:: 2001:db7:ffff::"},
		{"::/0", ":: ffff::", "0.0.0.0"},
		{"::ffff:192.0.2.9 ::ffff:10.0.0.0/104", "192.0.2.9 10.9.9.9", "192.0.2.8 11.0.0.0"},
		{"localhost", "127.0.0.1 127.255.255.255 ::1", "128.0.0.0 ::2"},
		{"link-local", "169.254.0.1 fe80::1 fe80::1%eth0 febf::1", "169.255.0.0 fec0::1"},
		{"any", "0.0.0.0 192.0.2.9 ::1 fe80::1%2", ""},
		{"10.0.0.1,10.0.0.2 , 10.0.0.3\t10.0.0.4", "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4", "10.0.0.5"},
		{"10.0.0.0/8 10.0.0.0/16 10.0.0.0/24 10.0.0.255", "10.255.0.0 10.0.255.0 10.0.0.255", "11.0.0.0"},
		{"10.1.0.0/16 10.0.0.0/8 10.1.2.3 10.0.0.0/8", "10.0.0.1 10.1.0.1 10.1.2.4 10.2.0.0", "11.0.0.0"},
	} {
		s := sources(t, tt.text)
		for _, ip := range strings.Fields(tt.in) {
			if !s.Contains(netip.MustParseAddr(ip)) {
				t.Errorf("%q does not contain %s", tt.text, ip)
			}
		}
		for _, ip := range strings.Fields(tt.out) {
			if s.Contains(netip.MustParseAddr(ip)) {
				t.Errorf("%q contains %s", tt.text, ip)
			}
		}
		if s.Contains(netip.Addr{}) {
			t.Errorf("%q contains no address", tt.text)
		}
		if (s == nil) != (strings.TrimSpace(tt.text) == "") {
			t.Errorf("%q: got %v", tt.text, s)
		}
	}
}

func TestNarrowest(t *testing.T) {
	s := sources(t, "10.1.0.0/16 any 10.0.0.0/8 10.1.2.3 10.1.2.3/32 localhost")
	for ip, want := range map[string]string{
		"10.1.2.3": "10.1.2.3", "10.1.2.4": "10.1.0.0/16", "10.2.0.0": "10.0.0.0/8", "11.0.0.0": "any",
		"127.0.0.1": "localhost", "::1": "localhost", "::2": "any",
	} {
		if got := s.narrowest(netip.MustParseAddr(ip)); got == nil || got.word != want {
			t.Errorf("%s: got %v, want %s", ip, got, want)
		}
	}
}

func TestParseSourcesRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/33":         `"10.0.0.0/33" is no prefix; want a number of bits from 0 to 32`,
		"::/129":              `"::/129" is no prefix; want a number of bits from 0 to 128`,
		"10.0.0.0/":           `"10.0.0.0/" is no prefix`,
		"10.0.0.0/-1":         `"10.0.0.0/-1" is no prefix`,
		"10.0.0.0/08":         `"10.0.0.0/08" is no prefix`,
		"10.0.0.0/8/8":        `"10.0.0.0/8/8" is no prefix`,
		"10.0.0.0/255.0.0.0":  `"10.0.0.0/255.0.0.0" is no prefix`,
		"10.0.0.1/8":          `"10.0.0.1/8" has bits set below its prefix; was 10.0.0.0/8 meant, or 10.0.0.1 alone?`,
		"2001:db8::1/32":      `was 2001:db8::/32 meant, or 2001:db8::1 alone?`,
		"::ffff:10.0.0.1/104": `"::ffff:10.0.0.1/104" has bits set below its prefix`,
		"::ffff:10.0.0.0/80":  `"::ffff:10.0.0.0/80" has bits set below its prefix`,
		"fe80::1%eth0":        `"fe80::1%eth0" has a zone; a rule holds on every interface, so write it without "%eth0"`,
		"fe80::%eth0/64":      `"fe80::%eth0/64" has a zone`,
		"10.0.0":              `"10.0.0" is no source`,
		"010.0.0.1":           `"010.0.0.1" is no source`,
		"10.0.0.1:80":         `"10.0.0.1:80" is no source`,
		"[::1]":               `"[::1]" is no source`,
		"example.org":         `"example.org" is no source; want an address, a prefix such as 10.0.0.0/8, localhost, link-local or any (names`,
		"Localhost":           `"Localhost" is no source`,
		"any/0":               `"any/0" is no source`,
		"/8":                  `"/8" is no source`,
		"::1 nonsense ::2":    `"nonsense" is no source`,
		"::1,,::2":            "empty word beside a comma",
		",::1":                "empty word beside a comma",
		"::1, ":               "empty word beside a comma",
		",":                   "empty word beside a comma",
	} {
		if s, err := ParseSources(text); err == nil || s != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v; want %q", text, s, err, want)
		}
	}
}

// FuzzSources checks that what is parsed is in order, and says the same when it
// is written down and parsed again.
func FuzzSources(f *testing.F) {
	for _, text := range []string{
		"", "any", "localhost link-local", "10.0.0.0/8,10.1.0.0/16", "::ffff:10.0.0.0/104 2001:db8::/32",
		"10.0.0.0/33", "10.0.0.1/8", "fe80::1%eth0", "::1,,::2", "10.0.0.0/8 10.0.0.0/8",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSources(text)
		if err != nil {
			if s != nil {
				t.Fatalf("%q: %v with an error", text, s)
			}
			return
		}
		var written []string
		for i, one := range s {
			if i > 0 && s[i-1].prefix.Compare(one.prefix) >= 0 || one.prefix != one.prefix.Masked() || one.prefix.Addr().Is4In6() && one.prefix.Bits() >= 96 {
				t.Fatalf("%q: %v is out of order", text, one)
			}
			if n := one.around; n > i || n > 0 && (s[n-1].prefix.Bits() >= one.prefix.Bits() || !s[n-1].prefix.Contains(one.prefix.Addr())) {
				t.Fatalf("%q: %v lies around %v", text, n, one)
			}
			if !s.Contains(one.prefix.Addr()) {
				t.Fatalf("%q does not contain %v", text, one.prefix.Addr())
			}
			if !strings.Contains(text, one.word) {
				t.Fatalf("%q: %q is not written there", text, one.word)
			}
			written = append(written, fmt.Sprint(one.prefix))
		}
		slices.Reverse(written)
		again := sources(t, strings.Join(written, ","))
		if !slices.EqualFunc(s, again, func(a, b source) bool { return a.prefix == b.prefix && a.around == b.around }) {
			t.Fatalf("%q: %v became %v", text, s, again)
		}
	})
}
