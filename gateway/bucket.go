package gateway

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/config"
	"yatagarasu/pool"
)

// originBucket is a bucket as its origin has it: its replicas, and how they are asked. Safe
// for concurrent use; it does not change.
type originBucket struct {
	shared     *shared
	name       string
	s3         *config.S3
	replicas   []*replica    // at least one; the preferred ones first
	turn       atomic.Uint32 // of replicas with equal priority
	hideDenied bool          // AccessDenied is answered as 404
}

// newOriginBucket returns the bucket of c; probed says that origins are probed. It opens no
// connection. What before, which may be nil, has of the same is taken over.
func newOriginBucket(c *config.Bucket, h *shared, probed bool, before *originBucket) (*originBucket, error) {
	replicas, err := newReplicas(c, h, probed, before)
	if err != nil {
		return nil, err
	}
	return &originBucket{shared: h, name: c.Name, s3: &c.S3, replicas: replicas, hideDenied: c.S3.AccessDenied == 404}, nil
}

// newReplicas returns the replicas of a bucket in the order in which they are
// preferred. What before, which may be nil, has of the same is taken over.
func newReplicas(c *config.Bucket, h *shared, probed bool, before *originBucket) ([]*replica, error) {
	origins := c.S3.Origins()
	replicas := make([]*replica, len(origins))
	for i := range origins {
		r := &replica{s3: origins[i]}
		if len(c.S3.Replicas) > 0 {
			r.name, r.priority = c.S3.Replicas[i].Name, c.S3.Replicas[i].Priority
		}
		if err := r.set(h, c.Name, probed && c.S3.ProbeInterval > 0, before); err != nil {
			for _, made := range replicas[:i] {
				if !before.uses(made.upstream) {
					made.close()
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

// startCredentials begins to retrieve the credentials of buckets, and waits a little for
// those that are not there yet.
func startCredentials(ctx context.Context, buckets iter.Seq[*originBucket]) {
	each := func(do func(*replica)) {
		for b := range buckets {
			for _, r := range b.replicas {
				do(r)
			}
		}
	}
	each(func(r *replica) { r.credentials.Start() })
	ctx, cancel := context.WithTimeout(ctx, credentialsWait)
	defer cancel()
	each(func(r *replica) { r.credentials.Await(ctx) })
}

// close closes the idle connections; exchanges under way finish, and no new one starts.
func (b *originBucket) close() {
	for _, r := range b.replicas {
		r.close()
	}
}

func (r *replica) close() {
	r.upstream.Close()
	r.credentials.Stop()
}

// abort ends the exchanges under way, and lets none begin.
func (b *originBucket) abort() {
	for _, r := range b.replicas {
		r.upstream.Abort()
	}
}

// retire lets go of what successor, which may be nil, does not go on using. Requests that
// still hold b are served to their end.
func (b *originBucket) retire(successor *originBucket) {
	for _, r := range b.replicas {
		if !successor.uses(r.upstream) {
			r.upstream.Retire()
			r.credentials.Stop()
		}
	}
}

// replicaOf returns the replica of b that is for the same; nil if there is none.
func (b *originBucket) replicaOf(id upstreamIdentity) *replica {
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
func (b *originBucket) uses(u *pool.Upstream) bool {
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
func (b *originBucket) pick(but replicaSet, now time.Time) (r *replica, t pool.Ticket, wait time.Duration) {
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
