package gateway

import (
	"context"
	"errors"
	"fmt"
	"iter"
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
	budgets budgets
	trusted trustedProxies
	limits  *scope

	verifiers map[*config.JWT]*auth.Verifier // one for each jwt block in use
	tokens    *auth.TokenCache
}

// bucket is a mounted bucket. It does not change.
type bucket struct {
	name       string
	prefix     string
	origin     *originBucket
	allowQuery []string
	policy     *auth.Policy // nil: public
	cached     *bucketCache // nil: nothing is kept
	limits     *scope
	metrics    *bucketMetrics
}

// generationOptions are what a generation needs beside its configuration.
type generationOptions struct {
	origins *shared
	auth    auth.Options
	now     func() time.Time // for the age of cached objects

	authTokens   int   // whose verdicts are remembered
	authMemory   int64 // for them, in bytes
	limitClients int   // remembered by each limit

	inFlight *atomic.Int64 // counts the requests under way
}

// newGeneration compiles c. It opens no connection; start does. What old has that
// serves for the same is taken over; old may be nil.
func newGeneration(c *config.Config, o *generationOptions, old *generation) (*generation, error) {
	gen := &generation{
		number:    1,
		loaded:    time.Now(),
		config:    c,
		byName:    make(map[string]*bucket),
		budgets:   make(budgets),
		trusted:   c.Server.TrustedProxies,
		verifiers: make(map[*config.JWT]*auth.Verifier),
		tokens:    auth.NewTokenCache(o.authTokens, o.authMemory),
	}
	if old != nil {
		gen.number = old.number + 1
	}
	var before budgets
	if old != nil {
		before = old.budgets
	}
	var routes route.Builder[bucket]
	for i := range c.Buckets {
		b, err := newBucket(&c.Buckets[i], o, c.Server.Ready != "config", old)
		if err == nil {
			gen.buckets = append(gen.buckets, b)
			gen.byName[b.name] = b
			if cc := c.Buckets[i].Cache; cc != nil && cc.Enabled {
				b.cached = newBucketCache(gen.budgets.of(before, b.name, cc, o.now), b.origin, cc)
			}
			err = gen.protect(b, &c.Buckets[i].Auth, &o.auth, old)
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
	gen.limit(old, o.limitClients, o.inFlight)
	gen.table = routes.Build()
	return gen, nil
}

// protect gives b the policy for a.
func (gen *generation) protect(b *bucket, a *config.Auth, o *auth.Options, old *generation) error {
	if !a.Enabled {
		return nil
	}
	v := gen.verifiers[a.JWT]
	if v == nil {
		v = old.verifierFor(a.JWT)
	}
	if v == nil {
		var err error
		if v, err = auth.NewVerifier(a.JWT, *o); err != nil {
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
	startCredentials(ctx, gen.origins())
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

// errStopping is why a generation does not start at the end.
var errStopping = errors.New("the gateway is stopping")

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
func newBucket(c *config.Bucket, o *generationOptions, probed bool, old *generation) (*bucket, error) {
	origin, err := newOriginBucket(c, o.origins, probed, old.origin(c.Name))
	if err != nil {
		return nil, err
	}
	return &bucket{name: c.Name, prefix: c.PathPrefix, origin: origin, allowQuery: c.S3.AllowQuery, metrics: o.origins.metrics.bucket(c.Name)}, nil
}

// Close closes the idle upstream connections and stops fetching key sets;
// exchanges under way finish, and no new one starts.
func (gen *generation) Close() {
	for _, v := range gen.verifiers {
		v.Close()
	}
	for b := range gen.origins() {
		b.close()
	}
}

// origins yields the origins of all buckets.
func (gen *generation) origins() iter.Seq[*originBucket] {
	return func(yield func(*originBucket) bool) {
		for _, b := range gen.buckets {
			if !yield(b.origin) {
				return
			}
		}
	}
}

// origin returns the origin of the bucket of a name; nil if there is none.
func (gen *generation) origin(name string) *originBucket {
	if b := gen.bucket(name); b != nil {
		return b.origin
	}
	return nil
}

// abort ends the exchanges under way, and lets none begin. Those of earlier generations end
// with their clients or by their origins' timeouts.
func (gen *generation) abort() {
	for b := range gen.origins() {
		b.abort()
	}
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
		b.origin.retire(successor.origin(b.name))
	}
}

// emptied returns the buckets that gen has in common with old, and whose objects in
// old's caches it cannot find.
func (gen *generation) emptied(old *generation) []string {
	names := []string{}
	for _, b := range gen.buckets {
		before := old.bucket(b.name)
		if before == nil || before.cached == nil {
			continue
		}
		if !b.cached.sees(before.cached) {
			names = append(names, b.name)
		}
	}
	return names
}
