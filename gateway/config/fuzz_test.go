package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"yatagarasu/gateway/config/file"
)

// planted is a secret in the file and the environment, which no message may contain.
const planted = "pL4nt3d/+s3cr3t=K7MDENG"

// FuzzParse looks for files that panic, or whose messages show a secret.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yml", "testdata/seed/*.yaml", "../../config.example.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
	f.Add("buckets:\n  - name: a\n    s3: { secret_key: " + planted + ", access_key: a\n")
	f.Add("jwt:\n  secret: \"" + planted + "\n  keys: [{ secret: " + planted + " }]\n")
	f.Add("admin:\n  token: ${PLANTED}\n  " + planted + ": x\n")
	f.Fuzz(func(t *testing.T, s string) {
		// Files are named by the file itself and must not be the fuzzer's choice.
		if strings.Contains(s, "_file") || strings.Contains(s, "_path:") || strings.Contains(strings.ReplaceAll(s, "page: testdata/maintenance.html", ""), "page") {
			return
		}
		// A path is not secret and is shown; so is a variable's name.
		c, err := Parse("f.yaml", []byte(s), func(name string) (string, bool) {
			if strings.Contains(name, "NONE") {
				return "", false
			}
			return planted, true
		})
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v, %v", c, err)
		}
		if err == nil {
			if len(c.Buckets) == 0 {
				t.Error("accepted without buckets")
			}
			for _, b := range c.Buckets {
				if b.Name == "" || !strings.HasPrefix(b.PathPrefix, "/") || b.S3.Bucket == "" || b.S3.SecretKey.Empty() || b.Auth.Enabled != (b.Auth.JWT != nil) {
					t.Errorf("accepted an incomplete bucket: %+v", b)
				}
			}
			return
		}
		var errs file.Errors
		if !errors.As(err, &errs) || len(errs) == 0 {
			t.Fatalf("got %T", err)
		}
		if strings.Contains(err.Error(), planted) {
			t.Errorf("the secret is in:\n%v", err)
		}
		for i, e := range errs {
			if e.Problem == "" || e.Fix == "" || strings.ContainsAny(e.Error(), "\n\r") {
				t.Errorf("malformed message %q", e)
			}
			if i > 0 && e.Line < errs[i-1].Line {
				t.Errorf("not sorted:\n%v", err)
			}
		}
	})
}
