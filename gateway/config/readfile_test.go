package config

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFileAdvice has the advice for each cause of an unreadable file.
func TestFileAdvice(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := os.Symlink("circle", at("circle")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, says string }{
		{"absent", at("absent"), "no such file or directory; check the path"},
		{"in a file", at("file/ca.pem"), "not a directory; check the path: one of its folders is a file"},
		{"a folder", dir, "is a folder; name the file in it"},
		{"a pipe", at("pipe"), "is a pipe; name a regular file"},
		{"a socket", at("socket"), "is a socket; name a regular file"},
		{"a device", "/dev/null", "is a device; name a regular file"},
		{"a circle", at("circle"), "check the symbolic links"},
		{"a long name", "/" + strings.Repeat("x", 300), "write a path"},
		{"no certificate", at("file"), "holds no certificate; name a PEM file"},
	} {
		for key, yaml := range map[string]string{
			"s3.ca_file":  "buckets: [{ name: a, path_prefix: /a, s3: { bucket: bbb, region: r, access_key: a, secret_key: s, ca_file: %q } }]\n",
			"jwt.ca_file": jwtBucket("jwks_url: https://issuer.example/keys, ca_file: %q"),
		} {
			if _, err := parseString(fmt.Sprintf(yaml, c.path)); err == nil || !strings.Contains(err.Error(), key+": ") || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want %s", c.name, err, c.says)
			}
		}
	}
}
