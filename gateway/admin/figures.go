package admin

import (
	"time"

	"yatagarasu/cache"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/probe"
	"yatagarasu/gateway/serve"
	"yatagarasu/pool"
)

// BudgetStats are the figures of one budget of memory.
type BudgetStats struct {
	Bucket        string `json:"bucket"` // the owner; empty: all buckets without a budget of their own
	Policy        string `json:"policy"`
	MaxBytes      int64  `json:"max_bytes"`
	Bytes         int64  `json:"bytes"`
	ArrivingBytes int64  `json:"arriving_bytes"` // of bodies that arrive
	PinnedBytes   int64  `json:"pinned_bytes"`   // of bodies that are read, and are not stored
	Entries       int64  `json:"entries"`
	Lookups       uint64 `json:"lookups"`
	Found         uint64 `json:"found"`
	Stored        uint64 `json:"stored"`
	Rejected      uint64 `json:"rejected"`
	Evicted       uint64 `json:"evicted"`
	EvictedBytes  uint64 `json:"evicted_bytes"`
	Purged        uint64 `json:"purged"`
	Yielded       uint64 `json:"yielded"` // answers that were cut because of their memory
	Fetches       int    `json:"fetches"` // under way
}

// budgetStats returns the figures of all budgets of gen, the shared one first.
func budgetStats(gen *serve.Generation) []BudgetStats {
	list := []BudgetStats{}
	for owner, b := range gen.Budgets.Sorted() {
		var s cache.Stats
		b.Cache.UpdateStats(&s)
		list = append(list, BudgetStats{
			Bucket: owner, Policy: b.Options.Policy, MaxBytes: b.Options.MaxBytes,
			Bytes: s.Bytes, ArrivingBytes: b.Cache.Arriving(), PinnedBytes: b.Cache.Pinned(), Entries: s.Entries,
			Lookups: s.Gets, Found: s.Hits, Stored: s.Puts, Rejected: s.Rejected,
			Evicted: s.Evictions, EvictedBytes: s.EvictedBytes, Purged: s.Purged,
			Yielded: b.Yielded.Load(), Fetches: b.Flights.Len(),
		})
	}
	return list
}

// bucketFigures are a bucket and its figures of the moment.
type bucketFigures struct {
	*serve.Bucket
	memory   cache.Stats // entries and bytes of its objects in the cache
	state    probe.BucketState
	probed   bool // state comes from probes
	replicas []replicaFigures
}

// replicaFigures are a replica of a bucket's origin and its figures of the moment.
type replicaFigures struct {
	*origin.Replica
	pool.Stats
	breaker           pool.BreakerState
	opens             uint64 // of the breaker
	reachable, probed bool
	expires           time.Time // the credential at hand; zero: never
}

// figuresOf returns the figures of buckets.
func (a *Server) figuresOf(buckets []*serve.Bucket) []bucketFigures {
	ready := a.Ready.Load()
	var list []bucketFigures
	for _, bucket := range buckets {
		b := bucketFigures{Bucket: bucket}
		if b.Cached != nil {
			b.Cached.Cache.UpdateGroupStats(b.Name, &b.memory)
		}
		b.state, b.probed = ready.State(b.Origin)
		for _, replica := range b.Origin.Replicas {
			r := replicaFigures{Replica: replica, expires: replica.Credentials.State().Expires}
			r.Upstream.UpdateStats(&r.Stats)
			r.breaker, r.opens = r.Health.Breaker.State()
			r.reachable, r.probed = ready.Reachable(replica)
			b.replicas = append(b.replicas, r)
		}
		list = append(list, b)
	}
	return list
}

// keySet is the state of a key set that tokens are verified with.
type keySet struct {
	fetched time.Time     // when it last was; zero: not yet
	maxAge  time.Duration // how long after that it is trusted; 0: for good
}

// keySets returns the key sets by their names. Of several jwt blocks with the same one it is the one
// that was fetched first.
func keySets(gen *serve.Generation) map[string]keySet {
	sets := make(map[string]keySet)
	for _, v := range gen.Verifiers {
		name, fetched, maxAge := v.KeySet()
		if other, there := sets[name]; name != "" && (!there || fetched.Before(other.fetched)) {
			sets[name] = keySet{fetched, maxAge}
		}
	}
	return sets
}

// issuer is the state of an issuer that judges tokens.
type issuer struct {
	up      bool              // it can be asked
	lookUps map[string]uint64 // since start, by outcome, of the buckets whose tokens it judges
}

// issuersOf returns the issuers that judge tokens by their names. One that several jwt blocks ask is
// up if all of them can ask it.
func issuersOf(gen *serve.Generation) map[string]*issuer {
	issuers := make(map[string]*issuer)
	for i, b := range gen.Buckets {
		v := gen.Verifiers[gen.Config.Buckets[i].Auth.JWT]
		if b.Policy == nil || v == nil {
			continue
		}
		name, failing := v.Introspection()
		if name == "" {
			continue
		}
		is := issuers[name]
		if is == nil {
			is = &issuer{up: true, lookUps: make(map[string]uint64)}
			issuers[name] = is
		}
		is.up = is.up && !failing
		b.Metrics.Introspections.Load().AddTo(is.lookUps)
	}
	return issuers
}
