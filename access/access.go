// Package access decides who may come in: by the client's address, by the user
// at the other end of a UNIX socket, and by the time of day.
//
// It is pure: a [Rules], which text was read into, and the facts about a
// [Caller] go in, and nil or a [Refusal] comes out. Only [PeerOf] asks the
// kernel, and [LookupUsers] and [LookupGroups] the list of users.
//
//	             has an address, or is VSOCK                has a Unix peer
//	Caller ──┬── DenyFrom=  AllowFrom= ────┬──┬── AllowUsers=  AllowGroups= ──┬── AccessTimes= ──▶ in
//	         └── else ─────────────────────┘  └── else ───────────────────────┘
//
// Of all addresses and prefixes that match a client the most specific one
// decides, as in xinetd.conf(5), and of two equal ones DenyFrom=. A client whom
// none matches comes in if AllowFrom= is empty.
//
// Invariants: letting a client in allocates nothing; the time to find an address
// grows with the logarithm of the number of prefixes, and with how many of them
// lie around it; a Refusal names the setting that caused it.
package access

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Rules are who may come in. The zero Rules let everybody in. They may be used
// by many goroutines at once, and are not changed by use.
type Rules struct {
	// AllowFrom and DenyFrom are about clients with an address. No address can
	// name a VSOCK client: DenyFrom does not keep it out, AllowFrom does unless
	// it is empty.
	AllowFrom, DenyFrom Sources
	// Times are when anybody may come in. Empty: always.
	Times Times
	// Users and Groups are who may come in over UNIX sockets, by uid and gid: a
	// peer who is one of Users, or whose group or supplementary group is one of
	// Groups. Both empty: everybody.
	Users, Groups []uint32
}

// Caller is who wants to come in. The zero Caller has neither address nor user,
// as a VSOCK client.
//
// Both fields may be set: a client on a UNIX socket who speaks for another one
// (AcceptProxy=). Then the rules for both hold.
type Caller struct {
	IP   netip.Addr // not valid: the client has none
	Unix *Peer      // nil: not over a UNIX socket
}

// String is the client's address or user.
func (c Caller) String() string {
	ip := c.IP.Unmap()
	switch {
	case ip.IsValid() && c.Unix != nil:
		return fmt.Sprintf("%s through user %d", ip, c.Unix.UID)
	case ip.IsValid():
		return ip.String()
	case c.Unix != nil:
		return fmt.Sprintf("user %d", c.Unix.UID)
	}
	return "VSOCK client"
}

// Refusal is why a Caller may not come in.
type Refusal struct {
	Who Caller
	// Why goes on from there, and names the setting as it is written, but not
	// the client: "stands in no AllowFrom=".
	Why string
}

// Error is a sentence of Who and Why.
func (r *Refusal) Error() string { return r.Who.String() + " " + r.Why }

// Admit tells whether a client may come in at a time of the wall clock. It
// answers nil, or a [*Refusal].
func (r *Rules) Admit(who Caller, now time.Time) error {
	why := ""
	if who.IP.IsValid() || who.Unix == nil {
		why = r.refuseSource(who.IP)
	}
	if why == "" && who.Unix != nil && !r.allowsPeer(who.Unix) {
		why = "stands in neither AllowUsers= nor AllowGroups="
	}
	if why == "" && !r.Times.Contains(now) {
		why = "comes at " + now.Format("15:04") + ", outside of AccessTimes=" + r.Times.String()
	}
	if why == "" {
		return nil
	}
	return &Refusal{Who: who, Why: why}
}

// refuseSource tells why an address may not come in, or "" if it may. An
// invalid one is matched by nothing.
func (r *Rules) refuseSource(ip netip.Addr) string {
	allowed, denied := r.AllowFrom.narrowest(ip), r.DenyFrom.narrowest(ip)
	switch {
	case denied != nil && (allowed == nil || denied.prefix.Bits() >= allowed.prefix.Bits()):
		return "is refused by DenyFrom=" + denied.word
	case allowed == nil && len(r.AllowFrom) > 0:
		return "stands in no AllowFrom="
	}
	return ""
}

func (r *Rules) allowsPeer(p *Peer) bool {
	if len(r.Users) == 0 && len(r.Groups) == 0 || slices.Contains(r.Users, p.UID) {
		return true
	}
	for _, gid := range r.Groups {
		if gid == p.GID || slices.Contains(p.Groups, gid) {
			return true
		}
	}
	return false
}

// Check finds rules that contradict each other: the same addresses in AllowFrom
// and DenyFrom. Its error names the first pair.
func (r *Rules) Check() error {
	for _, denied := range r.DenyFrom {
		if n, ok := r.AllowFrom.upTo(denied.prefix); ok {
			return fmt.Errorf("AllowFrom=%s and DenyFrom=%s both mean %s; take it out of one of them",
				r.AllowFrom[n-1].word, denied.word, denied.prefix)
		}
	}
	return nil
}
