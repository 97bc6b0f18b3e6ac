// Package origin asks a bucket's replicas: it chooses one, signs, tries again, hedges, resumes
// a body that broke off, and tells why an origin refuses. It holds what is known of each
// replica: its credentials, clock, breaker and budgets.
package origin

import (
	"context"
	"iter"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/config/upstream"
	"yatagarasu/gateway/media"
	"yatagarasu/gateway/observe"
	"yatagarasu/pool"
	"yatagarasu/sign"
)

// Shared is what the buckets of all generations share towards their origins. Its fields
// are set before the first request, and it is safe for concurrent use from then on.
type Shared struct {
	*observe.Observer
	Buffers    *pool.Buffers
	Pace       *pool.Pace
	Background Background
	// Retrieve returns what has the credentials for s, and reports each retrieval: credentials.New.
	Retrieve func(s *upstream.S3, report func(error)) (*sign.Provider, error)
	// Proxies returns the proxy for a URL, nil: there is none. Nil: those of the environment, which
	// net/http reads once.
	Proxies func(*url.URL) (*url.URL, error)

	fetches sync.Pool // of *Fetch
}

// Background runs what no request waits for. The zero value is not usable: Panicked has to
// be set. Safe for concurrent use.
type Background struct {
	sync.WaitGroup // of what is under way
	Panicked       func(p any)
}

// Run runs f in a goroutine of its own, where a panic does not end the process.
func (b *Background) Run(f func()) {
	b.Go(func() { // ends with f
		defer b.Recover()
		f()
	})
}

// Recover keeps a panic from ending the process. It is for defer alone.
func (b *Background) Recover() {
	if p := recover(); p != nil {
		b.Panicked(p)
	}
}

// Bucket is a bucket as its origin has it: its replicas, and how they are asked. Safe
// for concurrent use; it does not change.
type Bucket struct {
	Shared     *Shared
	Name       string
	S3         *upstream.S3
	Replicas   []*Replica    // at least one; the preferred ones first
	turn       atomic.Uint32 // of replicas with equal priority
	hideDenied bool          // AccessDenied is answered as 404
	Types      *media.Types  // of objects by their keys; nil: as the replicas say
}

// NewBucket returns the bucket with a name at s3, whose objects have types by their keys, which
// may be nil; probed says that origins are probed. It opens no connection. What before, which may
// be nil, has of the same is taken over.
func NewBucket(name string, s3 *upstream.S3, types *media.Types, h *Shared, probed bool, before *Bucket) (*Bucket, error) {
	b := &Bucket{Shared: h, Name: name, S3: s3, hideDenied: s3.AccessDenied == 404, Types: types}
	for i, s := range s3.Origins() {
		r := &Replica{S3: s}
		if len(s3.Replicas) > 0 {
			r.Name, r.Priority = s3.Replicas[i].Name, s3.Replicas[i].Priority
		}
		if err := r.set(h, name, probed && s3.ProbeInterval > 0, before); err != nil {
			b.Retire(before)
			return nil, err
		}
		b.Replicas = append(b.Replicas, r)
	}
	slices.SortStableFunc(b.Replicas, func(x, y *Replica) int { return x.Priority - y.Priority })
	for i, r := range b.Replicas {
		r.number = i
	}
	return b, nil
}

// LongestPrefix returns the length, in bytes, of the longest key prefix of b's replicas.
func (b *Bucket) LongestPrefix() (n int) {
	for _, r := range b.Replicas {
		n = max(n, len(r.S3.KeyPrefix))
	}
	return n
}

// credentialsWait is how long start-up and reload wait for credentials.
const credentialsWait = 5 * time.Second

// StartCredentials begins to retrieve the credentials of buckets, and waits a little for
// those that are not there yet.
func StartCredentials(ctx context.Context, buckets iter.Seq[*Bucket]) {
	var replicas []*Replica
	for b := range buckets {
		replicas = append(replicas, b.Replicas...)
	}
	for _, r := range replicas {
		r.Credentials.Start()
	}
	ctx, cancel := context.WithTimeout(ctx, credentialsWait)
	defer cancel()
	for _, r := range replicas {
		r.Credentials.Await(ctx)
	}
}

// Close closes the idle connections; exchanges under way finish, and no new one starts.
func (b *Bucket) Close() {
	for _, r := range b.Replicas {
		r.Upstream.Close()
		r.Credentials.Stop()
	}
}

// Abort ends the exchanges under way, and lets none begin.
func (b *Bucket) Abort() {
	for _, r := range b.Replicas {
		r.Upstream.Abort()
	}
}

// Retire lets go of what successor, which may be nil, does not go on using. Requests that
// still hold b are served to their end.
func (b *Bucket) Retire(successor *Bucket) {
	for _, r := range b.Replicas {
		if successor == nil || !slices.ContainsFunc(successor.Replicas, func(s *Replica) bool { return s.Upstream == r.Upstream }) {
			r.Upstream.Retire()
			r.Credentials.Stop()
		}
	}
}

// ReplicaOf returns the replica of b with an identity; nil if there is none. b may be nil.
func (b *Bucket) ReplicaOf(id upstreamIdentity) *Replica {
	if b == nil {
		return nil
	}
	for _, r := range b.Replicas {
		if r.Identity == id {
			return r
		}
	}
	return nil
}
