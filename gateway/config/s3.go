package config

import (
	"crypto/x509"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// The defaults of origins.
const (
	defaultDial      = 3 * time.Second
	defaultFirstByte = 10 * time.Second
	defaultIdle      = 30 * time.Second
)

func (d *decoder) s3(n *node) S3 {
	o := d.object(n, "buckets[].s3")
	s := S3{
		Region:         "us-east-1",
		MaxConnections: o.integer("max_connections", 1024, 1, maxCount),
		Timeouts:       d.timeouts(o.get("timeouts")),
		Endpoint:       d.endpoint(o),
		SecretKey:      o.secret("secret_key"),
		SessionToken:   o.secret("session_token"),
		AccessDenied:   o.integer("access_denied", 403, 403, 404),
	}
	o.need("bucket", "name the bucket at the origin")
	if text, _, ok := d.text(o.get("bucket")); ok {
		if isName(text, 255) && !strings.Contains(text, "..") {
			s.Bucket = text
		} else {
			d.fail(o.get("bucket"), "is no bucket name", "use letters, digits, '.', '_' and '-', a letter or digit first")
		}
	}
	o.need("region", "name the bucket's region, such as us-east-1, which most other servers than AWS take too")
	if text, _, ok := d.text(o.get("region")); ok {
		if isName(text, 64) && !strings.Contains(text, ".") {
			s.Region = text
		} else {
			d.fail(o.get("region"), "is no region", "use letters, digits, '-' and '_' only, such as us-east-1")
		}
	}
	o.need("access_key", "add the id of an access key that may read the bucket")
	o.need("secret_key", "add the secret of the access key, best as a variable")
	if text, _, ok := d.text(o.get("access_key")); ok {
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == ',' || r == '=' }) {
			d.fail(o.get("access_key"), "has characters that no access key id has", "use printable ASCII without spaces, '/', ',' and '='")
		} else {
			s.AccessKey = text
		}
	}
	if strings.ContainsFunc(s.SessionToken.value, func(r rune) bool { return r > '~' }) {
		d.fail(o.get("session_token"), "has characters that a header cannot carry", "copy the token again")
	}
	o.strings("allow_query", func(n *node, text string, fromEnv bool) {
		if text != "versionId" && text != "partNumber" {
			d.fail(n, "unknown parameter"+word(text, fromEnv), "use one of: versionId, partNumber")
			return
		}
		s.AllowQuery = append(s.AllowQuery, text)
	})
	s.Addressing = d.addressing(o, &s)
	s.CAFile = d.caFile(o, &s)
	return s
}

func (d *decoder) timeouts(n *node) Timeouts {
	o := d.object(n, "buckets[].s3.timeouts")
	return Timeouts{
		Dial:      o.duration("dial", defaultDial, time.Millisecond),
		FirstByte: o.duration("first_byte", defaultFirstByte, time.Millisecond),
		Idle:      o.duration("idle", defaultIdle, time.Millisecond),
	}
}

// endpoint returns the endpoint in its canonical form; "" is AWS.
func (d *decoder) endpoint(o object) string {
	n := o.get("endpoint")
	text, _, ok := d.text(n)
	if !ok {
		return ""
	}
	endpoint, problem, fix := canonicalEndpoint(text)
	if problem != "" {
		d.fail(n, problem, fix)
		return ""
	}
	return endpoint
}

// canonicalEndpoint returns scheme://host[:port] in lower case. Its messages
// quote nothing: a URL can carry a password.
func canonicalEndpoint(s string) (endpoint, problem, fix string) {
	const form = "write such as https://s3.example.com or http://127.0.0.1:9000"
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", "is no URL", form
	case u.Scheme != "http" && u.Scheme != "https":
		return "", "has no scheme http or https", form
	case u.User != nil:
		return "", "contains credentials", "put them into access_key and secret_key"
	case u.Path != "" && u.Path != "/":
		return "", "has a path", "end it after the host and port; the bucket is s3.bucket"
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return "", "has a query or fragment", "end it after the host and port"
	}
	host, port := u.Hostname(), u.Port()
	bracketed := strings.HasPrefix(u.Host, "[")
	if a, err := netip.ParseAddr(host); bracketed && (err != nil || !a.Is6() || a.Zone() != "") || !bracketed && !isHost(host) {
		return "", "has no valid host", form
	}
	if port != "" && !isPort(port, 1) || port == "" && strings.HasSuffix(u.Host, ":") {
		return "", "has no valid port", "write a port from 1 to 65535, or none"
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), "", ""
}

// addressing resolves auto to path or virtual.
func (d *decoder) addressing(o object, s *S3) string {
	mode := o.oneOf("addressing", "auto", "auto", "path", "virtual")
	const fix = "set s3.addressing: path"
	switch at := o.get("addressing"); {
	case mode == "path":
	case mode == "auto" && (s.Endpoint != "" || !isDNSBucket(s.Bucket) || strings.Contains(s.Bucket, ".")):
		// With a dot in the name, AWS's wildcard certificate does not fit.
		return "path"
	case mode == "auto" || s.Bucket == "":
		return "virtual"
	case !isDNSBucket(s.Bucket):
		d.fail(at, "virtual addressing needs a bucket name that is a DNS name: lower-case letters, digits and '-', 3 to 63", fix)
	case isAddressEndpoint(s.Endpoint):
		d.fail(at, "virtual addressing needs an endpoint with a host name, not an IP address", fix)
	case strings.Contains(s.Bucket, ".") && !strings.HasPrefix(s.Endpoint, "http:"):
		d.fail(at, "virtual addressing of a bucket name with dots fits no wildcard certificate", fix)
	}
	return mode
}

// isDNSBucket reports whether s can be the first labels of a host name
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html).
func isDNSBucket(s string) bool {
	return len(s) >= 3 && len(s) <= 63 && s == strings.ToLower(s) && !strings.Contains(s, "_") && isHostName(s)
}

func isAddressEndpoint(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err == nil
}

// caFile returns the path of a PEM bundle that holds a certificate.
func (d *decoder) caFile(o object, s *S3) string {
	n := o.get("ca_file")
	path, _, ok := d.text(n)
	if !ok {
		return ""
	}
	if strings.HasPrefix(s.Endpoint, "http:") {
		d.fail(n, "has no effect: the endpoint is http", "remove it, or make the endpoint https")
		return ""
	}
	data, ok := d.readFile(n, path)
	if ok && !x509.NewCertPool().AppendCertsFromPEM(data) {
		d.fail(n, d.showPath(n)+" holds no certificate", "name a PEM file with one or more CERTIFICATE blocks")
	}
	return path
}
