package site

import "yatagarasu/gateway/config/file"

// Grammar is what the blocks of a bucket that make it a site may have.
var Grammar = file.Grammar{
	Keys: map[string][]string{
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
	},
	Forms: map[string]file.Form{
		"object key":  objectKey,
		"object name": objectName,
	},
}
