package site

import "yatagarasu/gateway/config/file"

// Grammar is what the blocks of a bucket that make it a site may have.
var Grammar = file.Grammar{
	Blocks: []file.Block{
		{Path: "buckets[].cors", Keys: []string{"origins", "credentials", "headers", "expose", "max_age", "private_network"}},
		{Path: "buckets[].listing", Keys: []string{"enabled", "paths", "formats", "page_size", "hide"}},
		{Path: "buckets[].content_types", Keys: []string{"guess", "map"}},
		{Path: "buckets[].headers[]", Keys: []string{"match", "set", "remove", "when"}},
		{Path: "buckets[].headers[].match", Keys: []string{"path", "content_type"}},
		{Path: "buckets[].compress", Keys: []string{"enabled", "encodings", "precompressed", "min_size", "types"}},
		{Path: "buckets[].website", Keys: []string{"index", "trailing_slash", "clean_urls", "spa", "error_documents", "object_redirects", "redirects", "files"}},
		{Path: "buckets[].website.spa", Keys: []string{"fallback", "assets"}},
		{Path: "buckets[].website.error_documents[]", Keys: []string{"status", "key"}},
		{Path: "buckets[].website.redirects[]", Keys: []string{"from", "to", "status"}},
		{Path: "buckets[].maintenance", Keys: []string{"enabled", "page", "retry_after", "allow"}},
	},
	Forms: map[string]file.Form{
		"object key":  objectKey,
		"object name": objectName,
	},
}
