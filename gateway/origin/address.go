package origin

import (
	"cmp"
	"errors"
	"net"
	"net/url"
	"strings"

	"yatagarasu/gateway/config"
	"yatagarasu/sign"
)

// Address is where a bucket's objects are: what is dialled, what the Host header
// says, and what precedes the key in the path.
type Address struct {
	TLS        bool
	HostPort   string // host:port to dial
	Name       string // the host without port, as a name server is asked for it
	Host       string // Host header as signed and sent
	BasePath   string // what precedes the key's slash, encoded: path of the endpoint, and bucket unless the host has it
	bucketPath []byte // of the bucket itself
}

// NewAddress resolves the addressing of a bucket, see "Virtual hosting of
// general purpose buckets" in the Amazon S3 User Guide.
func NewAddress(s *config.S3) (*Address, error) {
	u := &url.URL{Scheme: "https", Host: config.AWSHost("s3", s.Region)}
	if s.Endpoint != "" {
		var err error
		if u, err = url.Parse(s.Endpoint); err != nil {
			return nil, errors.New("cannot parse s3.endpoint: not a URL")
		}
	}
	o := &Address{TLS: u.Scheme == "https", Name: u.Hostname(), BasePath: basePath(u)}
	if o.Name == "localhost." {
		o.Name = "localhost" // the library finds one label in /etc/hosts only without a dot
	}
	if s.Addressing == "virtual" {
		o.Name = s.Bucket + "." + o.Name
		o.bucketPath = []byte(o.BasePath + "/")
	} else {
		o.BasePath += "/" + string(sign.AppendPath(nil, s.Bucket))
		o.bucketPath = []byte(o.BasePath)
	}
	defaultPort := "80"
	if o.TLS {
		defaultPort = "443"
	}
	port := cmp.Or(u.Port(), defaultPort)
	o.HostPort = net.JoinHostPort(o.Name, port)
	o.Host = strings.TrimSuffix(net.JoinHostPort(o.certified(), port), ":"+defaultPort)
	return o, nil
}

// basePath returns the path of an endpoint in the one encoding that is signed. A slash
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

// scheme returns the URL's scheme.
func (o *Address) scheme() string {
	if o.TLS {
		return "https"
	}
	return "http"
}

// URL returns the address of an encoded path and query, for people.
func (o *Address) URL(path, query []byte) string {
	u := o.scheme() + "://" + o.Host + string(path)
	if len(query) > 0 {
		u += "?" + string(query)
	}
	return u
}

// AppendKeyPath appends the encoded path of an object.
func (o *Address) AppendKeyPath(dst, key []byte) []byte {
	return sign.AppendPath(append(append(dst, o.BasePath...), '/'), key)
}
