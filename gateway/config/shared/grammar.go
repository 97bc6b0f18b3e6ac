package shared

import (
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// Grammar is what the block cluster may have.
var Grammar = file.Grammar{
	Keys: map[string][]string{
		"cluster":            {"valkey", "namespace", "secret", "previous_secret", "purge", "store", "limits"},
		"cluster.valkey":     {"addresses", "mode", "master_name", "username", "password", "tls"},
		"cluster.valkey.tls": {"enabled", "ca_file"},
		"cluster.purge":      {"within", "wait", "replicas"},
		"cluster.store":      {"enabled", "max_object_size", "max_ttl", "timeout", "write_queue", "admit"},
		"cluster.limits":     {"enabled", "sync"},
	},
	Forms: map[string]file.Form{
		"name of a primary": file.MustBe(primaryForm.MatchString,
			"is no name of a primary", "use letters, digits, '.', '_' and '-', at most 128, as the sentinels have it"),
		"namespace": file.MustBe(namespaceForm.MatchString,
			"is no namespace", "use letters, digits, '_' and '-', at most 64"),
		"user at Valkey": file.MustBe(func(s string) bool { return !strings.Contains(s, " ") && !strings.ContainsFunc(s, form.IsControl) },
			"has characters that no user of Valkey has", "remove spaces and control characters"),
	},
}
