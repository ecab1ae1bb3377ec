package inetd

import (
	"cmp"
	"net/netip"
	"slices"
)

// precedence says who keeps an address that two entries claim.
type precedence int

const (
	// firstStays: xinetd switches off a service that is like an earlier one.
	firstStays precedence = iota
	// lastStays: inetd lets a later line change the earlier one.
	lastStays
)

// settle ends the making of a table: it sees to it that an address belongs to
// one entry, and puts the notes in order. An entry that loses
// its last address goes. A wildcard and an address of the machine are two here:
// systemd says so when it cannot bind both.
func (t *Table) settle(p precedence) {
	byRight := make([]*Entry, len(t.Entries)) // who may choose first
	for i := range t.Entries {
		byRight[i] = &t.Entries[i]
	}
	if p == lastStays {
		slices.Reverse(byRight)
	}
	owner := map[string]*Entry{}
	taken := func(e *Entry, claims ...string) bool {
		for _, c := range claims {
			if o := owner[c]; o != nil {
				t.Notes = append(t.Notes, e.note(c, "it is taken at %s", o.place()))
				return true
			}
		}
		for _, c := range claims {
			owner[c] = e
		}
		return false
	}
	for _, e := range byRight {
		if e.Path != "" && taken(e, string(e.Type)+" "+e.Path) {
			e.Path = ""
		}
		e.Listen = slices.DeleteFunc(slices.Clone(e.Listen), func(a netip.AddrPort) bool {
			return taken(e, e.claims(a)...)
		})
		if e.nowhere() {
			t.Notes[len(t.Notes)-1].Refused = true
		}
	}
	t.Entries = slices.DeleteFunc(t.Entries, func(e Entry) bool { return e.nowhere() })
	slices.SortStableFunc(t.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}

// claims are the addresses that nobody else can have beside a.
func (e *Entry) claims(a netip.AddrPort) []string {
	claims := []string{string(e.Type) + " " + a.String()}
	if e.Dual && a.Addr() == netip.IPv6Unspecified() {
		claims = append(claims, string(e.Type)+" "+netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port()).String())
	}
	return claims
}

// nowhere tells whether nothing is left to listen on.
func (e *Entry) nowhere() bool { return e.Path == "" && len(e.Listen) == 0 }
