package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"sync/atomic"
	"time"

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

// health is what is known of a replica from the requests to it. Like the upstream it
// outlives a generation.
type health struct {
	breaker *pool.Breaker // nil: it is never given up
	retries *pool.Budget
	resumes *pool.Budget // of the requests that retries counts
	hedges  *pool.Budget
	latency pool.Latencies // to the first byte; kept only for hedging by it
	skew    atomic.Int64   // of its clock against this one, in nanoseconds
	dated   atomic.Int64   // when that was measured, in Unix nanoseconds
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

// The spans over which the budgets for requests beside the clients' own hold, and how
// many there are in each at least.
const (
	retrySpan  = time.Second
	retryLeast = 10
	hedgeSpan  = 10 * time.Second
	hedgeBurst = 10 // slow requests come in swarms
)

// newReplicas returns the replicas of a bucket in the order in which they are
// preferred. What before, which may be nil, has of the same is taken over.
func newReplicas(c *config.Bucket, g *Gateway, probed bool, before *bucket) ([]*replica, error) {
	origins := c.S3.Origins()
	replicas := make([]*replica, len(origins))
	for i := range origins {
		r := &replica{s3: origins[i]}
		if len(c.S3.Replicas) > 0 {
			r.name, r.priority = c.S3.Replicas[i].Name, c.S3.Replicas[i].Priority
		}
		if err := r.set(g, c.Name, probed && c.S3.ProbeInterval > 0, before); err != nil {
			for _, made := range replicas[:i] {
				if !before.uses(made.upstream) {
					made.upstream.Close()
					made.credentials.Stop()
				}
			}
			return nil, err
		}
		replicas[i] = r
	}
	slices.SortStableFunc(replicas, func(a, b *replica) int { return a.priority - b.priority })
	for i, r := range replicas {
		r.number = i
	}
	return replicas, nil
}

// set completes r, whose name, priority and s3 are set.
func (r *replica) set(g *Gateway, bucket string, probed bool, before *bucket) (err error) {
	s := &r.s3
	if r.origin, err = newOrigin(s); err != nil {
		return err
	}
	r.host = []byte(r.origin.host)
	if r.name == "" {
		r.name = r.origin.address
	}
	r.metrics = g.metrics.replica(bucket, r.name)
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
	r.credentials, err = newProvider(s, func(err error) { g.credentialsRetrieved(r, err) })
	if err != nil {
		return err
	}
	r.health = newHealth(s, probed)
	r.upstream = pool.NewUpstream(pool.Options{
		Address:     r.origin.address,
		Proxy:       r.proxy,
		TLS:         tlsConfig,
		Buffers:     g.buffers,
		MaxConns:    s.MaxConnections,
		MaxWaiting:  s.MaxWaiting,
		DialTimeout: s.Timeouts.Dial,
		HeadTimeout: s.Timeouts.FirstByte,
		IdleTimeout: s.Timeouts.Idle,
	})
	return nil
}

func newHealth(s *config.S3, probed bool) *health {
	h := &health{
		retries: pool.NewBudget(int(s.Retry.Budget), 0, retryLeast, retrySpan),
		hedges:  pool.NewBudget(int(s.Hedge.Max), hedgeBurst, 0, hedgeSpan),
	}
	h.resumes = h.retries.Beside()
	if b := s.Breaker; b.Enabled {
		h.breaker = pool.NewBreaker(pool.BreakerOptions{
			FailureRate: int(b.FailureRate), Consecutive: b.Consecutive, Cooldown: b.Cooldown, Probed: probed,
		})
	}
	return h
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

// replicaOf returns the replica of b that is for the same; nil if there is none.
func (b *bucket) replicaOf(id upstreamIdentity) *replica {
	if b == nil {
		return nil
	}
	for _, r := range b.replicas {
		if r.identity == id {
			return r
		}
	}
	return nil
}

// uses tells whether u is of one of b's replicas.
func (b *bucket) uses(u *pool.Upstream) bool {
	return b != nil && slices.ContainsFunc(b.replicas, func(r *replica) bool { return r.upstream == u })
}

// replicaSet is a set of replicas of one bucket, by their numbers.
type replicaSet uint32

func (s *replicaSet) add(r *replica)     { *s |= 1 << r.number }
func (s replicaSet) has(r *replica) bool { return s&(1<<r.number) != 0 }

// pick returns the replica that is preferred among those that are not in but and
// whose breaker lets a request pass, which then owes it an outcome. Those of equal
// priority take turns. If there is none, wait is after how long one may pass.
//
// Hot path: no allocation.
func (b *bucket) pick(but replicaSet, now time.Time) (r *replica, t pool.Ticket, wait time.Duration) {
	wait = -1
	turn := 0
	if len(b.replicas) > 1 {
		if turn = int(b.turn.Load()); but == 0 {
			turn = int(b.turn.Add(1)) // by first picks alone: with two, each failover would undo it
		}
	}
	for first := 0; first < len(b.replicas); {
		end := first + 1
		for end < len(b.replicas) && b.replicas[end].priority == b.replicas[first].priority {
			end++
		}
		for i := range end - first {
			r = b.replicas[first+(turn+i)%(end-first)]
			if but.has(r) {
				continue
			}
			t, after, ok := r.health.breaker.Allow(now)
			if ok {
				return r, t, 0
			}
			if wait < 0 || after < wait {
				wait = after
			}
		}
		first = end
	}
	return nil, pool.Ticket{}, wait
}
