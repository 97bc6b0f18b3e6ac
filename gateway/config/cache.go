package config

import "time"

// Cache is the policy of the in-memory cache for one bucket, or the default of
// all of them.
type Cache struct {
	// Enabled stores and serves objects from memory. Default false.
	Enabled bool

	// TTL is how long an object is fresh that does not say so itself. Default
	// 3600 s.
	TTL time.Duration

	// MaxSize bounds the memory that objects take, bookkeeping included. Default
	// 256 MB.
	MaxSize Size

	// OwnBudget says that MaxSize is the bucket's own, for it alone; otherwise
	// it is shared by all buckets without one.
	OwnBudget bool

	// MaxObjectSize is the largest object that is stored, at most half of
	// MaxSize. Default 10 MB, or half of MaxSize where that is less.
	MaxObjectSize Size

	// StaleWhileRevalidate is how long past its freshness an object is still
	// served while a new copy is fetched. Default 0: not at all.
	StaleWhileRevalidate time.Duration

	// StaleIfError is how long past its freshness an object is still served when
	// the origin fails. Default 0: not at all.
	StaleIfError time.Duration

	// NegativeTTL is how long a 404 is remembered. Default 0: not at all.
	NegativeTTL time.Duration
}
