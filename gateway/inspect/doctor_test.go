package inspect

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/http/httpproxy"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/credentials"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/pool"
)

// TestDoctorAdvice has an advice for each cause of what the doctor finds under one name.
func TestDoctorAdvice(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		fix  string
	}{
		{"authority", x509.UnknownAuthorityError{}, "set s3.ca_file"},
		{"name", x509.HostnameError{Host: "h", Certificate: new(x509.Certificate)}, "write the name that is in the origin's certificate"},
		{"expired", x509.CertificateInvalidError{Reason: x509.Expired, Cert: new(x509.Certificate)}, "have the origin's certificate renewed"},
		{"plain HTTP", tls.RecordHeaderError{Msg: "no TLS"}, "write http:// into s3.endpoint"},
		{"refused", tls.AlertError(40), "the origin refuses the handshake"},
		{"silence", os.ErrDeadlineExceeded, "what is silent at the port"},
		{"another", errors.New("another"), "set s3.ca_file to the authority of the origin's certificate, or write"},
	} {
		if got := tlsFix(fmt.Errorf("handshake: %w", c.err)); !strings.Contains(got, c.fix) {
			t.Errorf("%s: %s, want %s", c.name, got, c.fix)
		}
	}
	known := "buckets:\n  - {name: n, path_prefix: /p, s3: {bucket: b-b, region: us-east-1, access_key: a, secret_key: s, endpoint: %s}}\n"
	unknown := "buckets:\n  - {name: n, path_prefix: /p, s3: {bucket: b-b, region: us-east-1, credentials: {source: environment}, endpoint: %s}}\n"
	for _, c := range []struct{ name, yaml, proxy, reason, fix string }{
		{"key of the file", fmt.Sprintf(known, "http://127.0.0.1:1"), "", "credentials", "check access_key and secret_key"},
		{"key of another source", fmt.Sprintf(unknown, "http://127.0.0.1:1"), "", "credentials", "check the source in s3.credentials"},
		{"name of an endpoint", fmt.Sprintf(known, "http://no-such-host.invalid"), "", "dns", "check the host in s3.endpoint"},
		{"name of AWS", "buckets:\n  - {name: n, path_prefix: /p, s3: {bucket: b-b, region: us-east-9, access_key: a, secret_key: s}}\n", "", "dns", "check s3.region and s3.bucket"},
		{"name of a proxy", fmt.Sprintf(known, "http://origin.invalid"), "http://127.0.0.1:1", "dns", "check the proxy"},
		{"port of a proxy", fmt.Sprintf(known, "http://origin.invalid"), "http://127.0.0.1:1", "connect", "check the proxy"},
		{"port of an endpoint", fmt.Sprintf(known, "http://127.0.0.1:1"), "", "connect", "check the port in s3.endpoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("HTTP_PROXY", c.proxy)
			parsed, err := config.Parse("test.yaml", []byte(c.yaml), func(string) (string, bool) { return "", false })
			if err != nil {
				t.Fatal(err)
			}
			b, err := origin.NewBucket(parsed.Buckets[0].Name, &parsed.Buckets[0].S3, nil, &origin.Shared{Observer: &observe.Observer{Metrics: observe.NewMetrics()}, Buffers: pool.NewBuffers(pool.DefaultBufferSize, 0), Retrieve: credentials.New, Proxies: httpproxy.FromEnvironment().ProxyFunc()}, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			d := &diagnosis{replica: b.Replicas[0]}
			if got := d.fix(finding{reason: c.reason}); !strings.HasPrefix(got, c.fix) {
				t.Errorf("%s, want %s", got, c.fix)
			}
		})
	}
}
