package upstream

import (
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// Grammar is what the block s3 of a bucket may have.
var Grammar = file.Grammar{
	Blocks: []file.Block{
		{Path: "buckets[].s3", Keys: []string{"bucket", "key_prefix", "region", "endpoint", "access_key", "secret_key", "session_token", "addressing", "ca_file", "timeouts", "max_connections", "max_waiting", "allow_query", "empty_segments", "request_payer", "access_denied", "forward_traceparent", "retry", "breaker", "probe_interval", "replicas", "failover_on_404", "hedge", "credentials"}},
		{Path: "buckets[].s3.credentials", Keys: []string{"source", "profile", "file", "role_arn", "session_name", "external_id", "token_file", "endpoint", "duration"}},
		{Path: "buckets[].s3.retry", Keys: []string{"tries", "resumes", "budget"}},
		{Path: "buckets[].s3.breaker", Keys: []string{"enabled", "failure_rate", "consecutive", "cooldown"}},
		{Path: "buckets[].s3.hedge", Keys: []string{"after", "max"}},
		{Path: "buckets[].s3.replicas[]", Keys: []string{"name", "priority", "bucket", "key_prefix", "region", "endpoint", "access_key", "secret_key", "session_token", "addressing", "ca_file", "timeout"}},
		{Path: "buckets[].s3.timeouts", Keys: []string{"dial", "first_byte", "idle"}},
	},
	Forms: map[string]file.Form{
		"access key": file.MustBe(func(s string) bool { return form.IsVisible(s) && !strings.ContainsAny(s, "/,=") },
			"has characters that no access key id has", "use printable ASCII without spaces, '/', ',' and '='"),
		"bucket": func(s string) (_, problem, fix string) {
			problem, fix = bucketNameProblem(s)
			return s, problem, fix
		},
		"endpoint":   func(s string) (_, problem, fix string) { return canonicalEndpoint(s, true) },
		"key prefix": keyPrefix,
		"region": file.MustBe(func(s string) bool { return form.IsName(s, 64) && !strings.Contains(s, ".") },
			"is no region", "use letters, digits, '-' and '_' only, such as us-east-1"),
		"service": func(s string) (_, problem, fix string) { return canonicalEndpoint(s, false) },
	},
}
