package access

import (
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// Grammar is what the blocks jwt and auth may have. The jwt of a bucket has the keys of the
// global one, and the claims of a rule have those of jwt.claims.
var Grammar = file.Grammar{
	Blocks: []file.Block{
		{Path: "buckets[].auth", Keys: []string{"enabled", "jwt", "rules"}},
		{Path: "buckets[].auth.rules[]", Keys: []string{"path", "enabled", "claims", "claims_verification"}},
		{Path: "jwt", Keys: []string{"enabled", "secret", "algorithm", "public_key_file", "jwks_url", "jwks_file", "issuer_url", "jwks_optional", "jwks_max_age", "ca_file", "introspection", "keys", "token_sources", "issuer", "audience", "typ", "leeway", "require_exp", "claims", "claims_verification"}},
		{Path: "jwt.introspection", Keys: []string{"url", "client_id", "client_secret", "auth", "ca_file", "timeout", "cache", "negative_cache", "max_in_flight"}},
		{Path: "jwt.keys[]", Keys: []string{"kid", "algorithm", "secret", "public_key_file"}},
		{Path: "jwt.token_sources[]", Keys: []string{"type", "name", "prefix"}},
		{Path: "jwt.claims[]", Keys: []string{"claim", "operator", "value"}},
	},
	Forms: map[string]file.Form{
		"path": form.Path,
		"type of a token": file.MustBe(func(s string) bool { return form.IsVisible(s) && !strings.ContainsAny(s, `"(),:;<=>?@[\]{}`) },
			"is no media type", "write it as the header of the tokens has it, such as at+jwt"),
	},
}
