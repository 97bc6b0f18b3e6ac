package config

import (
	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/config/shared"
	"yatagarasu/gateway/config/site"
	"yatagarasu/gateway/config/upstream"
)

// grammar is that of the whole file.
var grammar = file.Join(upstream.Grammar, shared.Grammar, access.Grammar, site.Grammar, frontend.Grammar, file.Grammar{
	Blocks: []file.Block{
		{Path: "", Keys: []string{"server", "buckets", "jwt", "cache", "cluster", "logging", "metrics", "admin"}},
		{Path: "buckets[]", Keys: []string{"name", "path_prefix", "hosts", "s3", "auth", "cors", "content_types", "headers", "listing", "compress", "website", "download_query", "maintenance", "cache", "limits", "allow", "deny"}},
		{Path: "cache", Keys: []string{"enabled", "ttl", "max_ttl", "max_size", "max_object_size", "stale_while_revalidate", "stale_if_error", "negative_ttl", "policy", "client_directives", "ignore", "fill_on_range", "shared"}},
		{Path: "logging", Keys: []string{"level", "format", "output", "slow", "sample", "audit"}},
		{Path: "logging.audit", Keys: []string{"enabled", "output"}},
		{Path: "admin", Keys: []string{"token"}},
	},
	Forms: map[string]file.Form{
		"name of a bucket": file.MustBe(func(s string) bool { return form.IsName(s, 128) },
			"is no name", "use letters, digits, '.', '_' and '-', at most 128, a letter or digit first"),
		"path": form.Path,
	},
})
