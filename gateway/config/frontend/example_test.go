package frontend_test

import (
	"fmt"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/frontend"
)

func Example() {
	for _, text := range []string{
		"{ address: \":8443\", limits: { requests_per_second_per_address: 2.5 }, deny: [192.0.2.0/24] }",
		"{ address: 8443, proxy_protocol: true, limits: { burst: 10 } }",
	} {
		d, root, err := file.Open("server", []byte(text), nil, frontend.Grammar)
		if err != nil {
			fmt.Println(err)
			return
		}
		s := frontend.Default()
		d.Fill(root, "server", &s)
		if err := d.Err(); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(s.Address, s.Ready, s.Limits.MaxConnections, s.Limits.Rates.PerAddress, s.Deny)
	}

	// Output:
	// :8443 any 65536 {2.5 3} [192.0.2.0/24]
	// server:1:12: address: must be a string, not a number; put it in quotes
	// server:1:34: proxy_protocol: has no effect without trusted_proxies; name the proxies in server.trusted_proxies, or remove it
	// server:1:57: limits.burst: has no effect without requests_per_second; add requests_per_second, or remove it
}
