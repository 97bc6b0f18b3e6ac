package keys

import (
	"net/http"
	"os"
	"os/exec"
	"testing"
)

// TestProxy has the environment name a proxy for everything: what is http goes past it, by whatever
// name of this machine. net/http reads the environment once, so that it has to be another process's.
func TestProxy(t *testing.T) {
	const child = "YATAGARASU_TEST_PROXIES"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProxy$")
		cmd.Env = append(os.Environ(), child+"=1", "HTTP_PROXY=http://proxy.test:3128", "HTTPS_PROXY=http://proxy.test:3128", "NO_PROXY=", "no_proxy=", "http_proxy=", "https_proxy=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	for url, want := range map[string]bool{"https://issuer.example.com/": true, "http://localhost./": false, "http://LOCALHOST:1/": false, "http://127.0.0.1/": false} {
		r, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := Proxy(r); err != nil || (p != nil) != want {
			t.Errorf("%s: %v, %v", url, p, err)
		}
	}
}
