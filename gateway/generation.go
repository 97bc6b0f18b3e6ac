package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/route"
	"yatagarasu/pool"
	"yatagarasu/sign"
)

// generation is one configuration, compiled: everything a request needs to know
// of it. It never changes; a request uses one generation from start to end.
type generation struct {
	config  *config.Config
	table   *route.Table[bucket]
	buckets []*bucket
	trusted []netip.Prefix
}

// bucket is a mounted bucket: one origin under one credential.
type bucket struct {
	name       string
	prefix     string
	s3Bucket   string
	origin     *origin
	host       []byte // origin.host
	signer     *sign.Signer
	upstream   *pool.Upstream
	allowQuery []string
	hideDenied bool // AccessDenied is answered as 404
	metrics    *bucketMetrics

	// classifiedAt is when a HEAD error was last looked into, in Unix nanoseconds.
	classifiedAt atomic.Int64
}

// newGeneration compiles c. It opens no connection.
func newGeneration(c *config.Config, buffers *pool.Buffers, m *metricSet) (*generation, error) {
	gen := &generation{config: c, trusted: c.Server.TrustedProxies}
	var routes route.Builder[bucket]
	for i := range c.Buckets {
		b, err := newBucket(&c.Buckets[i], buffers, m)
		if err != nil {
			gen.close()
			return nil, fmt.Errorf("cannot set up bucket %q: %w", c.Buckets[i].Name, err)
		}
		gen.buckets = append(gen.buckets, b)
		hosts := c.Buckets[i].Hosts
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		for _, host := range hosts {
			if err := routes.Add(host, b.prefix, b); err != nil {
				gen.close()
				return nil, fmt.Errorf("cannot mount bucket %q: %w", b.name, err)
			}
		}
	}
	gen.table = routes.Build()
	return gen, nil
}

func newBucket(c *config.Bucket, buffers *pool.Buffers, m *metricSet) (*bucket, error) {
	o, err := newOrigin(&c.S3)
	if err != nil {
		return nil, err
	}
	signer, err := sign.New(sign.Options{
		AccessKey:    c.S3.AccessKey,
		SecretKey:    c.S3.SecretKey.Reveal(),
		SessionToken: c.S3.SessionToken.Reveal(),
		Region:       c.S3.Region,
	})
	if err != nil {
		return nil, err
	}
	tlsConfig, err := originTLS(o, c.S3.CAFile)
	if err != nil {
		return nil, err
	}
	return &bucket{
		name:       c.Name,
		prefix:     c.PathPrefix,
		s3Bucket:   c.S3.Bucket,
		origin:     o,
		host:       []byte(o.host),
		signer:     signer,
		allowQuery: c.S3.AllowQuery,
		hideDenied: c.S3.AccessDenied == 404,
		metrics:    m.bucket(c.Name, o.address),
		upstream: pool.NewUpstream(pool.Options{
			Address:     o.address,
			TLS:         tlsConfig,
			Buffers:     buffers,
			MaxConns:    c.S3.MaxConnections,
			DialTimeout: c.S3.Timeouts.Dial,
			HeadTimeout: c.S3.Timeouts.FirstByte,
			IdleTimeout: c.S3.Timeouts.Idle,
		}),
	}, nil
}

// originTLS returns the client configuration for an origin; nil for plain HTTP.
func originTLS(o *origin, caFile string) (*tls.Config, error) {
	if !o.tls {
		return nil, nil
	}
	c := &tls.Config{
		ServerName:         o.name,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
	}
	if caFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read s3.ca_file: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cannot use s3.ca_file %s: it holds no PEM certificate", caFile)
	}
	return c, nil
}

// close closes the idle upstream connections; exchanges under way finish.
func (gen *generation) close() {
	for _, b := range gen.buckets {
		b.upstream.Close()
	}
}
