package config

import "yatagarasu/gateway/config/file"

// grammar is that of the file.
var grammar = file.Grammar{Keys: schema, Forms: forms}

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
	"cluster.store":                       {"enabled", "max_object_size", "max_ttl", "timeout", "write_queue"},
	"cluster.limits":                      {"enabled", "sync"},
	"logging":                             {"level", "format", "output", "slow", "sample", "audit"},
	"logging.audit":                       {"enabled", "output"},
	"metrics":                             {"enabled", "address", "port"},
	"admin":                               {"token"},
}
