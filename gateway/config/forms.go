package config

import (
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// forms are the forms of texts that the tags of fields name.
var forms = map[string]file.Form{
	"access key": file.MustBe(func(s string) bool { return form.IsVisible(s) && !strings.ContainsAny(s, "/,=") },
		"has characters that no access key id has", "use printable ASCII without spaces, '/', ',' and '='"),
	"bucket": func(s string) (_, problem, fix string) {
		problem, fix = bucketNameProblem(s)
		return s, problem, fix
	},
	"endpoint":  func(s string) (_, problem, fix string) { return canonicalEndpoint(s, true) },
	"host":      file.MustBe(form.IsHost, "is no host", "write an address or a host name alone, such as 127.0.0.1; the port is metrics.port"),
	"host:port": file.MustBe(form.IsListenAddress, "is no host:port", "write such as \"0.0.0.0:8080\", \"127.0.0.1:8080\" or \"[::]:8080\""),
	"name of a bucket": file.MustBe(func(s string) bool { return form.IsName(s, 128) },
		"is no name", "use letters, digits, '.', '_' and '-', at most 128, a letter or digit first"),
	"key prefix": keyPrefix,
	"name of a primary": file.MustBe(primaryForm.MatchString,
		"is no name of a primary", "use letters, digits, '.', '_' and '-', at most 128, as the sentinels have it"),
	"namespace": file.MustBe(namespaceForm.MatchString,
		"is no namespace", "use letters, digits, '_' and '-', at most 64"),
	"object key":  objectKey,
	"object name": objectName,
	"path":        form.Path,
	"region": file.MustBe(func(s string) bool { return form.IsName(s, 64) && !strings.Contains(s, ".") },
		"is no region", "use letters, digits, '-' and '_' only, such as us-east-1"),
	"type of a token": file.MustBe(func(s string) bool { return form.IsVisible(s) && !strings.ContainsAny(s, `"(),:;<=>?@[\]{}`) },
		"is no media type", "write it as the header of the tokens has it, such as at+jwt"),
	"service": func(s string) (_, problem, fix string) { return canonicalEndpoint(s, false) },
	"user at Valkey": file.MustBe(func(s string) bool { return !strings.Contains(s, " ") && !strings.ContainsFunc(s, form.IsControl) },
		"has characters that no user of Valkey has", "remove spaces and control characters"),
}
