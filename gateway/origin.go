package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"yatagarasu/gateway/config"
	"yatagarasu/sign"
)

// origin is where a bucket's objects are: what is dialled, what the Host header
// says, and what precedes the key in the path.
type origin struct {
	tls      bool
	address  string // host:port to dial
	name     string // the host without port, for TLS
	host     string // Host header as signed and sent
	virtual  bool   // the host has the bucket
	basePath string // what precedes the key's slash, encoded: that of the endpoint, and without virtual the bucket
}

// newOrigin resolves the addressing of a bucket, see "Virtual hosting of
// general purpose buckets" in the Amazon S3 User Guide.
func newOrigin(s *config.S3) (*origin, error) {
	scheme, host := "https", config.AWSHost("s3", s.Region)
	if s.Endpoint != "" {
		u, err := url.Parse(s.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("cannot parse s3.endpoint: not a URL")
		}
		scheme, host = u.Scheme, u.Host
	}
	o := &origin{tls: scheme == "https"}
	name, port := splitHostPort(host)
	if o.virtual = s.Addressing == "virtual"; o.virtual {
		name = s.Bucket + "." + name
	} else {
		o.basePath = string(sign.AppendPath(nil, []byte("/"+s.Bucket)))
	}
	defaultPort := "80"
	if o.tls {
		defaultPort = "443"
	}
	o.name = name
	o.host = bracket(name)
	if port == "" || port == defaultPort {
		port = defaultPort
	} else {
		o.host += ":" + port
	}
	o.address = net.JoinHostPort(name, port)
	return o, nil
}

// splitHostPort splits host[:port]; brackets of an IPv6 address are dropped.
func splitHostPort(s string) (host, port string) {
	if h, p, err := net.SplitHostPort(s); err == nil {
		return h, p
	}
	return strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), ""
}

func bracket(name string) string {
	if a, err := netip.ParseAddr(name); err == nil && a.Is6() {
		return "[" + name + "]"
	}
	return name
}

// bucketPath returns the path of the bucket itself.
func (o *origin) bucketPath() []byte {
	if o.virtual {
		return []byte(o.basePath + "/")
	}
	return []byte(o.basePath)
}

// url returns the address of an encoded path and query, for people.
func (o *origin) url(path, query []byte) string {
	scheme := "http"
	if o.tls {
		scheme = "https"
	}
	u := scheme + "://" + o.host + string(path)
	if len(query) > 0 {
		u += "?" + string(query)
	}
	return u
}
