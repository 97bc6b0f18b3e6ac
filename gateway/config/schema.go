package config

import "strings"

// schema lists the keys of every block, in the order in which they are
// documented. Nothing writes to it. The block of a list's items ends in "[]".
var schema = map[string][]string{
	"":                                    {"server", "buckets", "jwt", "cache", "cluster", "logging", "metrics", "admin"},
	"server":                              {"address", "https", "require_https", "trusted_proxies", "forwarded_header", "proxy_protocol", "ready", "limits", "allow", "deny"},
	"server.https":                        {"enabled", "cert_path", "key_path", "redirect_address"},
	"server.limits":                       {"max_connections", "max_connections_per_address", "max_in_flight", "requests_per_second", "burst", "requests_per_second_per_address", "burst_per_address", "requests_per_second_per_subject", "burst_per_subject", "token_failures_per_second", "burst_token_failures"},
	"buckets[]":                           {"name", "path_prefix", "hosts", "s3", "auth", "cors", "content_types", "headers", "listing", "compress", "website", "download_query", "maintenance", "cache", "limits", "allow", "deny"},
	"buckets[].s3":                        {"bucket", "key_prefix", "region", "endpoint", "access_key", "secret_key", "session_token", "addressing", "ca_file", "timeouts", "max_connections", "max_waiting", "allow_query", "empty_segments", "request_payer", "access_denied", "forward_traceparent", "retry", "breaker", "probe_interval", "replicas", "failover_on_404", "hedge", "credentials"},
	"buckets[].s3.credentials":            {"source", "profile", "file", "role_arn", "session_name", "external_id", "token_file", "endpoint", "duration"},
	"buckets[].s3.retry":                  {"tries", "resumes", "budget"},
	"buckets[].s3.breaker":                {"enabled", "failure_rate", "consecutive", "cooldown"},
	"buckets[].s3.hedge":                  {"after", "max"},
	"buckets[].s3.replicas[]":             {"name", "priority", "bucket", "key_prefix", "region", "endpoint", "access_key", "secret_key", "session_token", "addressing", "ca_file", "timeout"},
	"buckets[].s3.timeouts":               {"dial", "first_byte", "idle"},
	"buckets[].auth":                      {"enabled", "jwt", "rules"},
	"buckets[].auth.rules[]":              {"path", "enabled", "claims", "claims_verification"},
	"buckets[].cors":                      {"origins", "credentials", "headers", "expose", "max_age", "private_network"},
	"buckets[].listing":                   {"enabled", "paths", "formats", "page_size", "hide"},
	"buckets[].content_types":             {"guess", "map"},
	"buckets[].headers[]":                 {"match", "set", "remove", "when"},
	"buckets[].headers[].match":           {"path", "content_type"},
	"buckets[].compress":                  {"enabled", "encodings", "precompressed", "min_size", "types"},
	"buckets[].website":                   {"index", "trailing_slash", "clean_urls", "spa", "error_documents", "object_redirects", "redirects", "files"},
	"buckets[].website.spa":               {"fallback", "assets"},
	"buckets[].website.error_documents[]": {"status", "key"},
	"buckets[].website.redirects[]":       {"from", "to", "status"},
	"buckets[].maintenance":               {"enabled", "page", "retry_after", "allow"},
	"buckets[].limits":                    {"max_in_flight", "requests_per_second", "burst", "requests_per_second_per_address", "burst_per_address", "requests_per_second_per_subject", "burst_per_subject"},
	"jwt":                                 {"enabled", "secret", "algorithm", "public_key_file", "jwks_url", "jwks_file", "jwks_optional", "jwks_max_age", "ca_file", "keys", "token_sources", "issuer", "audience", "typ", "leeway", "require_exp", "claims", "claims_verification"},
	"jwt.keys[]":                          {"kid", "algorithm", "secret", "public_key_file"},
	"jwt.token_sources[]":                 {"type", "name", "prefix"},
	"jwt.claims[]":                        {"claim", "operator", "value"},
	"cache":                               {"enabled", "ttl", "max_ttl", "max_size", "max_object_size", "stale_while_revalidate", "stale_if_error", "negative_ttl", "policy", "client_directives", "ignore", "fill_on_range", "shared"},
	"cluster":                             {"valkey", "namespace", "secret", "previous_secret", "purge", "store", "limits"},
	"cluster.valkey":                      {"addresses", "mode", "master_name", "username", "password", "tls"},
	"cluster.valkey.tls":                  {"enabled", "ca_file"},
	"cluster.purge":                       {"within", "wait", "replicas"},
	"cluster.store":                       {"enabled", "max_object_size", "max_ttl", "timeout", "write_queue", "admit"},
	"cluster.limits":                      {"enabled", "sync"},
	"logging":                             {"level", "format", "output", "slow", "sample", "audit"},
	"logging.audit":                       {"enabled", "output"},
	"metrics":                             {"enabled", "address", "port"},
	"admin":                               {"token"},
}

// printable returns key for use in a message: a mistyped key is worth showing,
// but a line out of place can make a key of a secret.
func printable(key string) string {
	if keyForm.MatchString(key) {
		return key
	}
	return "?"
}

// closest returns the known key of which key is most likely a misspelling, "" if of none.
func closest(key string, known []string) string {
	best, distance := "", 1+len(key)/4
	for _, k := range known {
		if len(key) >= 4 && strings.HasPrefix(k, strings.ToLower(key)+"_") {
			return k
		}
		if d := editDistance(strings.ToLower(key), k); d <= distance && (best == "" || d < distance) {
			best, distance = k, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, substitutions and swaps of
// neighbours between a and b (optimal string alignment).
func editDistance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	var before, last, row [66]int
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
