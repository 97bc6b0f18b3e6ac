package config

import (
	"strings"
	"testing"
)

// nameFile returns a file whose bucket's name is the YAML scalar s.
func nameFile(s string) string {
	return "buckets:\n  - path_prefix: /a\n    s3: { bucket: bbb, region: r, access_key: id, secret_key: s }\n    name: " + s + "\n"
}

func TestSubstitution(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unquoted", "${WORD}", "hunter2"},
		{"quoted", `"${WORD}"`, "hunter2"},
		{"single quotes", `'${WORD}'`, "hunter2"},
		{"inside text", "a-${WORD}-${COUNT}", "a-hunter2-12"},
		{"default for unset", "${NONE:-b}", "b"},
		{"default for empty", "${EMPTY:-b}", "b"},
		{"default not needed", "${WORD:-b}", "hunter2"},
		{"default with dashes", "a${NONE:--x-}", "a-x-"},
		{"empty inside text", "a${EMPTY}b", "ab"},
		{"dollar alone", "a", "a"},
	} {
		got, err := parseString(nameFile(c.yaml))
		if err != nil || got.Buckets[0].Name != c.want {
			t.Errorf("%s: got %+v, %v; want %s", c.name, got, err, c.want)
		}
	}
	c, err := parseString(strings.Replace(nameFile("a"), "secret_key: s", `secret_key: "$$x$${WORD}$${COUNT}$ {WORD}$WORD$"`, 1))
	if want := "$$x${WORD}${COUNT}$ {WORD}$WORD$"; err != nil || c.Buckets[0].S3.SecretKey.Reveal() != want {
		t.Errorf("literals: got %v, %v", c, err)
	}
	c, err = parseString("# ${NOT_SET}\n" + nameFile("a # ${NOT_SET}"))
	if err != nil || c.Buckets[0].Name != "a" {
		t.Errorf("comments: got %v, %v", c, err)
	}
	wantError(t, nameFile("a")+"    ${WORD}: x\n", "buckets[0].?: unknown key")
	wantError(t, nameFile("${}"), "a variable reference is malformed")
	wantError(t, nameFile("${A B}"), "a variable reference is malformed")
	wantError(t, nameFile("${bucket}"), "the variable bucket is not set")
	wantError(t, nameFile("${A"), "a variable has no closing brace")
	wantError(t, nameFile("a\nmetrics: { enabled: true, port: \"9090\" }"), "metrics.port: must be a number, not a string")
}

func TestLogging(t *testing.T) {
	for text, want := range map[string]string{
		"sample: 1.5":             "logging.sample: is no number from 0 to 1",
		"sample: -1":              "logging.sample: is no number from 0 to 1",
		"sample: 1e-1":            "logging.sample: must be a number",
		"sample: all":             "logging.sample: must be a number",
		"slow: fast":              "logging.slow:",
		"audit: {enabled: true}":  "logging.audit.output: is missing",
		"audit: {output: stdout}": "logging.audit: has no effect without the key enabled",
	} {
		wantError(t, "logging: {"+text+"}\n"+nameFile("a"), want)
	}
}
