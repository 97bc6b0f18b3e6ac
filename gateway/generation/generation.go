// Package generation makes of a configuration what requests are served by, starts it, and lets go of
// it behind the next. Begin with New.
package generation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/introspect"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/listing"
	"yatagarasu/gateway/media"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/route"
	"yatagarasu/gateway/serve"
	"yatagarasu/gateway/web"
)

// Options are the parts of a generation that its configuration does not have.
type Options struct {
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

// New compiles c. It opens no connection; Start does. Parts of old, which may be
// nil, that are for the same are taken over.
func New(c *config.Config, o *Options, old *serve.Generation) (*serve.Generation, error) {
	if old == nil {
		old = &serve.Generation{Limits: &limit.Scope{InFlight: o.InFlight}}
	}
	server := &c.Server
	m := maker{Options: o, old: old, tokens: auth.NewTokenCache(o.AuthTokens, o.AuthMemory), gen: &serve.Generation{
		Number:    old.Number + 1,
		Loaded:    time.Now(),
		Config:    c,
		ByName:    make(map[string]*serve.Bucket),
		Budgets:   make(fill.Budgets),
		Trusted:   server.TrustedProxies,
		HTTPS:     server.RequireHTTPS || server.HTTPS.Enabled,
		Limits:    limit.NewScope(o.bounds(&server.Limits.Rates, server.Limits.MaxInFlight, server.Allow, server.Deny), old.Limits),
		Verifiers: make(map[*access.JWT]*auth.Verifier),
		Guard:     auth.NewGuard(server.Limits.TokenFailures, o.LimitClients, old.Guard),
	}}
	for i := range c.Buckets {
		if err := m.add(&c.Buckets[i]); err != nil {
			Retire(m.gen, old)
			return nil, err
		}
	}
	m.gen.Table = m.routes.Build()
	return m.gen, nil
}

// maker has what a generation is made of.
type maker struct {
	*Options
	gen, old *serve.Generation
	tokens   *auth.TokenCache
	routes   route.Builder[serve.Bucket]
}

// bounds returns what a scope is limited by.
func (o *Options) bounds(r *frontend.Rates, inFlight int, allow, deny []netip.Prefix) *limit.Bounds {
	return &limit.Bounds{
		All: limit.Limit(r.All), PerAddress: limit.Limit(r.PerAddress), PerSubject: limit.Limit(r.PerSubject), Clients: o.LimitClients,
		MaxInFlight: inFlight, Allow: allow, Deny: deny, Shared: o.Node.SharesLimits(),
	}
}

// add compiles the bucket of c and mounts it.
func (m *maker) add(c *config.Bucket) error {
	before := cmp.Or(m.old.ByName[c.Name], new(serve.Bucket))
	asked, err := origin.NewBucket(c.Name, &c.S3, media.New(c.ContentTypes.Guess, c.ContentTypes.Map), m.Origins, m.gen.Config.Server.Ready != "config", before.Origin)
	if err != nil {
		return fmt.Errorf("cannot set up bucket %q: %w", c.Name, err)
	}
	b := &serve.Bucket{
		Name: c.Name, Prefix: c.PathPrefix, Origin: asked, AllowQuery: c.S3.AllowQuery, Metrics: m.Origins.Metrics.Bucket(c.Name),
		Keys:   request.Keys{Prefix: asked.LongestPrefix(), EmptySegments: c.S3.EmptySegments != "refuse"},
		Limits: limit.NewScope(m.bounds(&c.Limits.Rates, c.Limits.MaxInFlight, c.Allow, c.Deny), before.Limits),
	}
	if b.Site = web.New(&c.Site, c.PathPrefix, fill.InObjects); b.Site != nil {
		b.Website, b.Maintenance = b.Site.Website, b.Site.Maintenance
	}
	m.gen.Buckets = append(m.gen.Buckets, b)
	m.gen.ByName[b.Name] = b
	if c.Cache != nil && c.Cache.Enabled {
		b.Cached = fill.NewCache(m.gen.Budgets.For(m.old.Budgets, b.Name, c.Cache, m.Now, m.Node.LeaseOrNil()), asked, c.Cache, m.Node)
	}
	b.Compressed = fill.NewCompression(&c.Compress, b.Cached, m.Compressor)
	if c.Auth.Enabled {
		v, err := m.verifierFor(c.Auth.JWT)
		if err != nil {
			return fmt.Errorf("cannot set up bucket %q: %w", b.Name, err)
		}
		b.Policy = auth.NewPolicy(&c.Auth, b.Name, v, m.tokens, m.gen.Guard)
		if c.Auth.JWT.Introspection.Enabled {
			b.Policy.OnAsked(counter(b.Metrics))
		}
	}
	if c.Listing.Enabled {
		b.Pages = listing.New(&listing.Options{Prefix: b.Prefix, Origin: asked, Keys: b.Keys, Listing: b.Site.Listing, Private: b.Policy != nil, Now: m.Now}, before.Pages)
	}
	hosts := c.Hosts
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	for _, host := range hosts {
		if err := m.routes.Add(host, b.Prefix, b); err != nil {
			return fmt.Errorf("cannot mount bucket %q: %w", b.Name, err)
		}
	}
	return nil
}

// counter returns a function that counts the look-ups at a bucket's issuer.
func counter(of *observe.BucketMetrics) func(outcome introspect.Outcome, took time.Duration) {
	i := of.IntrospectionsBy(introspect.Outcomes[:])
	return func(outcome introspect.Outcome, took time.Duration) {
		i.Count(int(outcome))
		if outcome != introspect.Skipped {
			i.Duration.Observe(took)
		}
	}
}

// verifierFor returns the verifier for j: the generation's own, or that of the old one for an equal block, or a new one.
// Keys in a file may have changed: such a block gets a new one.
func (m *maker) verifierFor(j *access.JWT) (v *auth.Verifier, err error) {
	if v = m.gen.Verifiers[j]; v != nil {
		return v, nil
	}
	for own, known := range m.old.Verifiers {
		if j.JWKSFile == "" && reflect.DeepEqual(own, j) {
			v = known
		}
	}
	if v == nil {
		if v, err = auth.NewVerifier(j, m.Auth); err != nil {
			return nil, err
		}
		for _, known := range m.old.Verifiers {
			v.Inherit(known) // while the endpoint is down, the rest of a jwt block can change all the same
		}
	}
	m.gen.Verifiers[j] = v
	return v, nil
}

// Start fetches what the first request to gen needs: credentials, without which a bucket can be for
// a while, and the key sets that old, which may be nil, does not have. Those of old are fetched
// anew, but stay if that fails. ctx ends with the gateway: then no key set is fetched any more.
func Start(ctx context.Context, gen, old *serve.Generation) error {
	stop := context.AfterFunc(ctx, func() {
		for _, v := range gen.Verifiers {
			v.Close()
		}
	})
	defer stop()
	origin.StartCredentials(ctx, gen.Origins())
	for _, v := range gen.Verifiers {
		if old != nil && verifies(old, v) {
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

// verifies tells whether v is one of gen's verifiers.
func verifies(gen *serve.Generation, v *auth.Verifier) bool {
	return slices.Contains(slices.Collect(maps.Values(gen.Verifiers)), v)
}

// Close closes the idle connections of gen to origins and stops fetching its key sets. Fetches under way
// go on; no new one begins.
func Close(gen *serve.Generation) {
	for _, v := range gen.Verifiers {
		v.Close()
	}
	for b := range gen.Origins() {
		b.Close()
	}
}

// Abort ends the fetches of gen that are under way, and lets none begin. Those of earlier generations end with
// their clients or by their origins' timeouts.
func Abort(gen *serve.Generation) {
	for b := range gen.Origins() {
		b.Abort()
	}
}

// Retire closes the parts of gen that successor has not taken over. Requests that hold gen are
// served to their end: their connections close with them, tokens are verified with the keys
// at hand, and the rest is garbage after the last request.
func Retire(gen, successor *serve.Generation) {
	for _, v := range gen.Verifiers {
		if !verifies(successor, v) {
			v.Close()
		}
	}
	for _, b := range gen.Buckets {
		next := cmp.Or(successor.ByName[b.Name], new(serve.Bucket))
		b.Origin.Retire(next.Origin)
	}
}

// Emptied returns the names of the buckets, in both gen and old, whose cached objects gen
// cannot find.
func Emptied(gen, old *serve.Generation) []string {
	names := []string{}
	for _, b := range gen.Buckets {
		if before := old.ByName[b.Name]; before != nil && before.Cached != nil && !b.Cached.FindsObjectsOf(before.Cached) {
			names = append(names, b.Name)
		}
	}
	return names
}
