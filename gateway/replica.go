package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"

	"golang.org/x/net/http/httpproxy"

	"yatagarasu/gateway/config"
	"yatagarasu/pool"
	"yatagarasu/sign"
)

// replica is one place where a bucket's objects are, under one credential. A bucket
// without s3.replicas has one.
type replica struct {
	name     string // its label in metrics: the configured name, or the address of the only one
	number   int    // among those of the bucket
	priority int
	s3       config.S3 // as if it were the only one
	origin   *origin
	host     []byte   // origin.host
	proxy    *url.URL // on the way there; nil: none
	upstream *pool.Upstream
	identity upstreamIdentity
	health   *health
	metrics  *replicaMetrics

	credentials *sign.Provider

	// What follows is not taken over by the next generation, whose bucket may be another.

	proof   proof // of the credential, for the bucket
	lookUps lookUps
}

// upstreamIdentity is what an upstream is for. Replicas of one bucket with the same
// identity share it from one generation to the next.
type upstreamIdentity struct {
	access
	label                string
	maxConns, maxWaiting int
	timeouts             config.Timeouts
	retry                config.Retry
	breaker              config.Breaker
	hedge                config.Hedge
	probed               bool
}

// access is an origin and a credential for it, wherever that comes from. Replicas with
// the same access have the faults of both in common, and are probed together.
type access struct {
	tls                                bool
	address, name, ca                  string
	region                             string
	accessKey, secretKey, sessionToken string
	credentials                        config.Credentials
}

// set completes r, whose name, priority and s3 are set.
func (r *replica) set(h *shared, bucket string, probed bool, before *originBucket) (err error) {
	s := &r.s3
	if r.origin, err = newOrigin(s); err != nil {
		return err
	}
	r.host = []byte(r.origin.host)
	if r.name == "" {
		r.name = r.origin.address
	}
	r.metrics = h.metrics.replica(bucket, r.name)
	tlsConfig, ca, err := originTLS(r.origin, s.CAFile)
	if err != nil {
		return err
	}
	if r.proxy, err = proxyFor(r.origin); err != nil {
		return err
	}
	r.identity = upstreamIdentity{
		access: access{
			tls: r.origin.tls, address: r.origin.address, name: r.origin.name, ca: ca, region: s.Region,
			accessKey: s.AccessKey, secretKey: s.SecretKey.Reveal(), sessionToken: s.SessionToken.Reveal(), credentials: s.Credentials,
		},
		label: r.name, maxConns: s.MaxConnections, maxWaiting: s.MaxWaiting, timeouts: s.Timeouts, retry: s.Retry, breaker: s.Breaker, hedge: s.Hedge, probed: probed,
	}
	if same := before.replicaOf(r.identity); same != nil {
		r.upstream, r.health, r.credentials = same.upstream, same.health, same.credentials
		return nil
	}
	r.credentials, err = newProvider(s, func(err error) { h.credentialsRetrieved(r, err) })
	if err != nil {
		return err
	}
	r.health = newHealth(s, probed)
	r.upstream = pool.NewUpstream(pool.Options{
		Address:     r.origin.address,
		Proxy:       r.proxy,
		TLS:         tlsConfig,
		Buffers:     h.buffers,
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
func proxyFor(o *origin) (*url.URL, error) {
	_, port := splitHostPort(o.address)
	target := &url.URL{Scheme: "http", Host: net.JoinHostPort(o.certified(), port)} // NO_PROXY knows no final dots
	if o.tls {
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

// originTLS returns the client configuration for an origin, nil for plain HTTP, and
// the authorities that it trusts in place of the system's.
func originTLS(o *origin, caFile string) (c *tls.Config, ca string, err error) {
	if !o.tls {
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
