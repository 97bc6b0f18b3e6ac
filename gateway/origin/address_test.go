package origin

import (
	"net"
	"net/url"
	"testing"

	"yatagarasu/gateway/config"
)

func TestOriginAddressing(t *testing.T) {
	for _, c := range []struct {
		name, s3                string
		tls                     bool
		address, host, basePath string
	}{
		{"AWS", "bucket: my-bucket, region: eu-central-1", true, "my-bucket.s3.eu-central-1.amazonaws.com:443", "my-bucket.s3.eu-central-1.amazonaws.com", ""},
		{"AWS in China", "bucket: my-bucket, region: cn-north-1", true, "my-bucket.s3.cn-north-1.amazonaws.com.cn:443", "my-bucket.s3.cn-north-1.amazonaws.com.cn", ""},
		{"AWS in Europe's sovereign cloud", "bucket: my-bucket, region: eusc-de-east-1", true, "my-bucket.s3.eusc-de-east-1.amazonaws.eu:443", "my-bucket.s3.eusc-de-east-1.amazonaws.eu", ""},
		{"AWS in an isolated region", "bucket: my.bucket, region: us-isob-east-1", true, "s3.us-isob-east-1.sc2s.sgov.gov:443", "s3.us-isob-east-1.sc2s.sgov.gov", "/my.bucket"},
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
		{"AWS by an endpoint", `bucket: b-1, region: us-east-1, endpoint: "https://s3.us-east-1.amazonaws.com"`, true, "s3.us-east-1.amazonaws.com:443", "s3.us-east-1.amazonaws.com", "/b-1"},
		{"AWS in another Chinese region by path", "bucket: b-1, region: cn-northwest-1, addressing: path", true, "s3.cn-northwest-1.amazonaws.com.cn:443", "s3.cn-northwest-1.amazonaws.com.cn", "/b-1"},
		{"IPv4", `bucket: b-1, region: us-east-1, endpoint: "http://192.0.2.1:9000"`, false, "192.0.2.1:9000", "192.0.2.1:9000", "/b-1"},
		{"IPv6 with its default port", `bucket: b-1, region: us-east-1, endpoint: "https://[2001:db8::1]:443"`, true, "[2001:db8::1]:443", "[2001:db8::1]", "/b-1"},
		{"virtual host without port", `bucket: b-1, region: us-east-1, endpoint: "https://minio.test", addressing: virtual`, true, "b-1.minio.test:443", "b-1.minio.test", ""},
		{"virtual host", `bucket: b-1, region: us-east-1, endpoint: "http://minio.test:9000", addressing: virtual`, false, "b-1.minio.test:9000", "b-1.minio.test:9000", ""},
		{"a path before the bucket", `bucket: b-1, region: us-east-1, endpoint: "https://minio.test/storage/v1/s3"`, true, "minio.test:443", "minio.test", "/storage/v1/s3/b-1"},
		{"a path with a slash at its end", `bucket: b-1, region: us-east-1, endpoint: "http://minio.test:9000/s3/"`, false, "minio.test:9000", "minio.test:9000", "/s3/b-1"},
		{"a path on a virtual host", `bucket: b-1, region: us-east-1, endpoint: "https://minio.test/s3", addressing: virtual`, true, "b-1.minio.test:443", "b-1.minio.test", "/s3"},
		{"a path in another encoding", `bucket: b-1, region: us-east-1, endpoint: "https://minio.test/a b/%7e/x+y%2fz/é"`, true, "minio.test:443", "minio.test", "/a%20b/~/x%2By%2Fz/%C3%A9/b-1"},
		{"an absolute name", `bucket: b-1, region: us-east-1, endpoint: "https://minio.test."`, true, "minio.test.:443", "minio.test", "/b-1"},
		{"an absolute name with port and path", `bucket: b-1, region: us-east-1, endpoint: "http://Minio.test.:9000/s3"`, false, "minio.test.:9000", "minio.test:9000", "/s3/b-1"},
		{"an absolute name on a virtual host", `bucket: b-1, region: us-east-1, endpoint: "https://minio.test.", addressing: virtual`, true, "b-1.minio.test.:443", "b-1.minio.test", ""},
		{"a prefix of keys", `bucket: b-1, key_prefix: "site/v 4é+/", region: us-east-1, endpoint: "http://minio:9000"`, false, "minio:9000", "minio:9000", "/b-1/site/v%204%C3%A9%2B"},
		{"a prefix of keys on a virtual host", "bucket: my-bucket, key_prefix: v1/, region: eu-central-1", true, "my-bucket.s3.eu-central-1.amazonaws.com:443", "my-bucket.s3.eu-central-1.amazonaws.com", "/v1"},
		{"AWS by an absolute name", `bucket: b-1, region: us-east-1, endpoint: "https://s3.us-east-1.amazonaws.com.", addressing: virtual`, true, "b-1.s3.us-east-1.amazonaws.com.:443", "b-1.s3.us-east-1.amazonaws.com", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := config.Parse("test.yaml", []byte("buckets:\n  - {name: n, path_prefix: /p, s3: {"+c.s3+", access_key: AK, secret_key: secretsecret}}\n"), func(string) (string, bool) { return "", false })
			if err != nil {
				t.Fatal(err)
			}
			o, err := NewAddress(&cfg.Buckets[0].S3)
			if err != nil {
				t.Fatal(err)
			}
			if o.TLS != c.tls || o.HostPort != c.address || o.Host != c.host || o.KeysPath != c.basePath+"/" {
				t.Errorf("%+v", *o)
			}
			if name, _, err := net.SplitHostPort(o.HostPort); err != nil || o.Name != name {
				t.Errorf("the name server is asked for %q, the address is %s", o.Name, o.HostPort)
			}
			if name := (&url.URL{Host: o.Host}).Hostname(); o.certified() != name {
				t.Errorf("the certificate is asked for %q, the host is %s", o.certified(), o.Host)
			}
		})
	}
}

func TestOriginURL(t *testing.T) {
	for _, c := range []struct {
		origin      Address
		path, query string
		want        string
	}{
		{Address{Host: "minio:9000"}, "/b/a%20b", "", "http://minio:9000/b/a%20b"},
		{Address{TLS: true, Host: "[2001:db8::1]"}, "/b/k", "versionId=v1", "https://[2001:db8::1]/b/k?versionId=v1"},
	} {
		if got := c.origin.URL([]byte(c.path), []byte(c.query)); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
