package gateway

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"yatagarasu/gateway/inspect"
)

func TestTokenCommand(t *testing.T) {
	_, keyFile, _ := rsaKey(t, 2048)
	origin := startOrigin(t, serveText("hello"))
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := "server: {ready: config}\nbuckets:\n" + bucketYAML("pub", "/pub", origin.URL) +
		privateYAML("files", "/files", origin.URL, "issuer: me", `claims: [{claim: role, operator: equals, value: admin}, {claim: level, operator: gte, value: 3}, {claim: tags, operator: contains, value: "a b"}]`)
	single := write("one.yaml", one)
	several := write("several.yaml", one+protectedYAML("rs", "/rs", origin.URL, "public_key_file: "+keyFile, "algorithm: RS256"))
	public := write("public.yaml", oneBucket("/pub", origin.URL))
	gw := startGateway(t, one)

	enough := []string{"-claim", "role=admin", "-claim", "level=3", "-claim", `tags=["a b", "c"]`}
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		stderr string
		status int // with the token; 0: there is none
	}{
		{"the only private bucket", append([]string{"-config", single}, enough...), 0, `note: iss is "me"`, 200},
		{"named", append([]string{"-config", several, "-bucket", "files", "-exp", "5m"}, enough...), 0, "", 200},
		{"a string that is no JSON", []string{"-config", single, "-claim", "role=admin", "-claim", "level=3", "-claim", "tags=x a b"}, 0, "", 200},
		{"a number as a string", []string{"-config", single, "-claim", "role=admin", "-claim", `level="3"`, "-claim", "tags=a b"}, 0, "level gte 3; add -claim level=VALUE", 403},
		{"too few claims", []string{"-config", single}, 0, "note: a claim rule will refuse it: role equals \"admin\"", 403},
		{"expired", append([]string{"-config", single, "-exp", "-1h"}, enough...), 0, "has expired", 403},
		{"which bucket", []string{"-config", several}, 1, "-bucket is required: the private buckets are files, rs", 0},
		{"no such bucket", []string{"-config", several, "-bucket", "nope"}, 1, `no bucket "nope"; the private buckets are files, rs`, 0},
		{"public bucket", []string{"-config", several, "-bucket", "pub"}, 1, `"pub" is public`, 0},
		{"no private bucket", []string{"-config", public}, 1, "no bucket of the file is private", 0},
		{"public key", []string{"-config", several, "-bucket", "rs"}, 1, "no key of the bucket is a secret", 0},
		{"no file", []string{"-config", "/no/such/file"}, 1, "cannot read the file", 0},
		{"no configuration", nil, 2, "-config is required", 0},
		{"stray argument", []string{"-config", single, "role=admin"}, 2, `unexpected argument "role=admin"`, 0},
		{"claim without value", []string{"-config", single, "-claim", "role"}, 2, "write name=value", 0},
		{"claim twice", []string{"-config", single, "-claim", "a=1", "-claim", "a=2"}, 2, "given twice", 0},
		{"exp as a claim", []string{"-config", single, "-claim", "exp=1"}, 2, "set by -exp", 0},
		{"help", []string{"-help"}, 0, "-claim name=value", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			code := inspect.Token(c.args, &stdout, &stderr)
			if code != c.code || !strings.Contains(stderr.String(), c.stderr) {
				t.Fatalf("exit %d, want %d; stderr: %s", code, c.code, stderr.String())
			}
			if strings.Contains(stderr.String(), tokenSecret) {
				t.Error("the secret is printed")
			}
			token := strings.TrimSuffix(stdout.String(), "\n")
			if c.status == 0 {
				if token != "" {
					t.Errorf("stdout: %q", token)
				}
				return
			}
			if strings.ContainsAny(token, " \n") || strings.Count(token, ".") != 2 {
				t.Fatalf("stdout holds more than a token: %q", token)
			}
			if r, body := gw.do("GET", "/files/x", "Authorization: Bearer "+token); r.StatusCode != c.status {
				t.Errorf("status %d, want %d: %s", r.StatusCode, c.status, body)
			}
		})
	}
	gw.log.waitFor(t, `"sub":"dev"`)
}

// TestTokenOfNoIssuer mints a token where an issuer judges all of them, and does not know it.
func TestTokenOfNoIssuer(t *testing.T) {
	idp := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"active":false}`)
	})
	yaml := "server: {ready: config}\nbuckets:\n" + privateYAML("files", "/files", startOrigin(t, serveText("hello")).URL, introspectionYAML("url: "+idp.URL+"/introspect?secret"))
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	if code := inspect.Token([]string{"-config", path}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	if note := "note: the gateway will refuse it: jwt.introspection has each token judged by " + idp.URL + "/introspect, which has not issued this one\n"; stderr.String() != note {
		t.Errorf("it says %q", stderr.String())
	}
	if len(idp.seen()) > 0 {
		t.Error("the issuer was asked")
	}
	gw := startGateway(t, yaml)
	if r, _ := gw.do("GET", "/files/x", "Authorization: Bearer "+strings.TrimSpace(stdout.String())); r.StatusCode != 403 {
		t.Errorf("status %d", r.StatusCode)
	}
}
