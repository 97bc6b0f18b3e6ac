package limit_test

import (
	"fmt"
	"net/netip"
	"time"

	"yatagarasu/gateway/limit"
)

func Example() {
	perAddress := limit.NewTable(limit.Limit{PerSecond: 0.5, Burst: 2}, 100_000)
	for _, client := range []string{"192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8", "::ffff:192.0.2.8"} {
		key := limit.AddressKey(netip.MustParseAddr(client))
		if wait := perAddress.Take(key, time.Second); wait > 0 {
			fmt.Println(client, "waits", wait)
		} else {
			fmt.Println(client, "is served")
		}
	}
	// Output:
	// 192.0.2.7 is served
	// 192.0.2.7 is served
	// 192.0.2.7 waits 2s
	// 192.0.2.8 is served
	// ::ffff:192.0.2.8 is served
}
