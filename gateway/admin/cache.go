package admin

import (
	"strconv"
	"yatagarasu/cache"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/serve"
)

// purgeCall is the body of a purge: what goes, of which bucket.
type purgeCall struct {
	Bucket string  `json:"bucket"` // empty: every bucket
	Key    *string `json:"key"`    // the object of this key, in all its versions
	Prefix *string `json:"prefix"` // those whose keys begin so
	Tag    *string `json:"tag"`    // those that have the tag
	All    bool    `json:"all"`
	Soft   bool    `json:"soft"` // they become stale instead
}

// PurgeReply says what a purge did.
type PurgeReply struct {
	Purged  int            `json:"purged"`
	Soft    bool           `json:"soft"`
	Buckets map[string]int `json:"buckets"`
}

// purge answers the call whose body says what goes; without one, everything does.
func (r *call) purge() (any, error) {
	c := purgeCall{All: true}
	if len(r.body) > 0 {
		c.All = false
		if err := r.decode(&c); err != nil {
			return nil, err
		}
	}
	chosen := 0
	for _, is := range []bool{c.Key != nil, c.Prefix != nil, c.Tag != nil, c.All} {
		if is {
			chosen++
		}
	}
	switch {
	case chosen != 1:
		return nil, badCall(`say what goes by one of: "key", "prefix", "tag", "all": true`)
	case c.Bucket == "" && (c.Key != nil || c.Prefix != nil):
		return nil, badCall(`a "key" or "prefix" needs the "bucket" that it is in`)
	case c.Key != nil && *c.Key == "", c.Tag != nil && *c.Tag == "":
		return nil, badCall(`"key" and "tag" must not be empty`)
	}
	return r.purgeBy(&c)
}

// purgeBucket answers the short form for a bucket.
func (r *call) purgeBucket() (any, error) {
	return r.purgeBy(&purgeCall{Bucket: r.args[0], All: true})
}

// purgeKey answers the short form for an object.
func (r *call) purgeKey() (any, error) {
	return r.purgeBy(&purgeCall{Bucket: r.args[0], Key: &r.args[1]})
}

func (r *call) purgeBy(c *purgeCall) (any, error) {
	q, err := r.query("soft")
	if err != nil {
		return nil, err
	}
	if v := q.Get("soft"); v != "" {
		if c.Soft, err = strconv.ParseBool(v); err != nil {
			return nil, badCall("soft must be true or false, not %q", v)
		}
	}
	buckets := r.a.Generation.Load().Buckets
	if c.Bucket != "" {
		b, err := r.bucket(c.Bucket)
		if err != nil {
			return nil, err
		}
		buckets = []*serve.Bucket{b}
	}
	reply := PurgeReply{Soft: c.Soft, Buckets: make(map[string]int)}
	for _, b := range buckets {
		n := 0
		// In every budget: the bucket may have been in another before a reload.
		for _, budget := range r.a.Generation.Load().Budgets {
			switch {
			case c.Key != nil:
				n += budget.Cache.PurgeKey(b.Name, []byte(*c.Key), c.Soft)
			case c.Prefix != nil:
				n += budget.Cache.PurgePrefix(b.Name, []byte(*c.Prefix), c.Soft)
			case c.Tag != nil:
				n += budget.Cache.PurgeTag(b.Name, *c.Tag, c.Soft)
			default:
				n += budget.Cache.PurgeGroup(b.Name, c.Soft)
			}
		}
		reply.Buckets[b.Name] = n
		reply.Purged += n
	}
	event := r.a.Log.Info().Int("purged", reply.Purged).Bool("soft", c.Soft).Str("bucket", c.Bucket)
	for name, value := range map[string]*string{"key": c.Key, "prefix": c.Prefix, "tag": c.Tag} {
		if value != nil {
			event = event.Str(name, *value)
		}
	}
	event.Bytes("request_id", r.x.ID).Msg("cache purged")
	return reply, nil
}

// BudgetStats tells of one budget of memory.
type BudgetStats struct {
	Bucket       string `json:"bucket"` // whose own it is; empty: the shared one
	Policy       string `json:"policy"`
	MaxBytes     int64  `json:"max_bytes"`
	Bytes        int64  `json:"bytes"`
	PinnedBytes  int64  `json:"pinned_bytes"` // of bodies that arrive, or are read, and are not stored
	Entries      int64  `json:"entries"`
	Lookups      uint64 `json:"lookups"`
	Found        uint64 `json:"found"`
	Stored       uint64 `json:"stored"`
	Rejected     uint64 `json:"rejected"`
	Evicted      uint64 `json:"evicted"`
	EvictedBytes uint64 `json:"evicted_bytes"`
	Purged       uint64 `json:"purged"`
	Fetches      int    `json:"fetches"` // under way
}

// BucketCacheStats tells of what one bucket has in a cache.
type BucketCacheStats struct {
	Bucket   string            `json:"bucket"`
	Enabled  bool              `json:"enabled"`
	Entries  int64             `json:"entries"`
	Bytes    int64             `json:"bytes"`
	Requests map[string]uint64 `json:"requests"`  // by outcome, since start
	HitRatio float64           `json:"hit_ratio"` // answered without the origin, of those that may be
}

// cacheStats answers with the figures of all buckets, or of one.
func (r *call) cacheStats() (any, error) {
	var reply struct {
		Budgets []BudgetStats      `json:"budgets"`
		Buckets []BucketCacheStats `json:"buckets"`
	}
	buckets := r.a.Generation.Load().Buckets
	if len(r.args) > 0 {
		b, err := r.bucket(r.args[0])
		if err != nil {
			return nil, err
		}
		buckets = []*serve.Bucket{b}
	}
	reply.Budgets, reply.Buckets = []BudgetStats{}, []BucketCacheStats{}
	for owner, budget := range r.a.Generation.Load().Budgets.Sorted() {
		if len(r.args) > 0 && (buckets[0].Cached == nil || buckets[0].Cached.Budget != budget) {
			continue
		}
		reply.Budgets = append(reply.Budgets, statsOf(owner, budget))
	}
	for _, b := range buckets {
		reply.Buckets = append(reply.Buckets, cacheStatsOf(b))
	}
	return &reply, nil
}

func statsOf(owner string, b *fill.Budget) BudgetStats {
	var s cache.Stats
	b.Cache.UpdateStats(&s)
	return BudgetStats{
		Bucket: owner, Policy: b.Options.Policy, MaxBytes: b.Options.MaxBytes,
		Bytes: s.Bytes, PinnedBytes: b.Cache.Pinned(), Entries: s.Entries,
		Lookups: s.Gets, Found: s.Hits, Stored: s.Puts, Rejected: s.Rejected,
		Evicted: s.Evictions, EvictedBytes: s.EvictedBytes, Purged: s.Purged,
		Fetches: b.Flights.Len(),
	}
}

func cacheStatsOf(b *serve.Bucket) BucketCacheStats {
	s := BucketCacheStats{Bucket: b.Name, Enabled: b.Cached != nil, Requests: make(map[string]uint64)}
	if b.Cached != nil {
		var group cache.Stats
		b.Cached.Cache.UpdateGroupStats(b.Name, &group)
		s.Entries, s.Bytes = group.Entries, group.Bytes
	}
	var n [observe.NumOutcomes]uint64
	for o := range observe.NumOutcomes {
		n[o] = b.Metrics.Answers.Count(o)
		s.Requests[observe.Outcomes[o].Name] = n[o]
	}
	s.HitRatio, _ = observe.HitRatio(&n)
	return s
}

// EntryReply tells of one stored object.
type EntryReply struct {
	Bucket       string   `json:"bucket"`
	Key          string   `json:"key"`
	Status       int      `json:"status"`
	Stored       bool     `json:"stored"` // false: a note that it cannot be
	BodyBytes    int      `json:"body_bytes"`
	Bytes        int64    `json:"bytes"` // of memory
	ETag         string   `json:"etag,omitempty"`
	LastModified string   `json:"last_modified,omitempty"`
	Header       []string `json:"header"`
	Tags         []string `json:"tags"`
	State        string   `json:"state"`
	SoftPurged   bool     `json:"soft_purged"`
	Age          int64    `json:"age_seconds"`
	TTL          int64    `json:"ttl_seconds"` // negative once stale
	Hits         int      `json:"hits"`
}

// cacheEntry answers what is stored of an object.
func (r *call) cacheEntry() (any, error) {
	q, err := r.query("bucket", "key", "versionId", "partNumber")
	if err != nil {
		return nil, err
	}
	b, err := r.bucket(q.Get("bucket"))
	if err != nil {
		return nil, err
	}
	if b.Cached == nil {
		return nil, &problem.Problem{Status: 404, Code: "not_cached", Message: "the bucket has no cache"}
	}
	variant, flaw := r.x.Target.AllowedQuery(nil, b.AllowQuery)
	if flaw != nil {
		return nil, flaw
	}
	key := b.Cached.AppendKey(nil, []byte(q.Get("key")), variant)
	o, hits := b.Cached.Cache.Inspect(key)
	if o == nil {
		return nil, &problem.Problem{Status: 404, Code: "not_cached", Message: "the object is not in the cache"}
	}
	now := r.a.Now()
	f := o.FreshnessAt(now)
	reply := EntryReply{
		Bucket: b.Name, Key: q.Get("key"), Status: o.Status, Stored: o.Status != fill.StatusPass,
		BodyBytes: len(o.Body), Bytes: o.Size(), ETag: o.ETag, LastModified: o.LastModified,
		Header: []string{}, Tags: append([]string{}, o.Tags...),
		State: f.State(now).String(), SoftPurged: o.Stale(),
		Age: f.Age(now), TTL: f.TTL(now), Hits: hits,
	}
	for name, value := range fill.Lines(o.Header) {
		reply.Header = append(reply.Header, string(name)+": "+string(value))
	}
	return &reply, nil
}
