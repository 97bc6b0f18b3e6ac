package config

import (
	"strings"
	"time"

	"yatagarasu/gateway/config/file"
)

// Cache is the policy of the in-memory cache for one bucket, or the default of
// all of them.
type Cache struct {
	// Enabled stores and serves objects from memory. Default false.
	Enabled bool

	// TTL is the freshness of objects that do not state their own. Default 3600 s.
	TTL time.Duration

	// MaxTTL is the longest freshness of an object, whatever it states. Default 720 h, or
	// TTL where that is more.
	MaxTTL time.Duration `least:"1s"`

	// MaxSize bounds the memory of objects, bookkeeping included. Default 256 MB.
	MaxSize file.Size

	// OwnBudget reserves MaxSize for the bucket alone; all buckets without it share
	// one budget.
	OwnBudget bool `key:"-"`

	// MaxObjectSize is the largest object that is stored, at most half of
	// MaxSize. Default 10 MB, or half of MaxSize where that is less.
	MaxObjectSize file.Size

	// StaleWhileRevalidate is the time past its freshness in which an object is served
	// while a new copy is fetched. Default 0: none.
	StaleWhileRevalidate time.Duration

	// StaleIfError is the time past its freshness in which an object is served when the
	// origin fails. Default 0: none.
	StaleIfError time.Duration

	// NegativeTTL is the freshness of a 404. Default 0: none is stored.
	NegativeTTL time.Duration

	// Policy is the eviction policy: "lru" or "tinylfu". It belongs to a budget: to the
	// global block, and to buckets with a MaxSize of their own. Default "tinylfu".
	Policy string `of:"lru, tinylfu"`

	// ClientDirectives obeys the Cache-Control of requests. Default false: clients could
	// hammer the origin with it.
	ClientDirectives bool

	// Ignore are the headers of origins that say nothing about freshness here, which is then TTL
	// where none of the others settles it. Clients get them all the same. Default: none.
	Ignore Ignored `key:"ignore" form:"-"`

	// FillOnRange fetches the whole object in the background after a range request for
	// an object that is not stored. Default false.
	FillOnRange bool

	// Shared keeps the bucket's small objects at Valkey, too, for all gateways. It takes effect
	// with Cluster.Store.Enabled, which needs a restart: after a reload it may be alone. In a
	// bucket, it is false unless Enabled. Default false.
	Shared bool
}

// Ignored are headers of an origin that do not count for the cache.
type Ignored struct{ CacheControl, Expires bool }

// Check decodes ignore. What is decoded here replaces what the global block has.
func (c *Cache) Check(d *file.Decoder, o file.Object) {
	if o.Has("ignore") {
		c.Ignore = Ignored{}
	}
	o.StringOrList("ignore", func(n *file.Node, text string, fromEnv bool) {
		switch strings.ToLower(text) {
		case "cache-control":
			c.Ignore.CacheControl = true
		case "expires":
			c.Ignore.Expires = true
		default:
			d.Fail(n, "unknown header"+file.QuotedWord(text, fromEnv), "use one of: cache-control, expires")
		}
	})
}

// names returns the headers of i, as the file has them.
func (i Ignored) names() (names []string) {
	if i.CacheControl {
		names = append(names, "cache-control")
	}
	if i.Expires {
		names = append(names, "expires")
	}
	return names
}

// cacheBlock is a cache block, and how it was written.
type cacheBlock struct {
	Cache
	set      bool       // the block or the global one is there
	explicit bool       // enabled is written here or in the global block
	maxTTL   bool       // max_ttl is written here or in the global block
	used     bool       // for the global block: a bucket's cache is enabled
	at       *file.Node // nil: the block is not there

	sharing []*file.Node // for the global block: where it and those of buckets have shared: true
}

const (
	defaultMaxSize file.Size = 256e6
	minCacheSize   file.Size = 64 << 10 // below it, a cache can hold next to nothing

	// An object that is deleted or replaced is served no longer than this, if nobody purges
	// it: what uploaders write into max-age, a year as a rule, is seldom meant for that.
	defaultMaxTTL = 30 * 24 * time.Hour
	longestMaxTTL = 10 * 365 * 24 * time.Hour
)

// decodeCache decodes a bucket's cache block over defaults, or the global one,
// for which defaults is nil.
func decodeCache(d *file.Decoder, n *file.Node, defaults *cacheBlock) cacheBlock {
	b := cacheBlock{Cache: Cache{TTL: 3600 * time.Second, MaxTTL: defaultMaxTTL, MaxSize: defaultMaxSize, MaxObjectSize: 10e6, Policy: "tinylfu"}}
	if defaults != nil {
		b = *defaults
	}
	inherited := b.Shared
	b.Shared = false
	o := d.Fill(n, "cache", &b.Cache)
	if !o.Has("shared") {
		b.Shared = inherited
	}
	b.at = o.Node
	b.set = b.set || n != nil
	b.explicit = b.explicit || o.Has("enabled")
	b.maxTTL = b.maxTTL || o.Has("max_ttl")
	checkMaxTTL(d, o, &b)
	b.OwnBudget = defaults != nil && o.Has("max_size")
	if at := o.Get("max_size"); at != nil && b.MaxSize < minCacheSize {
		d.Fail(at, "is too small to be of use", "write at least "+minCacheSize.String()+", or enabled: false")
		b.MaxSize = defaultMaxSize
	}
	if at := o.Get("policy"); at != nil && defaults != nil && !b.OwnBudget {
		d.Fail(at, "has no effect: the bucket shares its memory with others", "give the bucket a max_size of its own, or set cache.policy")
	}
	if half := b.MaxSize / 2; b.MaxObjectSize > half {
		if at := o.Get("max_object_size"); at != nil {
			d.Fail(at, "is more than half of max_size, which is "+b.MaxSize.String(), "write at most "+half.String()+", or raise max_size")
		}
		b.MaxObjectSize = half
	}

	if at := o.Get("shared"); at != nil && b.Shared {
		if defaults == nil {
			b.sharing = append(b.sharing, at)
		} else {
			defaults.sharing = append(defaults.sharing, at)
		}
		if defaults != nil && b.explicit && !b.Enabled {
			d.Fail(at, "has no effect without a cache", "set cache.enabled: true, or remove it")
		}
	}
	if defaults != nil {
		b.Shared = b.Shared && b.Enabled
		defaults.used = defaults.used || b.Enabled
		if !b.explicit {
			d.NeedEnabled(o)
		}
	}
	return b
}

// checkMaxTTL checks that ttl is within max_ttl. The default gives way.
func checkMaxTTL(d *file.Decoder, o file.Object, b *cacheBlock) {
	switch {
	case o.Has("max_ttl") && b.MaxTTL > longestMaxTTL:
		d.Fail(o.Get("max_ttl"), "is too long", "write at most "+longestMaxTTL.String())
		b.MaxTTL = defaultMaxTTL
	case !b.maxTTL:
		b.MaxTTL = max(defaultMaxTTL, b.TTL)
	case b.TTL <= b.MaxTTL:
	case o.Has("max_ttl"):
		d.Fail(o.Get("max_ttl"), "is less than ttl, which is "+b.TTL.String(), "raise it, or lower ttl")
	case o.Has("ttl"):
		d.Fail(o.Get("ttl"), "is more than max_ttl, which is "+b.MaxTTL.String(), "lower it, or raise max_ttl")
	}
}

// checkCacheUse reports a global block that enables nothing.
func checkCacheUse(d *file.Decoder, global *cacheBlock) {
	if global.at != nil && !global.explicit && !global.used {
		d.NeedEnabled(d.Within(global.at))
	}
}
