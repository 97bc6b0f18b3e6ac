package frontend

import (
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// Grammar is what the blocks server and metrics may have, and the limits of a bucket.
var Grammar = file.Grammar{
	Blocks: []file.Block{
		{Path: "server", Keys: []string{"address", "https", "require_https", "trusted_proxies", "forwarded_header", "proxy_protocol", "ready", "limits", "allow", "deny"}},
		{Path: "server.https", Keys: []string{"enabled", "cert_path", "key_path", "redirect_address"}},
		{Path: "server.limits", Keys: []string{"max_connections", "max_connections_per_address", "max_in_flight", "requests_per_second", "burst", "requests_per_second_per_address", "burst_per_address", "requests_per_second_per_subject", "burst_per_subject", "token_failures_per_second", "burst_token_failures"}},
		{Path: "buckets[].limits", Keys: []string{"max_in_flight", "requests_per_second", "burst", "requests_per_second_per_address", "burst_per_address", "requests_per_second_per_subject", "burst_per_subject"}},
		{Path: "metrics", Keys: []string{"enabled", "address", "port"}},
	},
	Forms: map[string]file.Form{
		"host":      file.MustBe(form.IsHost, "is no host", "write an address or a host name alone, such as 127.0.0.1; the port is metrics.port"),
		"host:port": file.MustBe(form.IsListenAddress, "is no host:port", "write such as \"0.0.0.0:8080\", \"127.0.0.1:8080\" or \"[::]:8080\""),
	},
}
