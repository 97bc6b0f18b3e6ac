package origin

import (
	"strings"
	"testing"

	"golang.org/x/net/http/httpproxy"

	"yatagarasu/gateway/config/upstream"
)

func TestProxyOfEnvironment(t *testing.T) {
	const plain, secure = "http://s3.example.com:9000", "https://s3.example.com"
	type env = map[string]string
	for _, c := range []struct {
		name     string
		env      env
		endpoint string
		want     string // empty: none
		problem  string
	}{
		{"none", nil, secure, "", ""},
		{"https", env{"HTTPS_PROXY": "http://proxy:3128"}, secure, "http://proxy:3128", ""},
		{"https, AWS", env{"HTTPS_PROXY": "http://proxy:3128"}, "", "http://proxy:3128", ""},
		{"http", env{"HTTP_PROXY": "http://proxy:3128"}, plain, "http://proxy:3128", ""},
		{"in small letters", env{"https_proxy": "http://proxy:3128"}, secure, "http://proxy:3128", ""},
		{"without a scheme", env{"HTTPS_PROXY": "proxy:3128"}, secure, "http://proxy:3128", ""},
		{"with a password", env{"HTTPS_PROXY": "http://user:pass@proxy:3128"}, secure, "http://user:pass@proxy:3128", ""},
		{"the other scheme's, https", env{"HTTP_PROXY": "http://proxy:3128"}, secure, "", ""},
		{"the other scheme's, http", env{"HTTPS_PROXY": "http://proxy:3128"}, plain, "", ""},
		{"not for the host", env{"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "other.test,s3.example.com"}, secure, "", ""},
		{"not for the domain", env{"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".example.com"}, secure, "", ""},
		{"not for the port", env{"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "s3.example.com:9000"}, plain, "", ""},
		{"not for another port", env{"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "s3.example.com:9001"}, plain, "http://proxy:3128", ""},
		{"not for the network", env{"HTTP_PROXY": "http://proxy:3128", "no_proxy": "192.0.2.0/24"}, "http://192.0.2.7:9000", "", ""},
		{"for no host", env{"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, secure, "", ""},
		{"not for loopback", env{"HTTP_PROXY": "http://proxy:3128"}, "http://127.0.0.1:9000", "", ""},
		{"over TLS", env{"HTTPS_PROXY": "https://user:hunter2@proxy:3128"}, secure, "", "cannot use the proxy https://user:xxxxx@proxy:3128"},
		{"SOCKS", env{"HTTPS_PROXY": "socks5://proxy:1080"}, secure, "", "cannot use the proxy socks5://proxy:1080"},
		{"without a host", env{"HTTPS_PROXY": "http://:3128"}, secure, "", "cannot use the proxy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			setProxies(t, c.env)
			o, err := NewAddress(&upstream.S3{Origin: upstream.Origin{Bucket: "things", Region: "us-east-1", Endpoint: c.endpoint, Addressing: "path"}})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			p, err := (&Shared{Proxies: httpproxy.FromEnvironment().ProxyFunc()}).proxyFor(o)
			if p != nil {
				got = p.String()
			}
			if got != c.want || (err != nil) != (c.problem != "") || err != nil && !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%q, %v; want %q, %q", got, err, c.want, c.problem)
			}
		})
	}
}

// setProxies sets the variables that name proxies, and clears the others.
func setProxies(t *testing.T, env map[string]string) {
	t.Helper()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "REQUEST_METHOD"} {
		t.Setenv(name, env[name])
	}
}
