package shared_test

import (
	"fmt"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/shared"
)

func Example() {
	for _, text := range []string{
		"{ secret: 0123456789abcdef0123456789abcdef, valkey: { addresses: \"valkey:6379\" } }",
		"{ secret: short, valkey: { addresses: valkey }, purge: { within: 1s } }",
	} {
		d, root, err := file.Open("cluster", []byte(text), nil, shared.Grammar)
		if err != nil {
			fmt.Println(err)
			return
		}
		c := shared.Default()
		d.Fill(root, "cluster", &c)
		if err := d.Err(); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(c.Valkey.Addresses, c.Valkey.Mode, c.Secret, c.Purge.Within, c.Store.MaxObjectSize)
	}

	// Output:
	// [valkey:6379] standalone *** 30s 250KiB
	// cluster:1:11: secret: is shorter than 32 bytes; make one: openssl rand -hex 32
	// cluster:1:39: valkey.addresses: is no host:port; write such as "valkey:6379", "10.1.2.3:6379" or "[::1]:6379", without a scheme
	// cluster:1:66: purge.within: is too short; write at least 2s, or 0 to switch it off
}
