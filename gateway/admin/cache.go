package admin

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"yatagarasu/cache"
	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
)

// purgeCall is the body of a purge. One of Key, Prefix, Tag and All is set.
type purgeCall struct {
	Bucket string  `json:"bucket"` // empty: every bucket
	Key    *string `json:"key"`    // of one object, in all its versions
	Prefix *string `json:"prefix"` // of the keys of objects
	Tag    *string `json:"tag"`    // of objects
	All    bool    `json:"all"`
	Soft   bool    `json:"soft"` // objects become stale, and stay
}

// PurgeReply says what a purge did.
type PurgeReply struct {
	Purged  int            `json:"purged"` // objects of this gateway
	Soft    bool           `json:"soft"`
	Buckets map[string]int `json:"buckets"`
	*Shared
}

// Shared says how far a purge has come among several gateways.
type Shared struct {
	Position  uint64 `json:"position"` // of the purge in the log
	Nodes     int    `json:"nodes"`
	Confirmed int    `json:"confirmed"` // gateways that have made it
}

// purge drops the objects that the body or the path names; all, if neither does.
func (r *call) purge() (any, error) {
	c := purgeCall{All: len(r.args) < 2}
	switch {
	case len(r.args) == 2:
		c.Bucket, c.Key = r.args[0], &r.args[1]
	case len(r.args) == 1:
		c.Bucket = r.args[0]
	case len(r.body) > 0:
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
	case max(lengthOf(c.Key), lengthOf(c.Prefix), lengthOf(c.Tag)) > request.MaxKeyLen:
		return nil, badCall("a key, prefix or tag has %d bytes at most", request.MaxKeyLen)
	}
	q, err := r.query("soft")
	if err != nil {
		return nil, err
	}
	if v := q.Get("soft"); v != "" {
		if c.Soft, err = strconv.ParseBool(v); err != nil {
			return nil, badCall("soft must be true or false, not %q", v)
		}
	}
	buckets, err := r.buckets(c.Bucket)
	if err != nil {
		return nil, err
	}
	reply := &PurgeReply{Soft: c.Soft, Buckets: make(map[string]int)}
	p, in := c.purge(), new(cache.Purges)
	p.AddTo(in)
	purge := func() {
		for _, b := range buckets {
			n := r.a.Generation.Load().Budgets.Purge(b.Name, in, c.Soft)
			reply.Buckets[b.Name] = n
			reply.Purged += n
		}
	}
	if r.a.Cluster == nil {
		purge()
	} else {
		err = r.share(p, reply, purge)
	}
	event := r.a.Log.Info().Int("purged", reply.Purged).Bool("soft", c.Soft).Str("bucket", c.Bucket)
	for name, value := range map[string]*string{"key": c.Key, "prefix": c.Prefix, "tag": c.Tag} {
		if value != nil {
			event = event.Str(name, *value)
		}
	}
	event.Bytes("request_id", r.x.ID).Msg("cache purged")
	return reply, err
}

func lengthOf(s *string) int {
	if s == nil {
		return 0
	}
	return len(*s)
}

// purge returns the purge of a call that is sound.
func (c *purgeCall) purge() *cluster.Purge {
	p := &cluster.Purge{Bucket: c.Bucket, Kind: cluster.All, Soft: c.Soft}
	switch {
	case c.Key != nil:
		p.Kind, p.Name = cluster.Key, []byte(*c.Key)
	case c.Prefix != nil:
		p.Kind, p.Name = cluster.Prefix, []byte(*c.Prefix)
	case c.Tag != nil:
		p.Kind, p.Name = cluster.Tag, []byte(*c.Tag)
	}
	return p
}

// share makes a purge here, by purge, and has the other gateways make it.
func (r *call) share(p *cluster.Purge, reply *PurgeReply, purge func()) error {
	receipt, err := r.a.Cluster.Publish(p, purge)
	if err != nil {
		r.a.Log.Error().Bytes("request_id", r.x.ID).Err(err).Msg("a purge is not shared as it should be")
		if errors.Is(err, cluster.ErrNotReplicated) {
			return problem.PurgeNotReplicated
		}
		return problem.PurgeNotShared
	}
	reply.Shared = &Shared{Position: receipt.Position, Nodes: receipt.Nodes, Confirmed: receipt.Confirmed}
	return nil
}

// BucketCacheStats are the figures of one bucket's objects in the cache.
type BucketCacheStats struct {
	Bucket   string            `json:"bucket"`
	Enabled  bool              `json:"enabled"`
	Entries  int64             `json:"entries"`
	Bytes    int64             `json:"bytes"`
	Requests map[string]uint64 `json:"requests"`  // by outcome, since start
	HitRatio float64           `json:"hit_ratio"` // part of the cacheable requests that were answered without the origin
}

// cacheStats answers with the figures of all buckets, or of the one in the path.
func (r *call) cacheStats() (any, error) {
	buckets, err := r.buckets(strings.Join(r.args, ""))
	if err != nil {
		return nil, err
	}
	gen := r.a.Generation.Load()
	budgets := slices.DeleteFunc(budgetStats(gen), func(s BudgetStats) bool {
		return len(r.args) > 0 && (buckets[0].Cached == nil || buckets[0].Cached.Budget != gen.Budgets[s.Bucket])
	})
	stats := []BucketCacheStats{}
	_, tallies := r.a.Metrics.Totals()
	for _, b := range r.a.figuresOf(buckets) {
		t := tallies[b.Name]
		ratio, _ := observe.HitRatio(&t.Outcomes)
		stats = append(stats, BucketCacheStats{
			Bucket: b.Name, Enabled: b.Cached != nil, Entries: b.memory.Entries, Bytes: b.memory.Bytes,
			Requests: outcomesOf(&t), HitRatio: ratio,
		})
	}
	return struct {
		Budgets []BudgetStats      `json:"budgets"`
		Buckets []BucketCacheStats `json:"buckets"`
	}{budgets, stats}, nil
}

// EntryReply describes one entry of a cache.
type EntryReply struct {
	Bucket       string   `json:"bucket"`
	Key          string   `json:"key"`
	Status       int      `json:"status"`
	Stored       bool     `json:"stored"` // false: the entry is a note that the object cannot be stored
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

// cacheEntry describes the entry of an object.
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
	f := b.Cached.Cache.FreshnessAt(o, now)
	reply := EntryReply{
		Bucket: b.Name, Key: q.Get("key"), Status: o.Status, Stored: o.Status != fill.StatusPass,
		BodyBytes: len(o.Body), Bytes: o.Size(), ETag: o.ETag, LastModified: o.LastModified,
		Header: []string{}, Tags: append([]string{}, o.Tags...),
		State: f.State(now).String(), SoftPurged: o.Stale(),
		Age: f.Age(now), TTL: f.TTL(f.Age(now)), Hits: hits,
	}
	for name, value := range fill.Lines(o.Header) {
		reply.Header = append(reply.Header, string(name)+": "+string(value))
	}
	return &reply, nil
}
