package origin

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/upstream"
	"yatagarasu/gateway/observe"
	"yatagarasu/pool"
	"yatagarasu/sign"
)

// Replica is one place where a bucket's objects are, under one credential. A bucket
// without s3.replicas has one. Use NewBucket. Safe for concurrent use; what is exported does
// not change.
type Replica struct {
	Name     string // its label in metrics: the configured name, or the address of the only one
	number   int    // among those of the bucket
	Priority int
	S3       upstream.S3 // as if it were the only one
	Address  *Address
	host     []byte   // Host header, that of Address
	keysPath []byte   // KeysPath of Address
	Proxy    *url.URL // on the way there; nil: none
	Upstream *pool.Upstream
	Identity upstreamIdentity
	Health   *Health
	Metrics  *observe.ReplicaMetrics

	Credentials *sign.Provider

	// What follows is not taken over by the next generation, whose bucket may be another.

	proof   proof    // of the credential, for the bucket
	lookUps sync.Map // of *lookUp by *sign.Signer: those under way
}

// upstreamIdentity is what an upstream is for. Replicas of one bucket with the same
// identity share it from one generation to the next.
type upstreamIdentity struct {
	Access
	label                string
	maxConns, maxWaiting int
	timeouts             upstream.Timeouts
	retry                upstream.Retry
	breaker              upstream.Breaker
	hedge                upstream.Hedge
	probed               bool
}

// Access is an origin and a credential for it, wherever that comes from. Replicas with
// the same access have the faults of both in common, and are probed together.
type Access struct {
	tls                     bool
	address, ca, region     string
	accessKey               string
	secretKey, sessionToken file.Secret
	credentials             upstream.Credentials
}

// set completes r, whose name, priority and s3 are set.
func (r *Replica) set(h *Shared, bucket string, probed bool, before *Bucket) (err error) {
	s := &r.S3
	if r.Address, err = NewAddress(s); err != nil {
		return err
	}
	r.host, r.keysPath = []byte(r.Address.Host), []byte(r.Address.KeysPath)
	if r.Name == "" {
		r.Name = r.Address.HostPort
	}
	r.Metrics = h.Metrics.Replica(bucket, r.Name)
	tlsConfig, ca, err := ClientTLS(r.Address, s.CAFile)
	if err != nil {
		return err
	}
	if r.Proxy, err = h.proxyFor(r.Address); err != nil {
		return err
	}
	r.Identity = upstreamIdentity{
		Access: Access{
			tls: r.Address.TLS, address: r.Address.HostPort, ca: ca, region: s.Region,
			accessKey: s.AccessKey, secretKey: s.SecretKey, sessionToken: s.SessionToken, credentials: s.Credentials,
		},
		label: r.Name, maxConns: s.MaxConnections, maxWaiting: s.MaxWaiting, timeouts: s.Timeouts, retry: s.Retry, breaker: s.Breaker, hedge: s.Hedge, probed: probed,
	}
	if same := before.ReplicaOf(r.Identity); same != nil {
		r.Upstream, r.Health, r.Credentials = same.Upstream, same.Health, same.Credentials
		return nil
	}
	r.Credentials, err = h.Retrieve(s, func(err error) { h.credentialsRetrieved(r, err) })
	if err != nil {
		return err
	}
	r.Health = newHealth(s, probed)
	r.Upstream = pool.NewUpstream(pool.Options{
		Address:     r.Address.HostPort,
		Proxy:       r.Proxy,
		TLS:         tlsConfig,
		Buffers:     h.Buffers,
		MaxConns:    s.MaxConnections,
		MaxWaiting:  s.MaxWaiting,
		DialTimeout: s.Timeouts.Dial,
		HeadTimeout: s.Timeouts.FirstByte,
		IdleTimeout: s.Timeouts.Idle,
	})
	return nil
}

// credentialsRetrieved counts and logs the end of retrieving a credential for r.
func (h *Shared) credentialsRetrieved(r *Replica, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	r.Metrics.Set.GetOrCreateCounter(fmt.Sprintf("yatagarasu_credentials_refreshes_total{bucket=%q,origin=%q,outcome=%q}", r.Metrics.Bucket, r.Name, outcome)).Inc()
	if err != nil {
		h.Log.Warn().Str("bucket", r.Metrics.Bucket).Str("origin", r.Name).Str("source", r.S3.Credentials.Source).Err(err).
			Msg("a credential could not be retrieved; the one at hand is used until it expires")
	}
}

// proxyFor returns the proxy that the environment has for an origin: HTTPS_PROXY,
// HTTP_PROXY and NO_PROXY, as other programs understand them; nil if there is none.
func (h *Shared) proxyFor(o *Address) (*url.URL, error) {
	target := &url.URL{Scheme: o.scheme(), Host: o.Host} // NO_PROXY knows no final dots
	proxies := h.Proxies
	if proxies == nil {
		proxies = func(u *url.URL) (*url.URL, error) { return http.ProxyFromEnvironment(&http.Request{URL: u}) }
	}
	p, err := proxies(target)
	if err != nil || p == nil {
		return nil, err
	}
	if p.Scheme != "http" || p.Hostname() == "" {
		return nil, fmt.Errorf("cannot use the proxy %s of the environment: write http://host:port", p.Redacted())
	}
	return p, nil
}

// ClientTLS returns the client configuration for an origin, nil for plain HTTP, and
// the authorities that it trusts in place of the system's.
func ClientTLS(o *Address, caFile string) (c *tls.Config, ca string, err error) {
	if !o.TLS {
		return nil, "", nil
	}
	c = &tls.Config{
		ServerName:         o.certified(),
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
	}
	if caFile == "" {
		return c, "", nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, "", fmt.Errorf("cannot read s3.ca_file: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, "", fmt.Errorf("cannot use s3.ca_file %s: it holds no PEM certificate", caFile)
	}
	return c, string(pem), nil
}

// Address is where a bucket's objects are: what is dialled, what the Host header
// says, and what precedes the key in the path.
type Address struct {
	TLS        bool
	HostPort   string // host:port to dial
	Name       string // the host without port, as a name server is asked for it
	Host       string // Host header as signed and sent
	KeysPath   string // what precedes a client's key, encoded: path of the endpoint, bucket unless the host has it, prefix
	bucketPath []byte // of the bucket itself
}

// NewAddress resolves the addressing of a bucket, see "Virtual hosting of
// general purpose buckets" in the Amazon S3 User Guide.
func NewAddress(s *upstream.S3) (*Address, error) {
	u := &url.URL{Scheme: "https", Host: upstream.AWSHost("s3", s.Region)}
	if s.Endpoint != "" {
		var err error
		if u, err = url.Parse(s.Endpoint); err != nil {
			return nil, errors.New("cannot parse s3.endpoint: not a URL")
		}
	}
	o := &Address{TLS: u.Scheme == "https", Name: u.Hostname(), KeysPath: basePath(u)}
	if o.Name == "localhost." {
		o.Name = "localhost" // the library finds one label in /etc/hosts only without a dot
	}
	if s.Addressing == "virtual" {
		o.Name = s.Bucket + "." + o.Name
		o.bucketPath = []byte(o.KeysPath + "/")
	} else {
		o.KeysPath += "/" + string(sign.AppendPath(nil, s.Bucket))
		o.bucketPath = []byte(o.KeysPath)
	}
	o.KeysPath += "/" + string(sign.AppendPath(nil, s.KeyPrefix))
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

// AppendKeyPath appends the encoded path of the object that clients have under a key.
func (o *Address) AppendKeyPath(dst, key []byte) []byte {
	return sign.AppendPath(append(dst, o.KeysPath...), key)
}
