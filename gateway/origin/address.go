package origin

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"yatagarasu/gateway/config"
	"yatagarasu/sign"
)

// Address is where a bucket's objects are: what is dialled, what the Host header
// says, and what precedes the key in the path.
type Address struct {
	TLS      bool
	HostPort string // host:port to dial
	Name     string // the host without port, as a name server is asked for it
	Host     string // Host header as signed and sent
	virtual  bool   // the host has the bucket
	BasePath string // what precedes the key's slash, encoded: that of the endpoint, and without virtual the bucket
}

// NewAddress resolves the addressing of a bucket, see "Virtual hosting of
// general purpose buckets" in the Amazon S3 User Guide.
func NewAddress(s *config.S3) (*Address, error) {
	scheme, host := "https", config.AWSHost("s3", s.Region)
	o := new(Address)
	if s.Endpoint != "" {
		u, err := url.Parse(s.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("cannot parse s3.endpoint: not a URL")
		}
		scheme, host, o.BasePath = u.Scheme, u.Host, basePath(u)
	}
	o.TLS = scheme == "https"
	name, port := splitHostPort(host)
	if name == "localhost." {
		name = "localhost" // the library finds one label in /etc/hosts only without a dot
	}
	if o.virtual = s.Addressing == "virtual"; o.virtual {
		name = s.Bucket + "." + name
	} else {
		o.BasePath += "/" + string(sign.AppendPath(nil, s.Bucket))
	}
	defaultPort := "80"
	if o.TLS {
		defaultPort = "443"
	}
	o.Name = name
	o.Host = bracket(o.certified())
	if port == "" || port == defaultPort {
		port = defaultPort
	} else {
		o.Host += ":" + port
	}
	o.HostPort = net.JoinHostPort(name, port)
	return o, nil
}

// BasePath returns the path of an endpoint in the one encoding that is signed. A slash
// that is encoded is within a segment, and stays so.
func basePath(u *url.URL) string {
	var path []byte
	for i, segment := range strings.Split(u.EscapedPath(), "/") {
		if i > 0 {
			path = append(path, '/')
		}
		if decoded, err := url.PathUnescape(segment); err == nil {
			segment = decoded
		}
		path = sign.AppendQueryComponent(path, segment)
	}
	return string(path)
}

// certified returns the name that the origin's certificate has. The dot at the end of an
// absolute name is for the name server alone: neither certificates have it nor the hosts
// that servers know themselves by.
func (o *Address) certified() string { return strings.TrimSuffix(o.Name, ".") }

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
func (o *Address) bucketPath() []byte {
	if o.virtual {
		return []byte(o.BasePath + "/")
	}
	return []byte(o.BasePath)
}

// URL returns the address of an encoded path and query, for people.
func (o *Address) URL(path, query []byte) string {
	scheme := "http"
	if o.TLS {
		scheme = "https"
	}
	u := scheme + "://" + o.Host + string(path)
	if len(query) > 0 {
		u += "?" + string(query)
	}
	return u
}

// AppendKeyPath appends the encoded path of an object.
func (o *Address) AppendKeyPath(dst, key []byte) []byte {
	return sign.AppendPath(append(append(dst, o.BasePath...), '/'), key)
}
