// Package origin asks a bucket's replicas: it chooses one, signs, tries again, hedges, resumes
// a body that broke off, and tells why an origin refuses. It holds what is known of each
// replica: its credentials, clock, breaker and budgets.
package origin

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"

	"yatagarasu/gateway/config"
	"yatagarasu/pool"
)

// Bucket is a bucket as its origin has it: its replicas, and how they are asked. Safe
// for concurrent use; it does not change.
type Bucket struct {
	Shared     *Shared
	Name       string
	S3         *config.S3
	Replicas   []*Replica    // at least one; the preferred ones first
	turn       atomic.Uint32 // of replicas with equal priority
	hideDenied bool          // AccessDenied is answered as 404
}

// NewBucket returns the bucket of c; probed says that origins are probed. It opens no
// connection. What before, which may be nil, has of the same is taken over.
func NewBucket(c *config.Bucket, h *Shared, probed bool, before *Bucket) (*Bucket, error) {
	replicas, err := newReplicas(c, h, probed, before)
	if err != nil {
		return nil, err
	}
	return &Bucket{Shared: h, Name: c.Name, S3: &c.S3, Replicas: replicas, hideDenied: c.S3.AccessDenied == 404}, nil
}

// newReplicas returns the replicas of a bucket in the order in which they are
// preferred. What before, which may be nil, has of the same is taken over.
func newReplicas(c *config.Bucket, h *Shared, probed bool, before *Bucket) ([]*Replica, error) {
	origins := c.S3.Origins()
	replicas := make([]*Replica, len(origins))
	for i := range origins {
		r := &Replica{S3: origins[i]}
		if len(c.S3.Replicas) > 0 {
			r.Name, r.Priority = c.S3.Replicas[i].Name, c.S3.Replicas[i].Priority
		}
		if err := r.set(h, c.Name, probed && c.S3.ProbeInterval > 0, before); err != nil {
			for _, made := range replicas[:i] {
				if !before.uses(made.Upstream) {
					made.close()
				}
			}
			return nil, err
		}
		replicas[i] = r
	}
	slices.SortStableFunc(replicas, func(a, b *Replica) int { return a.Priority - b.Priority })
	for i, r := range replicas {
		r.number = i
	}
	return replicas, nil
}

// StartCredentials begins to retrieve the credentials of buckets, and waits a little for
// those that are not there yet.
func StartCredentials(ctx context.Context, buckets iter.Seq[*Bucket]) {
	each := func(do func(*Replica)) {
		for b := range buckets {
			for _, r := range b.Replicas {
				do(r)
			}
		}
	}
	each(func(r *Replica) { r.Credentials.Start() })
	ctx, cancel := context.WithTimeout(ctx, credentialsWait)
	defer cancel()
	each(func(r *Replica) { r.Credentials.Await(ctx) })
}

// Close closes the idle connections; exchanges under way finish, and no new one starts.
func (b *Bucket) Close() {
	for _, r := range b.Replicas {
		r.close()
	}
}

func (r *Replica) close() {
	r.Upstream.Close()
	r.Credentials.Stop()
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
		if !successor.uses(r.Upstream) {
			r.Upstream.Retire()
			r.Credentials.Stop()
		}
	}
}

// ReplicaOf returns the replica of b that is for the same; nil if there is none.
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

// uses tells whether u is of one of b's replicas.
func (b *Bucket) uses(u *pool.Upstream) bool {
	return b != nil && slices.ContainsFunc(b.Replicas, func(r *Replica) bool { return r.Upstream == u })
}
