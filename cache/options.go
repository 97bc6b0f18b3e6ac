package cache

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"time"
)

// The policies of a cache.
const (
	PolicyLRU     = "lru"     // the least recently used object goes first
	PolicyTinyLFU = "tinylfu" // and a new one must be asked for as often as the one it displaces
)

// Options describe one cache. MaxBytes is required; a zero in any other field
// takes the default named there.
type Options struct {
	// MaxBytes bounds the sum of Object.Size over all stored objects, at every
	// instant; at least 64 KiB. What was evicted is garbage until the runtime
	// collects it, by default when it amounts to as much as all that is alive:
	// debug.SetMemoryLimit(1.15 * MaxBytes + what the rest of the process needs)
	// keeps the resident set below 1.25 * MaxBytes + 64 MB, guarded by TestMemory.
	MaxBytes int64
	// MaxObjectBytes is the largest body that is stored, at most half of
	// MaxBytes; default: that half.
	MaxObjectBytes int64
	// Policy is PolicyLRU, the default, or PolicyTinyLFU.
	Policy string
	// Shards is the number of independently locked parts, a power of two up to
	// 1024; default one per MiB of MaxBytes, at most 256. It has no effect on
	// what fits.
	Shards int
	// Now is the clock by which soft purges note when they came; default time.Now.
	Now func() time.Time
	// Lease ends the freshness of objects that may have been purged elsewhere; nil: nobody else
	// purges them.
	Lease *Lease
}

const (
	minBytes         = 64 << 10 // below it, a cache can hold next to nothing
	maxShards        = 1024
	maxDefaultShards = 256
)

// setDefaults fills in what is zero.
func (o *Options) setDefaults() {
	o.MaxObjectBytes = cmp.Or(o.MaxObjectBytes, o.MaxBytes/2)
	o.Policy = cmp.Or(o.Policy, PolicyLRU)
	o.Shards = cmp.Or(o.Shards, min(1<<bits.Len64(uint64(o.MaxBytes)>>21), maxDefaultShards))
	if o.Now == nil {
		o.Now = time.Now
	}
}

// validate returns all that is wrong with options whose defaults are set.
func (o *Options) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.MaxBytes >= minBytes, "MaxBytes is %d; use at least %d", o.MaxBytes, minBytes)
	check(o.MaxObjectBytes >= 0 && o.MaxObjectBytes <= o.MaxBytes/2, "MaxObjectBytes is %d; use at most half of MaxBytes, %d", o.MaxObjectBytes, o.MaxBytes/2)
	check(o.Policy == PolicyLRU || o.Policy == PolicyTinyLFU, "Policy is %q; use %q or %q", o.Policy, PolicyLRU, PolicyTinyLFU)
	check(o.Shards > 0 && o.Shards <= maxShards && o.Shards&(o.Shards-1) == 0, "Shards is %d; use a power of two up to %d", o.Shards, maxShards)
	return errors.Join(errs...)
}
