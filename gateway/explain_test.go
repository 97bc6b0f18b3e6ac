package gateway

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	yaml := "buckets:\n" + bucketYAML("assets", "/assets", "https://s3.example.test:9000", "allow_query: [versionId]") +
		strings.Replace(bucketYAML("other", "/assets/inner", "http://[::1]"), "    s3:", "    hosts: [\"other.test\"]\n    s3:", 1)
	g, err := newGateway(NewOptions(), mustConfig(t, yaml))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url    string
		served bool
		want   []string
	}{
		{"/assets/a/b.png", true, []string{"route:     /assets\n", "bucket:    assets\n", `key:       "a/b.png"`, "GET https://s3.example.test:9000/things/a/b.png\n", "dials:     s3.example.test:9000"}},
		{"http://other.test/assets/inner/x", true, []string{"bucket:    other", "GET http://[::1]/things/x\n", "dials:     [::1]:80"}},
		{"HTTPS://any.test:8443/assets/inner/x", true, []string{"bucket:    assets", `"inner/x"`}},
		{"/assets/a%20b%2Fc", true, []string{`"a b/c"`, "/things/a%20b/c"}},
		{"/assets/a?versionId=v1&token=secret", true, []string{"/things/a?versionId=v1\n", "the origin gets versionId=v1;"}},
		{"/assets/a?token=secret", true, []string{"the origin gets nothing;"}},
		{"/assets", false, []string{"403"}},
		{"/assets/../x", false, []string{"400", "'..'"}},
		{"/assets%2Fx", false, []string{"400"}},
		{"/nowhere/x", false, []string{"404", "/assets, /assets/inner"}},
		{"/assets/a?versionId=", false, []string{"400"}},
		{"/health", false, []string{"own /health"}},
		{"/admin/reload", false, []string{"404", "reserved"}},
		{"http://other.test", false, []string{"404"}},
		{"http://other.test?x", false, []string{"404"}},
		{"ftp://other.test/x", false, []string{"400"}},
		{"assets/x", false, []string{"400"}},
	} {
		var out strings.Builder
		if served := g.Explain(&out, c.url); served != c.served {
			t.Errorf("%s: %t\n%s", c.url, served, out.String())
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", c.url, want, out.String())
			}
		}
		if strings.Contains(out.String(), "secret") {
			t.Errorf("%s: a secret is printed:\n%s", c.url, out.String())
		}
	}
}

func TestOriginAddressing(t *testing.T) {
	for _, c := range []struct {
		name, s3                string
		tls                     bool
		address, host, basePath string
	}{
		{"AWS", "bucket: my-bucket, region: eu-central-1", true, "my-bucket.s3.eu-central-1.amazonaws.com:443", "my-bucket.s3.eu-central-1.amazonaws.com", ""},
		{"AWS in China", "bucket: my-bucket, region: cn-north-1", true, "my-bucket.s3.cn-north-1.amazonaws.com.cn:443", "my-bucket.s3.cn-north-1.amazonaws.com.cn", ""},
		{"AWS by path", "bucket: my-bucket, region: us-east-1, addressing: path", true, "s3.us-east-1.amazonaws.com:443", "s3.us-east-1.amazonaws.com", "/my-bucket"},
		{"AWS with a dot in the name", "bucket: my.bucket, region: us-east-1", true, "s3.us-east-1.amazonaws.com:443", "s3.us-east-1.amazonaws.com", "/my.bucket"},
		{"endpoint with port", `bucket: b-1, region: us-east-1, endpoint: "http://minio:9000"`, false, "minio:9000", "minio:9000", "/b-1"},
		{"endpoint without port", `bucket: b-1, region: us-east-1, endpoint: "http://minio"`, false, "minio:80", "minio", "/b-1"},
		{"endpoint over TLS", `bucket: b-1, region: us-east-1, endpoint: "https://minio"`, true, "minio:443", "minio", "/b-1"},
		{"default port written", `bucket: b-1, region: us-east-1, endpoint: "https://minio:443"`, true, "minio:443", "minio", "/b-1"},
		{"the other scheme's port", `bucket: b-1, region: us-east-1, endpoint: "https://minio:80"`, true, "minio:80", "minio:80", "/b-1"},
		{"trailing slash", `bucket: b-1, region: us-east-1, endpoint: "http://minio:9000/"`, false, "minio:9000", "minio:9000", "/b-1"},
		{"IPv6 with port", `bucket: b-1, region: us-east-1, endpoint: "http://[2001:db8::1]:9000"`, false, "[2001:db8::1]:9000", "[2001:db8::1]:9000", "/b-1"},
		{"IPv6 without port", `bucket: b-1, region: us-east-1, endpoint: "http://[2001:db8::1]"`, false, "[2001:db8::1]:80", "[2001:db8::1]", "/b-1"},
		{"virtual host", `bucket: b-1, region: us-east-1, endpoint: "http://minio.test:9000", addressing: virtual`, false, "b-1.minio.test:9000", "b-1.minio.test:9000", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := mustConfig(t, "buckets:\n  - {name: n, path_prefix: /p, s3: {"+c.s3+", access_key: AK, secret_key: secretsecret}}\n")
			o, err := newOrigin(&cfg.Buckets[0].S3)
			if err != nil {
				t.Fatal(err)
			}
			if o.tls != c.tls || o.address != c.address || o.host != c.host || o.basePath != c.basePath {
				t.Errorf("%+v", *o)
			}
		})
	}
}
