package access

import (
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
)

func TestLookup(t *testing.T) {
	stranger := "tiproxy-" + rand.Text()
	for _, tt := range []struct {
		names         []string
		want          []uint32
		users, groups string // the errors
	}{
		{names: nil},
		{names: []string{"root"}, want: []uint32{0}},
		{names: []string{"root", "0", "1234567890", "4294967294"}, want: []uint32{0, 0, 1234567890, 4294967294}},
		{names: []string{"root", stranger},
			users:  fmt.Sprintf("cannot find the user %q: user: unknown user %s", stranger, stranger),
			groups: fmt.Sprintf("cannot find the group %q: group: unknown group %s", stranger, stranger)},
		{names: []string{"4294967295"},
			users:  `cannot find the user "4294967295": user: unknown user 4294967295`,
			groups: `cannot find the group "4294967295": group: unknown group 4294967295`},
		{names: []string{""},
			users:  `cannot find the user "": user: unknown user `,
			groups: `cannot find the group "": group: unknown group `},
	} {
		ids, err := LookupUsers(tt.names)
		checkLookup(t, tt.names, ids, tt.want, err, tt.users)
		ids, err = LookupGroups(tt.names)
		checkLookup(t, tt.names, ids, tt.want, err, tt.groups)
	}
}

func checkLookup(t *testing.T, names []string, got, want []uint32, err error, text string) {
	t.Helper()
	if (err == nil) != (text == "") || err != nil && err.Error() != text || !slices.Equal(got, want) {
		t.Errorf("%q: got %v, %v; want %v, %s", names, got, err, want, text)
	}
}
