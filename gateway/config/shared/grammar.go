package shared

import (
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// Grammar is what the block cluster may have.
var Grammar = file.Grammar{
	Blocks: []file.Block{
		{Path: "cluster", Keys: []string{"valkey", "namespace", "secret", "previous_secret", "purge", "store", "limits"}},
		{Path: "cluster.valkey", Keys: []string{"addresses", "mode", "master_name", "username", "password", "tls"}},
		{Path: "cluster.valkey.tls", Keys: []string{"enabled", "ca_file"}},
		{Path: "cluster.purge", Keys: []string{"within", "wait", "replicas"}},
		{Path: "cluster.store", Keys: []string{"enabled", "max_object_size", "max_ttl", "timeout", "write_queue", "admit"}},
		{Path: "cluster.limits", Keys: []string{"enabled", "sync"}},
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
