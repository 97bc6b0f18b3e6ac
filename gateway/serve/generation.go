package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/media"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/route"
	"yatagarasu/gateway/web"
)

// Generation is one configuration, compiled for requests. It never changes, so it is safe for
// concurrent use; a request uses one generation from start to end. Get one by NewGeneration;
// Retire or Close ends it.
type Generation struct {
	Number  int64 // from 1
	Loaded  time.Time
	Config  *config.Config // the file's, with flags and fixed settings applied
	Table   *route.Table[Bucket]
	Buckets []*Bucket
	byName  map[string]*Bucket
	Budgets fill.Budgets
	Trusted request.TrustedProxies
	https   bool // some clients may have to come again by https
	limits  *scope

	verifiers map[*access.JWT]*auth.Verifier // one for each jwt block in use
	tokens    *auth.TokenCache
	guard     *auth.Guard
}

// Bucket is a mounted bucket. It does not change, and is safe for concurrent use.
type Bucket struct {
	Name        string
	Prefix      string
	Origin      *origin.Bucket
	Keys        request.Keys
	AllowQuery  []string
	Policy      *auth.Policy      // nil: public
	Cached      *fill.Cache       // nil: nothing is kept
	Site        *web.Site         // nil: it adds nothing to its answers
	Website     *web.Website      // of Site; nil: objects alone are served
	Maintenance *web.Maintenance  // of Site; nil: it is served
	Compressed  *fill.Compression // nil: nothing is
	Pages       *fill.Pages       // of folders; nil: they have no listings
	Limits      *scope
	Metrics     *observe.BucketMetrics
}

// GenerationOptions are the parts of a generation that its configuration does not have.
type GenerationOptions struct {
	Origins *origin.Shared
	Auth    auth.Options
	Now     func() time.Time // for the age of cached objects

	Compressor *fill.Compressor
	Node       *cluster.Node // of this process among several gateways; nil: there is only this one

	AuthTokens   int   // tokens whose verdicts are remembered
	AuthMemory   int64 // memory for them, in bytes
	LimitClients int   // clients that each limit remembers

	InFlight *atomic.Int64 // counts the requests under way
}

// NewGeneration compiles c. It opens no connection; Start does. Parts of old, which may be
// nil, that are for the same are taken over.
func NewGeneration(c *config.Config, o *GenerationOptions, old *Generation) (*Generation, error) {
	if old == nil {
		old = &Generation{limits: &scope{InFlight: o.InFlight}}
	}
	server := &c.Server
	gen := &Generation{
		Number:    old.Number + 1,
		Loaded:    time.Now(),
		Config:    c,
		byName:    make(map[string]*Bucket),
		Budgets:   make(fill.Budgets),
		Trusted:   server.TrustedProxies,
		https:     server.RequireHTTPS || server.HTTPS.Enabled,
		limits:    newScope(old.limits, server.Limits.Rates, server.Limits.MaxInFlight, o.LimitClients, server.Allow, server.Deny, o.Node.SharesLimits()),
		verifiers: make(map[*access.JWT]*auth.Verifier),
		tokens:    auth.NewTokenCache(o.AuthTokens, o.AuthMemory),
		guard:     auth.NewGuard(server.Limits.TokenFailures, o.LimitClients, old.guard),
	}
	var routes route.Builder[Bucket]
	for i := range c.Buckets {
		if err := gen.add(&c.Buckets[i], o, old, &routes); err != nil {
			gen.Retire(old)
			return nil, err
		}
	}
	gen.Table = routes.Build()
	return gen, nil
}

// add compiles the bucket of c and mounts it.
func (gen *Generation) add(c *config.Bucket, o *GenerationOptions, old *Generation, routes *route.Builder[Bucket]) error {
	before := cmp.Or(old.Bucket(c.Name), new(Bucket))
	asked, err := origin.NewBucket(c.Name, &c.S3, media.New(c.ContentTypes.Guess, c.ContentTypes.Map), o.Origins, gen.Config.Server.Ready != "config", before.Origin)
	if err != nil {
		return fmt.Errorf("cannot set up bucket %q: %w", c.Name, err)
	}
	b := &Bucket{
		Name: c.Name, Prefix: c.PathPrefix, Origin: asked, AllowQuery: c.S3.AllowQuery, Metrics: o.Origins.Metrics.Bucket(c.Name),
		Keys:   request.Keys{Prefix: asked.LongestPrefix(), EmptySegments: c.S3.EmptySegments != "refuse"},
		Limits: newScope(before.Limits, c.Limits.Rates, c.Limits.MaxInFlight, o.LimitClients, c.Allow, c.Deny, o.Node.SharesLimits()),
	}
	if b.Site = web.New(&c.Site, c.PathPrefix, fill.InObjects); b.Site != nil {
		b.Website, b.Maintenance = b.Site.Website, b.Site.Maintenance
	}
	if c.Listing.Enabled {
		b.Pages = fill.NewPages(int(web.NumFormats), o.Now, before.Pages)
	}
	gen.Buckets = append(gen.Buckets, b)
	gen.byName[b.Name] = b
	if c.Cache != nil && c.Cache.Enabled {
		b.Cached = fill.NewCache(gen.Budgets.For(old.Budgets, b.Name, c.Cache, o.Now, o.Node.LeaseOrNil()), asked, c.Cache, o.Node)
	}
	b.Compressed = fill.NewCompression(&c.Compress, b.Cached, o.Compressor)
	if c.Auth.Enabled {
		v, err := gen.verifierFor(c.Auth.JWT, &o.Auth, old)
		if err != nil {
			return fmt.Errorf("cannot set up bucket %q: %w", b.Name, err)
		}
		b.Policy = auth.NewPolicy(&c.Auth, b.Name, v, gen.tokens, gen.guard)
	}
	hosts := c.Hosts
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	for _, host := range hosts {
		if err := routes.Add(host, b.Prefix, b); err != nil {
			return fmt.Errorf("cannot mount bucket %q: %w", b.Name, err)
		}
	}
	return nil
}

// verifierFor returns the verifier for j: gen's own, or old's for an equal block, or a new one.
// Keys in a file may have changed: such a block gets a new one.
func (gen *Generation) verifierFor(j *access.JWT, o *auth.Options, old *Generation) (v *auth.Verifier, err error) {
	if v = gen.verifiers[j]; v != nil {
		return v, nil
	}
	for own, known := range old.verifiers {
		if j.JWKSFile == "" && reflect.DeepEqual(own, j) {
			v = known
		}
	}
	if v == nil {
		if v, err = auth.NewVerifier(j, *o); err != nil {
			return nil, err
		}
		for _, known := range old.verifiers {
			v.Inherit(known) // while the endpoint is down, the rest of a jwt block can change all the same
		}
	}
	gen.verifiers[j] = v
	return v, nil
}

// Start fetches what the first request needs: credentials, without which a bucket can be for
// a while, and the key sets that old, which may be nil, does not have. Those of old are fetched
// anew, but stay if that fails. ctx ends with the gateway: then no key set is fetched any more.
func (gen *Generation) Start(ctx context.Context, old *Generation) error {
	stop := context.AfterFunc(ctx, func() {
		for _, v := range gen.verifiers {
			v.Close()
		}
	})
	defer stop()
	origin.StartCredentials(ctx, gen.Origins())
	for _, v := range gen.verifiers {
		if old != nil && old.verifies(v) {
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

// ErrStopping is the error of a generation that starts while the gateway stops.
var ErrStopping = errors.New("the gateway is stopping")

// KeySets yields the names of the key sets that tokens are verified with, and of each when it
// was last fetched, zero before that, and how long after that it is trusted; 0: for good. Of
// several jwt blocks with the same one it is the one that was fetched first.
func (gen *Generation) KeySets() iter.Seq2[string, KeySet] {
	sets := make(map[string]KeySet)
	for _, v := range gen.verifiers {
		name, fetched, maxAge := v.KeySet()
		if other, there := sets[name]; name != "" && (!there || fetched.Before(other.Fetched)) {
			sets[name] = KeySet{fetched, maxAge}
		}
	}
	return func(yield func(string, KeySet) bool) {
		for _, name := range slices.Sorted(maps.Keys(sets)) {
			if !yield(name, sets[name]) {
				return
			}
		}
	}
}

// KeySet is the state of a key set.
type KeySet struct {
	Fetched time.Time
	MaxAge  time.Duration
}

// verifies tells whether v is one of gen's verifiers.
func (gen *Generation) verifies(v *auth.Verifier) bool {
	return slices.Contains(slices.Collect(maps.Values(gen.verifiers)), v)
}

// Admits tells whether the lists of addresses for all buckets admit a client.
func (gen *Generation) Admits(client netip.Addr) bool { return gen.limits.addresses.Allow(client) }

// Bucket returns the bucket of a name; nil if there is none.
func (gen *Generation) Bucket(name string) *Bucket { return gen.byName[name] }

// Close closes the idle connections to origins and stops fetching key sets. Fetches under way
// go on; no new one begins.
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

// Abort ends the fetches under way, and lets none begin. Those of earlier generations end with
// their clients or by their origins' timeouts.
func (gen *Generation) Abort() {
	for b := range gen.Origins() {
		b.Abort()
	}
}

// Retire closes the parts of gen that successor has not taken over. Requests that hold gen are
// served to their end: their connections close with them, tokens are verified with the keys
// at hand, and the rest is garbage after the last request.
func (gen *Generation) Retire(successor *Generation) {
	for _, v := range gen.verifiers {
		if !successor.verifies(v) {
			v.Close()
		}
	}
	for _, b := range gen.Buckets {
		next := cmp.Or(successor.Bucket(b.Name), new(Bucket))
		b.Origin.Retire(next.Origin)
	}
}

// Emptied returns the names of the buckets, in both gen and old, whose cached objects gen
// cannot find.
func (gen *Generation) Emptied(old *Generation) []string {
	names := []string{}
	for _, b := range gen.Buckets {
		if before := old.Bucket(b.Name); before != nil && before.Cached != nil && !b.Cached.FindsObjectsOf(before.Cached) {
			names = append(names, b.Name)
		}
	}
	return names
}
