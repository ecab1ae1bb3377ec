package access

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func sources(t testing.TB, text string) Sources {
	t.Helper()
	s, err := ParseSources(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func times(t testing.TB, text string) Times {
	t.Helper()
	s, err := ParseTimes(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// at is a moment of some day.
func at(hour, minute int) time.Time { return time.Date(2026, 3, 4, hour, minute, 0, 0, time.UTC) }

func from(ip string) Caller { return Caller{IP: netip.MustParseAddr(ip)} }

var (
	vsock = Caller{}
	local = Caller{Unix: &Peer{PID: 1, UID: 1001, GID: 100, Groups: []uint32{27, 44}}}
)

func TestAdmit(t *testing.T) {
	const nowhere = "stands in no AllowFrom="
	const nobody = "user 1001 stands in neither AllowUsers= nor AllowGroups="
	for _, tt := range []struct {
		allow, deny   string
		users, groups []uint32
		who           Caller
		want          string // the error; "": let in
	}{
		{who: from("192.0.2.9")},
		{who: local},
		{who: vsock},

		{allow: "192.0.2.0/24", who: from("192.0.2.9")},
		{allow: "192.0.2.0/24", who: from("::ffff:192.0.2.9")},
		{allow: "192.0.2.0/24", who: from("192.0.3.9"), want: "192.0.3.9 " + nowhere},
		{allow: "192.0.2.0/24", who: from("::1"), want: "::1 " + nowhere},
		{allow: "::/0", who: from("::ffff:192.0.2.9"), want: "192.0.2.9 " + nowhere},
		{allow: "link-local", who: from("fe80::1%2")},
		{deny: "link-local", who: from("fe80::1%2"), want: "fe80::1%2 is refused by DenyFrom=link-local"},
		{deny: "192.0.2.0/24", who: from("192.0.2.9"), want: "192.0.2.9 is refused by DenyFrom=192.0.2.0/24"},
		{deny: "192.0.2.0/24", who: from("192.0.3.9")},
		{deny: "any", who: from("::1"), want: "::1 is refused by DenyFrom=any"},

		// The most specific one wins, wherever it stands.
		{allow: "192.0.2.0/24", deny: "any", who: from("192.0.2.9")},
		{allow: "any", deny: "192.0.2.0/24", who: from("192.0.2.9"), want: "192.0.2.9 is refused by DenyFrom=192.0.2.0/24"},
		{allow: "any 192.0.2.9", deny: "192.0.2.0/24", who: from("192.0.2.9")},
		{allow: "any 192.0.2.9", deny: "192.0.2.0/24", who: from("192.0.2.8"), want: "192.0.2.8 is refused by DenyFrom=192.0.2.0/24"},
		{allow: "192.0.2.9", deny: "192.0.2.9", who: from("192.0.2.9"), want: "192.0.2.9 is refused by DenyFrom=192.0.2.9"},
		{allow: "192.0.2.9", deny: "192.0.2.0/24", who: from("198.51.100.1"), want: "198.51.100.1 " + nowhere},

		// Addresses are not about UNIX clients, and cannot name VSOCK ones.
		{allow: "192.0.2.9", deny: "any", who: local},
		{deny: "any", who: vsock},
		{allow: "any", who: vsock, want: "VSOCK client " + nowhere},

		// Users are only about UNIX clients.
		{users: []uint32{0, 1001}, who: local},
		{users: []uint32{0}, who: local, want: nobody},
		{groups: []uint32{7, 100}, who: local},
		{groups: []uint32{7, 44}, who: local},
		{groups: []uint32{7, 1001}, who: local, want: nobody},
		{users: []uint32{0}, groups: []uint32{27}, who: local},
		{users: []uint32{1001}, groups: []uint32{7}, who: local},
		{users: []uint32{0}, who: from("192.0.2.9")},
		{groups: []uint32{0}, who: vsock},

		// Who speaks for another has to stand in both.
		{deny: "::1", users: []uint32{1001}, who: Caller{from("::2").IP, local.Unix}},
		{deny: "::1", who: Caller{from("::1").IP, local.Unix}, want: "::1 through user 1001 is refused by DenyFrom=::1"},
		{deny: "any", who: Caller{from("::ffff:192.0.2.9").IP, local.Unix}, want: "192.0.2.9 through user 1001 is refused by DenyFrom=any"},
		{users: []uint32{0}, who: Caller{from("::1").IP, local.Unix}, want: "::1 through " + nobody},
	} {
		r := Rules{AllowFrom: sources(t, tt.allow), DenyFrom: sources(t, tt.deny), Users: tt.users, Groups: tt.groups}
		checkRefusal(t, r.Admit(tt.who, at(12, 0)), tt.want, fmt.Sprintf("%v at %+v", tt.who, tt))
	}
}

func TestAdmitByTime(t *testing.T) {
	r := Rules{DenyFrom: sources(t, "192.0.2.9"), Times: times(t, "8:00-12:00, 13:00-18:00")}
	const closed = ", outside of AccessTimes=08:00-12:00 13:00-18:00"
	for _, tt := range []struct {
		who  Caller
		when time.Time
		want string
	}{
		{from("192.0.2.8"), at(8, 0), ""},
		{from("192.0.2.8"), at(19, 30), "192.0.2.8 comes at 19:30" + closed},
		{local, at(13, 0), ""},
		{local, at(12, 0), "user 1001 comes at 12:00" + closed},
		{vsock, at(7, 59), "VSOCK client comes at 07:59" + closed},
		{from("192.0.2.9"), at(8, 0), "192.0.2.9 is refused by DenyFrom=192.0.2.9"},
	} {
		checkRefusal(t, r.Admit(tt.who, tt.when), tt.want, tt.who.String())
	}
}

// checkRefusal checks the text of an error, and that it is a Refusal which names
// the client in Who alone.
func checkRefusal(t *testing.T, err error, want, about string) {
	t.Helper()
	if err == nil || want == "" {
		if err != nil || want != "" {
			t.Errorf("%s: got %v, want %q", about, err, want)
		}
		return
	}
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || err.Error() != want || want != refusal.Who.String()+" "+refusal.Why {
		t.Errorf("%s: got %q, want %q", about, err, want)
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct{ allow, deny, want string }{
		{"", "", ""},
		{"10.0.0.0/8", "10.0.0.0/9 11.0.0.0/8", ""},
		{"10.0.0.0/8 10.1.0.0/16", "any", ""},
		{"192.0.2.9 10.0.0.0/8", "10.0.0.0/8", "AllowFrom=10.0.0.0/8 and DenyFrom=10.0.0.0/8 both mean 10.0.0.0/8;"},
		{"127.0.0.0/8", "localhost", "AllowFrom=127.0.0.0/8 and DenyFrom=localhost both mean 127.0.0.0/8;"},
		{"any", "::/0", "AllowFrom=any and DenyFrom=::/0 both mean ::/0;"},
		{"::ffff:192.0.2.9", "192.0.2.9/32", "AllowFrom=::ffff:192.0.2.9 and DenyFrom=192.0.2.9/32 both mean 192.0.2.9/32;"},
	} {
		r := Rules{AllowFrom: sources(t, tt.allow), DenyFrom: sources(t, tt.deny)}
		if err := r.Check(); (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("AllowFrom=%s DenyFrom=%s: got %v, want %q", tt.allow, tt.deny, err, tt.want)
		}
	}
}

// manyRules have 10,000 sources, half of them denied, and one of every length
// around the address that is asked for.
func manyRules(t testing.TB) *Rules {
	rng := rand.New(rand.NewPCG(1, 2))
	var lists [2][]string
	for i := range 10_000 {
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], rng.Uint32())
		p, _ := netip.AddrFrom4(ip).Prefix(20 + rng.IntN(13))
		lists[i%2] = append(lists[i%2], p.String())
	}
	for bits := range 30 {
		p, _ := netip.MustParseAddr("192.0.2.9").Prefix(bits)
		lists[0] = append(lists[0], p.String())
	}
	return &Rules{
		AllowFrom: sources(t, strings.Join(lists[0], " ")), DenyFrom: sources(t, strings.Join(lists[1], " ")),
		Times: times(t, "22:00-06:00 12:00-18:00"),
		Users: []uint32{0, 1001}, Groups: []uint32{7},
	}
}

func TestLettingInDoesNotAllocate(t *testing.T) {
	r, now := manyRules(t), at(12, 0)
	for _, who := range []Caller{from("192.0.2.9"), from("::ffff:192.0.2.9"), local} {
		n := testing.AllocsPerRun(100, func() {
			if err := r.Admit(who, now); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%v: %v allocations", who, n)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	now := at(12, 0)
	for _, bb := range []struct {
		name  string
		rules *Rules
	}{{"no rules", &Rules{}}, {"10,000 rules", manyRules(b)}} {
		b.Run(bb.name, func(b *testing.B) {
			who := from("192.0.2.9")
			b.ReportAllocs()
			for b.Loop() {
				if err := bb.rules.Admit(who, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// FuzzAdmit holds Admit against a model that looks at every rule.
func FuzzAdmit(f *testing.F) {
	f.Add([]byte{0x0a, 1, 0xff}, []byte{0x0a, 1, 0xff})
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		rules, callers := make([]byte, 3*rng.IntN(60)), make([]byte, 60)
		for _, b := range [][]byte{rules, callers} {
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
		}
		f.Add(rules, callers)
	}
	f.Fuzz(func(t *testing.T, rules, callers []byte) {
		var m model
		for ; len(rules) >= 3; rules = rules[3:] {
			p, _ := address(rules).Prefix(length(rules))
			m[rules[0]>>7] = append(m[rules[0]>>7], p)
		}
		r := Rules{AllowFrom: sources(t, m.text(0)), DenyFrom: sources(t, m.text(1))}
		for ; len(callers) >= 3; callers = callers[3:] {
			ip := address(callers)
			got, want := r.Admit(Caller{IP: ip}, time.Time{}), m.admits(ip)
			if (got == nil) != want {
				t.Fatalf("%s: got %v, want %v; AllowFrom=%s DenyFrom=%s", ip, got, want, m.text(0), m.text(1))
			}
		}
		if got, want := r.Check() == nil, !m.contradicts(); got != want {
			t.Fatalf("Check: got %v, want %v; AllowFrom=%s DenyFrom=%s", got, want, m.text(0), m.text(1))
		}
	})
}

// address makes an address of three bytes, of both families and few enough that
// prefixes meet.
func address(b []byte) netip.Addr {
	if b[0]&0x40 != 0 {
		return netip.AddrFrom16([16]byte{0x20, b[1] & 3, 7: b[1] >> 4, 15: b[2] & 0x8f})
	}
	return netip.AddrFrom4([4]byte{10, b[1] & 3, b[1] >> 4, b[2] & 0x8f})
}

// length makes the length of a prefix, which fits the address.
func length(b []byte) int {
	n := int(b[0] & 0x3f)
	if b[0]&0x40 != 0 {
		return n*2 + 2
	}
	return n % 33
}

// model are the rules as one would explain them: those who are allowed, and
// those who are denied.
type model [2][]netip.Prefix

func (m *model) text(list int) string {
	return strings.Trim(fmt.Sprint(m[list]), "[]")
}

func (m *model) admits(ip netip.Addr) bool {
	longest := [2]int{-1, -1}
	for list := range m {
		for _, p := range m[list] {
			if p.Contains(ip) {
				longest[list] = max(longest[list], p.Bits())
			}
		}
	}
	if longest[1] >= 0 || longest[0] >= 0 {
		return longest[0] > longest[1]
	}
	return len(m[0]) == 0
}

func (m *model) contradicts() bool {
	for _, a := range m[0] {
		for _, d := range m[1] {
			if a == d {
				return true
			}
		}
	}
	return false
}
