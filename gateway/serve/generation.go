package serve

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
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/route"
)

// Generation is one configuration, compiled: everything a request needs to know
// of it. It never changes; a request uses one generation from start to end.
type Generation struct {
	Number  int64 // from 1
	Loaded  time.Time
	Config  *config.Config // in effect: with what flags and the start say
	Table   *route.Table[Bucket]
	Buckets []*Bucket
	byName  map[string]*Bucket
	Budgets fill.Budgets
	Trusted request.TrustedProxies
	limits  *scope

	verifiers map[*config.JWT]*auth.Verifier // one for each jwt block in use
	tokens    *auth.TokenCache
}

// Bucket is a mounted bucket. It does not change.
type Bucket struct {
	Name       string
	Prefix     string
	Origin     *origin.Bucket
	AllowQuery []string
	Policy     *auth.Policy // nil: public
	Cached     *fill.Cache  // nil: nothing is kept
	Limits     *scope
	Metrics    *observe.BucketMetrics
}

// GenerationOptions are what a generation needs beside its configuration.
type GenerationOptions struct {
	Origins *origin.Shared
	Auth    auth.Options
	Now     func() time.Time // for the age of cached objects

	AuthTokens   int   // whose verdicts are remembered
	AuthMemory   int64 // for them, in bytes
	LimitClients int   // remembered by each limit

	InFlight *atomic.Int64 // counts the requests under way
}

// NewGeneration compiles c. It opens no connection; start does. What old has that
// serves for the same is taken over; old may be nil.
func NewGeneration(c *config.Config, o *GenerationOptions, old *Generation) (*Generation, error) {
	gen := &Generation{
		Number:    1,
		Loaded:    time.Now(),
		Config:    c,
		byName:    make(map[string]*Bucket),
		Budgets:   make(fill.Budgets),
		Trusted:   c.Server.TrustedProxies,
		verifiers: make(map[*config.JWT]*auth.Verifier),
		tokens:    auth.NewTokenCache(o.AuthTokens, o.AuthMemory),
	}
	if old != nil {
		gen.Number = old.Number + 1
	}
	var before fill.Budgets
	if old != nil {
		before = old.Budgets
	}
	var routes route.Builder[Bucket]
	for i := range c.Buckets {
		b, err := newBucket(&c.Buckets[i], o, c.Server.Ready != "config", old)
		if err == nil {
			gen.Buckets = append(gen.Buckets, b)
			gen.byName[b.Name] = b
			if cc := c.Buckets[i].Cache; cc != nil && cc.Enabled {
				b.Cached = fill.NewCache(gen.Budgets.Of(before, b.Name, cc, o.Now), b.Origin, cc)
			}
			err = gen.protect(b, &c.Buckets[i].Auth, &o.Auth, old)
		}
		if err != nil {
			gen.Retire(old)
			return nil, fmt.Errorf("cannot set up bucket %q: %w", c.Buckets[i].Name, err)
		}
		hosts := c.Buckets[i].Hosts
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		for _, host := range hosts {
			if err := routes.Add(host, b.Prefix, b); err != nil {
				gen.Retire(old)
				return nil, fmt.Errorf("cannot mount bucket %q: %w", b.Name, err)
			}
		}
	}
	gen.limit(old, o.LimitClients, o.InFlight)
	gen.Table = routes.Build()
	return gen, nil
}

// protect gives b the policy for a.
func (gen *Generation) protect(b *Bucket, a *config.Auth, o *auth.Options, old *Generation) error {
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
	b.Policy = auth.NewPolicy(a, b.Name, v, gen.tokens)
	return nil
}

// verifierFor returns the verifier for an equal jwt block; nil if there is none, or
// if its keys are in a file, which may have changed.
func (gen *Generation) verifierFor(j *config.JWT) *auth.Verifier {
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
func (gen *Generation) bequeath(v *auth.Verifier) {
	if gen == nil {
		return
	}
	for _, own := range gen.verifiers {
		v.Inherit(own)
	}
}

// Start fetches what must be there before the first request: credentials, which a
// bucket can be without for a while, and the key sets that old does not have. The
// others are fetched anew, too, but stay if that fails. The end of ctx is that of the
// gateway: no key set is fetched any more.
func (gen *Generation) Start(ctx context.Context, old *Generation) error {
	stop := context.AfterFunc(ctx, func() {
		for _, v := range gen.verifiers {
			v.Close()
		}
	})
	defer stop()
	origin.StartCredentials(ctx, gen.Origins())
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
		return ErrStopping
	}
	return nil
}

// ErrStopping is why a generation does not start at the end.
var ErrStopping = errors.New("the gateway is stopping")

// verifies tells whether v is one of gen's verifiers.
func (gen *Generation) verifies(v *auth.Verifier) bool {
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

// Bucket returns the bucket of a name; nil if there is none.
func (gen *Generation) Bucket(name string) *Bucket {
	if gen == nil {
		return nil
	}
	return gen.byName[name]
}

// newBucket returns the bucket of c; probed says that origins are probed.
func newBucket(c *config.Bucket, o *GenerationOptions, probed bool, old *Generation) (*Bucket, error) {
	origin, err := origin.NewBucket(c, o.Origins, probed, old.origin(c.Name))
	if err != nil {
		return nil, err
	}
	return &Bucket{Name: c.Name, Prefix: c.PathPrefix, Origin: origin, AllowQuery: c.S3.AllowQuery, Metrics: o.Origins.Metrics.Bucket(c.Name)}, nil
}

// Close closes the idle upstream connections and stops fetching key sets;
// exchanges under way finish, and no new one starts.
func (gen *Generation) Close() {
	for _, v := range gen.verifiers {
		v.Close()
	}
	for b := range gen.Origins() {
		b.Close()
	}
}

// Origins yields the origins of all buckets.
func (gen *Generation) Origins() iter.Seq[*origin.Bucket] {
	return func(yield func(*origin.Bucket) bool) {
		for _, b := range gen.Buckets {
			if !yield(b.Origin) {
				return
			}
		}
	}
}

// origin returns the origin of the bucket of a name; nil if there is none.
func (gen *Generation) origin(name string) *origin.Bucket {
	if b := gen.Bucket(name); b != nil {
		return b.Origin
	}
	return nil
}

// Abort ends the exchanges under way, and lets none begin. Those of earlier generations end
// with their clients or by their origins' timeouts.
func (gen *Generation) Abort() {
	for b := range gen.Origins() {
		b.Abort()
	}
}

// Retire lets go of what successor does not go on using. Requests that still hold
// gen are served to their end: connections close with them, tokens are verified with
// the keys at hand, and the rest is garbage once the last of them ended.
func (gen *Generation) Retire(successor *Generation) {
	for _, v := range gen.verifiers {
		if !successor.verifies(v) {
			v.Close()
		}
	}
	for _, b := range gen.Buckets {
		b.Origin.Retire(successor.origin(b.Name))
	}
}

// Emptied returns the buckets that gen has in common with old, and whose objects in
// old's caches it cannot find.
func (gen *Generation) Emptied(old *Generation) []string {
	names := []string{}
	for _, b := range gen.Buckets {
		before := old.Bucket(b.Name)
		if before == nil || before.Cached == nil {
			continue
		}
		if !b.Cached.Sees(before.Cached) {
			names = append(names, b.Name)
		}
	}
	return names
}
