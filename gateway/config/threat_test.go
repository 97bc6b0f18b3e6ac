package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const threatBucket = `
buckets:
  - name: a
    path_prefix: /a
    s3: { bucket: bbb, region: us-east-1, access_key: id, secret_key: "%s" }
    auth:
      enabled: true
      jwt: { secret: "%s", algorithm: %s }
`

// wantError parses s and checks that exactly the wanted messages come, without
// the place, and quickly.
func wantError(t *testing.T, s string, want ...string) {
	t.Helper()
	start := time.Now()
	c, err := parseString(s)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if err == nil {
		t.Fatalf("accepted: %+v", c)
	}
	checkNoSecret(t, err.Error())
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("got %d mistakes, want %d:\n%v", len(lines), len(want), err)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, "test.yaml:") || !strings.Contains(line, want[i]) {
			t.Errorf("got %q, want %q in it", line, want[i])
		}
	}
}

func TestThreat(t *testing.T) {
	const good = "0123456789abcdef0123456789abcdef"
	t.Run("T48_unknown_algorithm_fails", func(t *testing.T) {
		for _, name := range []string{"none", "None", "HS257", "hs256", "RS1", "ES256K", "A128KW"} {
			wantError(t, fmt.Sprintf(threatBucket, "s", good, name), "jwt.algorithm: unknown algorithm")
		}
	})
	t.Run("T48_short_secret_fails", func(t *testing.T) {
		for name, size := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
			wantError(t, fmt.Sprintf(threatBucket, "s", strings.Repeat("x", size-1), name), "jwt.secret: the secret is shorter than")
			if _, err := parseString(fmt.Sprintf(threatBucket, "s", strings.Repeat("x", size), name)); err != nil {
				t.Errorf("%s with %d bytes: %v", name, size, err)
			}
		}
	})
	t.Run("T48_small_RSA_key_fails", func(t *testing.T) {
		file := writeFile(t, "small.pem", publicPEM(t, rsaKey(t, 1024).Public()))
		wantError(t, jwtBucket("public_key_file: "+file+", algorithm: RS256"), "holds an RSA key of fewer than 2048 bits")
	})
	t.Run("T72_unset_variable_is_named", func(t *testing.T) {
		wantError(t, fmt.Sprintf(threatBucket, "${NOT_SET}", good, "HS256"), "s3.secret_key: the variable NOT_SET is not set")
		wantError(t, fmt.Sprintf(threatBucket, "s", "${SECRET}${NOT_SET}", "HS256"), "jwt.secret: the variable NOT_SET is not set")
	})
	t.Run("T72_empty_secret_is_named", func(t *testing.T) {
		wantError(t, fmt.Sprintf(threatBucket, "${EMPTY}", good, "HS256"), "s3.secret_key: is empty after substitution of its variables; set EMPTY")
		wantError(t, fmt.Sprintf(threatBucket, "", good, "HS256"), "s3.secret_key: is empty;")
		wantError(t, fmt.Sprintf(threatBucket, "${EMPTY:-}", good, "HS256"), "s3.secret_key: is empty after substitution of its variables; set EMPTY")
	})
	t.Run("T73_bad_YAML_next_to_a_secret", func(t *testing.T) {
		const secret = "wJalrXUtnFEMI/K7MDENG"
		for _, tail := range []string{
			"\"unterminated", ": x", "\n     x: [", "\n  - ]", "\n\tx: y", " &", "\n  @x", "\n---\na: b\n", "\"\\q" + secret,
			"\n? - a\n  - " + secret + "\n", " !" + secret + " x", "\n%" + secret, "\n    " + secret + ": " + secret, "\n|" + secret, " >" + secret, " |" + secret + "\n x",
			"\n  *" + secret, "\n  <<: *" + secret, "\n  \"" + secret + "\" : 1", "\n  '" + secret,
		} {
			_, err := parseString("buckets:\n  - s3:\n      secret_key: " + secret + tail)
			if err == nil {
				t.Errorf("%q accepted", tail)
				continue
			}
			if !strings.HasPrefix(err.Error(), "test.yaml:") {
				t.Errorf("no position: %v", err)
			}
			checkNoSecret(t, err.Error())
		}
	})
	t.Run("T73_YAML_bomb_is_refused_quickly", func(t *testing.T) {
		var bomb strings.Builder
		bomb.WriteString("a: &a0 [x, x, x, x, x, x, x, x, x]\n")
		for i := range 12 {
			fmt.Fprintf(&bomb, "b%d: &a%d [%s]\n", i, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9))
		}
		var keys strings.Builder
		for i := range 60_000 {
			fmt.Fprintf(&keys, "key%d: x\n", i)
		}
		var merges, names strings.Builder
		for i := range 30_000 {
			fmt.Fprintf(&merges, "{k%d: x},", i)
			fmt.Fprintf(&names, "&a%d x%d,\n ", i, i)
		}
		for name, c := range map[string]struct{ yaml, want string }{
			"flow keys":        {"a: {" + strings.ReplaceAll(keys.String(), "\n", ", ") + "}", "too many keys"},
			"merged keys":      {"a: {<<: [" + merges.String() + "]}", "too many keys"},
			"many anchors":     {"a: [" + names.String() + "]", "a: unknown key"},
			"equal sources":    {"jwt: {token_sources: [" + strings.Repeat("{type: bearer}, ", 50_000) + "]}", "is the same source"},
			"unknown keys":     {"buckets: [" + strings.Repeat("{zz: 1}, ", 50_000) + "]", "zz: unknown key"},
			"aliases":          {bomb.String(), "aliases make the file too large"},
			"brackets":         {"a: " + strings.Repeat("[", 1<<19), "nested too deeply"},
			"closed brackets":  {"a: " + strings.Repeat("[", 1000) + strings.Repeat("]", 1000), "nested too deeply"},
			"dashes":           {strings.Repeat("- ", 1<<18), "nested too deeply"},
			"questions":        {strings.Repeat("? ", 1<<18), "nested too deeply"},
			"colons":           {strings.Repeat("a: ", 1<<18), "nested too deeply"},
			"anchors":          {"a: " + strings.Repeat("&a ", 1<<18), "nested too deeply"},
			"indentation":      {deep(40), "nested too deeply"},
			"keys":             {keys.String(), "too many keys"},
			"size":             {strings.Repeat("#", 1<<20+1), "larger than 1 MiB"},
			"size as a string": {"a: \"" + strings.Repeat("x", 1<<20) + "\"", "larger than 1 MiB"},
		} {
			start := time.Now()
			_, err := parseString(c.yaml)
			// A file that is not refused early takes hours; seconds are the machine's.
			if took := time.Since(start); took > time.Minute {
				t.Errorf("%s: took %v", name, took)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %.300v, want %s", name, err, c.want)
			}
		}
	})
	t.Run("T74_duplicate_prefix", func(t *testing.T) {
		two := func(first, second string) string {
			const s3 = "s3: { bucket: bbb, region: r, access_key: a, secret_key: s } }\n"
			return "buckets:\n  - { name: a, " + first + ", " + s3 + "  - { name: b, " + second + ", " + s3
		}
		wantError(t, two("path_prefix: /a", "path_prefix: /a/"), "buckets[1].path_prefix: is the prefix of buckets[0] in line 2 too")
		wantError(t, two("path_prefix: /, hosts: [h]", "hosts: [x, H.]"), "buckets[1].hosts: is the prefix of buckets[0]")
		wantError(t, two("path_prefix: /a, hosts: ['::1']", "path_prefix: /a, hosts: ['0::1']"), "buckets[1].path_prefix: is the prefix of buckets[0]")
		for _, other := range []string{"path_prefix: /A", "path_prefix: /a/b", "path_prefix: /ab", "path_prefix: /a, hosts: [h]"} {
			if _, err := parseString(two("path_prefix: /a", other)); err != nil {
				t.Errorf("%s: %v", other, err)
			}
		}
	})
	t.Run("T74_duplicate_name", func(t *testing.T) {
		const s3 = "s3: { bucket: bbb, region: r, access_key: a, secret_key: s } }\n"
		wantError(t, "buckets:\n  - { name: a, path_prefix: /a, "+s3+"  - { name: a, path_prefix: /b, "+s3, "buckets[1].name: is the name of buckets[0] in line 2 too")
	})
	t.Run("T74_unknown_field", func(t *testing.T) {
		for _, b := range grammar.Blocks {
			block := b.Path
			if block == "jwt.keys[]" || block == "buckets[].auth.rules[]" {
				continue
			}
			t.Run(block, func(t *testing.T) {
				_, err := parseString(unknownIn(block))
				if err == nil || !strings.Contains(err.Error(), "zzzzzz: unknown key; use one of: ") {
					t.Errorf("got %v", err)
				}
			})
		}
	})
}

// unknownIn returns a file with an unknown key in block.
func unknownIn(block string) string {
	s := "{ zzzzzz: 1 }"
	if block == "" {
		return s
	}
	parts := strings.Split(block, ".")
	for i := len(parts) - 1; i >= 0; i-- {
		name, list := strings.CutSuffix(parts[i], "[]")
		if list {
			s = "[" + s + "]"
		}
		s = "{ " + name + ": " + s + " }"
	}
	return s
}

// deep returns block mappings nested n levels deep.
func deep(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	b.WriteString(strings.Repeat(" ", n) + "b: c\n")
	return b.String()
}

func TestManyBucketsLoadQuickly(t *testing.T) {
	var b strings.Builder
	b.WriteString("buckets:\n")
	const n = 5000
	for i := range n {
		fmt.Fprintf(&b, "  - name: b%d\n    path_prefix: /p%d\n    s3: { bucket: b-%d, region: r, access_key: a, secret_key: s, endpoint: \"http://h\" }\n", i, i, i)
	}
	start := time.Now()
	c, err := parseString(b.String())
	if err != nil || len(c.Buckets) != n {
		t.Fatalf("%.500v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	t.Logf("%d buckets, %d bytes: %v", n, b.Len(), time.Since(start))
}
