package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/route"
)

// generation is one configuration, compiled: everything a request needs to know
// of it. It never changes; a request uses one generation from start to end.
type generation struct {
	number  int64 // from 1
	loaded  time.Time
	config  *config.Config // in effect: with what flags and the start say
	table   *route.Table[bucket]
	buckets []*bucket
	byName  map[string]*bucket
	budgets map[string]*budget // of memory for cached objects, by owner
	trusted []netip.Prefix
	limits  *scope

	verifiers map[*config.JWT]*auth.Verifier // one for each jwt block in use
	tokens    *auth.TokenCache
}

// bucket is a mounted bucket.
type bucket struct {
	name       string
	s3         *config.S3
	prefix     string
	replicas   []*replica    // at least one; the preferred ones first
	turn       atomic.Uint32 // of replicas with equal priority
	allowQuery []string
	hideDenied bool         // AccessDenied is answered as 404
	policy     *auth.Policy // nil: public
	cached     *bucketCache // nil: nothing is kept
	limits     *scope
	metrics    *bucketMetrics
}

// newGeneration compiles c. It opens no connection; start does. What old has that
// serves for the same is taken over; old may be nil.
func (g *Gateway) newGeneration(c *config.Config, old *generation) (*generation, error) {
	gen := &generation{
		number:    1,
		loaded:    time.Now(),
		config:    c,
		byName:    make(map[string]*bucket),
		budgets:   make(map[string]*budget),
		trusted:   c.Server.TrustedProxies,
		verifiers: make(map[*config.JWT]*auth.Verifier),
		tokens:    auth.NewTokenCache(g.opts.AuthTokens, g.opts.AuthMemory),
	}
	if old != nil {
		gen.number = old.number + 1
	}
	var routes route.Builder[bucket]
	for i := range c.Buckets {
		b, err := g.newBucket(&c.Buckets[i], c.Server.Ready != "config", old)
		if err == nil {
			gen.buckets = append(gen.buckets, b)
			gen.byName[b.name] = b
			if cc := c.Buckets[i].Cache; cc != nil && cc.Enabled {
				b.cached = newBucketCache(gen.budget(old, b.name, cc, func() time.Time { return g.now() }), b, cc)
			}
			err = gen.protect(b, &c.Buckets[i].Auth, g.authOptions(), old)
		}
		if err != nil {
			gen.retire(old)
			return nil, fmt.Errorf("cannot set up bucket %q: %w", c.Buckets[i].Name, err)
		}
		hosts := c.Buckets[i].Hosts
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		for _, host := range hosts {
			if err := routes.Add(host, b.prefix, b); err != nil {
				gen.retire(old)
				return nil, fmt.Errorf("cannot mount bucket %q: %w", b.name, err)
			}
		}
	}
	gen.limit(old, g.opts, &g.inFlight)
	gen.table = routes.Build()
	return gen, nil
}

// protect gives b the policy for a.
func (gen *generation) protect(b *bucket, a *config.Auth, o auth.Options, old *generation) error {
	if !a.Enabled {
		return nil
	}
	v := gen.verifiers[a.JWT]
	if v == nil {
		v = old.verifierFor(a.JWT)
	}
	if v == nil {
		var err error
		if v, err = auth.NewVerifier(a.JWT, o); err != nil {
			return err
		}
		old.bequeath(v)
	}
	gen.verifiers[a.JWT] = v
	b.policy = auth.NewPolicy(a, b.name, v, gen.tokens)
	return nil
}

// verifierFor returns the verifier for an equal jwt block; nil if there is none, or
// if its keys are in a file, which may have changed.
func (gen *generation) verifierFor(j *config.JWT) *auth.Verifier {
	if gen == nil || j.JWKSFile != "" {
		return nil
	}
	for own, v := range gen.verifiers {
		if reflect.DeepEqual(own, j) {
			return v
		}
	}
	return nil
}

// bequeath gives v the copy of its key set that one of gen's verifiers has: while the
// endpoint is down, the rest of a jwt block can change all the same.
func (gen *generation) bequeath(v *auth.Verifier) {
	if gen == nil {
		return
	}
	for _, own := range gen.verifiers {
		v.Inherit(own)
	}
}

// start fetches what must be there before the first request: credentials, which a
// bucket can be without for a while, and the key sets that old does not have. The
// others are fetched anew, too, but stay if that fails. The end of ctx is that of the
// gateway: no key set is fetched any more.
func (gen *generation) start(ctx context.Context, old *generation) error {
	stop := context.AfterFunc(ctx, func() {
		for _, v := range gen.verifiers {
			v.Close()
		}
	})
	defer stop()
	gen.startCredentials(ctx)
	for _, v := range gen.verifiers {
		if old.verifies(v) {
			v.Refresh()
			continue
		}
		if err := v.Start(); err != nil && ctx.Err() == nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return errStopping
	}
	return nil
}

// verifies tells whether v is one of gen's verifiers.
func (gen *generation) verifies(v *auth.Verifier) bool {
	if gen == nil {
		return false
	}
	for _, own := range gen.verifiers {
		if own == v {
			return true
		}
	}
	return false
}

// bucket returns the bucket of a name; nil if there is none.
func (gen *generation) bucket(name string) *bucket {
	if gen == nil {
		return nil
	}
	return gen.byName[name]
}

// newBucket returns the bucket of c; probed says that origins are probed.
func (g *Gateway) newBucket(c *config.Bucket, probed bool, old *generation) (*bucket, error) {
	replicas, err := newReplicas(c, g, probed, old.bucket(c.Name))
	if err != nil {
		return nil, err
	}
	return &bucket{
		name:       c.Name,
		s3:         &c.S3,
		prefix:     c.PathPrefix,
		replicas:   replicas,
		allowQuery: c.S3.AllowQuery,
		hideDenied: c.S3.AccessDenied == 404,
		metrics:    g.metrics.bucket(c.Name),
	}, nil
}

// close closes the idle upstream connections and stops fetching key sets;
// exchanges under way finish, and no new one starts.
func (gen *generation) close() {
	for _, v := range gen.verifiers {
		v.Close()
	}
	gen.eachReplica(func(r *replica) {
		r.upstream.Close()
		r.credentials.Stop()
	})
}

// eachReplica calls f for each replica of each bucket.
func (gen *generation) eachReplica(f func(*replica)) {
	for _, b := range gen.buckets {
		for _, r := range b.replicas {
			f(r)
		}
	}
}

// abort ends the exchanges under way, and lets none begin. Those of earlier generations end
// with their clients or by their origins' timeouts.
func (gen *generation) abort() {
	gen.eachReplica(func(r *replica) { r.upstream.Abort() })
}

// retire lets go of what successor does not go on using. Requests that still hold
// gen are served to their end: connections close with them, tokens are verified with
// the keys at hand, and the rest is garbage once the last of them ended.
func (gen *generation) retire(successor *generation) {
	for _, v := range gen.verifiers {
		if !successor.verifies(v) {
			v.Close()
		}
	}
	for _, b := range gen.buckets {
		for _, r := range b.replicas {
			if !successor.bucket(b.name).uses(r.upstream) {
				r.upstream.Retire()
				r.credentials.Stop()
			}
		}
	}
}
