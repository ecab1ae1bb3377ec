package access_test

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/tiproxy/tiproxy/access"
)

// An office, without its guests, in working hours.
func Example() {
	office, err1 := access.ParseSources("10.0.0.0/8, localhost")
	guests, err2 := access.ParseSources("10.9.0.0/16")
	hours, err3 := access.ParseTimes("08:00-18:00")
	rules := access.Rules{AllowFrom: office, DenyFrom: guests, Times: hours}
	if err := errors.Join(err1, err2, err3, rules.Check()); err != nil {
		fmt.Println(err)
		return
	}

	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.Local)
	for _, ip := range []string{"10.1.2.3", "10.9.2.3", "192.0.2.9"} {
		fmt.Println(rules.Admit(access.Caller{IP: netip.MustParseAddr(ip)}, noon))
	}
	fmt.Println(rules.Admit(access.Caller{IP: netip.MustParseAddr("::1")}, noon.Add(7*time.Hour)))
	// Output:
	// <nil>
	// 10.9.2.3 is refused by DenyFrom=10.9.0.0/16
	// 192.0.2.9 stands in no AllowFrom=
	// ::1 comes at 19:00, outside of AccessTimes=08:00-18:00
}

func ExampleParseSources() {
	for _, text := range []string{"10.0.0.0/33", "10.0.0.1/8", "10.0.0.1,,10.0.0.2"} {
		_, err := access.ParseSources(text)
		fmt.Println(err)
	}
	// Output:
	// "10.0.0.0/33" is no prefix; want a number of bits from 0 to 32 after the slash
	// "10.0.0.1/8" has bits set below its prefix; was 10.0.0.0/8 meant, or 10.0.0.1 alone?
	// empty word beside a comma
}
