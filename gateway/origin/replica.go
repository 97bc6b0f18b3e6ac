package origin

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/observe"
	"yatagarasu/pool"
	"yatagarasu/sign"

	"golang.org/x/net/http/httpproxy"
)

// Replica is one place where a bucket's objects are, under one credential. A bucket
// without s3.replicas has one.
type Replica struct {
	Name      string // its label in metrics: the configured name, or the address of the only one
	number    int    // among those of the bucket
	Priority  int
	S3        config.S3 // as if it were the only one
	Address   *Address
	host      []byte   // origin.host
	keyPrefix []byte   // what precedes the key in an encoded path
	Proxy     *url.URL // on the way there; nil: none
	Upstream  *pool.Upstream
	Identity  upstreamIdentity
	Health    *Health
	Metrics   *observe.ReplicaMetrics

	Credentials *sign.Provider

	// What follows is not taken over by the next generation, whose bucket may be another.

	proof   proof // of the credential, for the bucket
	lookUps lookUps
}

// upstreamIdentity is what an upstream is for. Replicas of one bucket with the same
// identity share it from one generation to the next.
type upstreamIdentity struct {
	Access
	label                string
	maxConns, maxWaiting int
	timeouts             config.Timeouts
	retry                config.Retry
	breaker              config.Breaker
	hedge                config.Hedge
	probed               bool
}

// Access is an origin and a credential for it, wherever that comes from. Replicas with
// the same access have the faults of both in common, and are probed together.
type Access struct {
	tls                                bool
	address, name, ca                  string
	region                             string
	accessKey, secretKey, sessionToken string
	credentials                        config.Credentials
}

// set completes r, whose name, priority and s3 are set.
func (r *Replica) set(h *Shared, bucket string, probed bool, before *Bucket) (err error) {
	s := &r.S3
	if r.Address, err = NewAddress(s); err != nil {
		return err
	}
	r.host, r.keyPrefix = []byte(r.Address.Host), []byte(r.Address.BasePath+"/")
	if r.Name == "" {
		r.Name = r.Address.HostPort
	}
	r.Metrics = h.Metrics.Replica(bucket, r.Name)
	tlsConfig, ca, err := ClientTLS(r.Address, s.CAFile)
	if err != nil {
		return err
	}
	if r.Proxy, err = proxyFor(r.Address); err != nil {
		return err
	}
	r.Identity = upstreamIdentity{
		Access: Access{
			tls: r.Address.TLS, address: r.Address.HostPort, name: r.Address.Name, ca: ca, region: s.Region,
			accessKey: s.AccessKey, secretKey: s.SecretKey.Reveal(), sessionToken: s.SessionToken.Reveal(), credentials: s.Credentials,
		},
		label: r.Name, maxConns: s.MaxConnections, maxWaiting: s.MaxWaiting, timeouts: s.Timeouts, retry: s.Retry, breaker: s.Breaker, hedge: s.Hedge, probed: probed,
	}
	if same := before.ReplicaOf(r.Identity); same != nil {
		r.Upstream, r.Health, r.Credentials = same.Upstream, same.Health, same.Credentials
		return nil
	}
	r.Credentials, err = newProvider(s, func(err error) { h.credentialsRetrieved(r, err) })
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

// proxyFor returns the proxy that the environment has for an origin: HTTPS_PROXY,
// HTTP_PROXY and NO_PROXY, as other programs understand them; nil if there is none.
func proxyFor(o *Address) (*url.URL, error) {
	_, port := splitHostPort(o.HostPort)
	target := &url.URL{Scheme: "http", Host: net.JoinHostPort(o.certified(), port)} // NO_PROXY knows no final dots
	if o.TLS {
		target.Scheme = "https"
	}
	p, err := httpproxy.FromEnvironment().ProxyFunc()(target)
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
