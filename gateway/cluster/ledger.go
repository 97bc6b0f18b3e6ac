package cluster

import (
	"bytes"
	"maps"
	"slices"
	"sync"

	"yatagarasu/cache"
	"yatagarasu/gateway/sealed"
)

// ledger knows the last purge of everything that was purged, by its position in the log. The zero
// value knows of no log. Safe for concurrent use.
type ledger struct {
	mu      sync.RWMutex
	log     [16]byte // see sealed.HashLog; zero: none
	from    uint64   // it knows every purge behind this position
	buckets map[string]*purged
	size    int      // keys, prefixes and tags
	pending []*Purge // that this gateway makes, and whose positions are not known yet
}

// purged are the last purges of a bucket.
type purged struct {
	all                  uint64
	keys, prefixes, tags map[string]uint64
	lengths              []int // of prefixes, in order: one look-up for each
}

// maxLedger is how many keys, prefixes and tags a ledger has. Beyond it, purges of the bucket with
// most of them become one of the whole bucket.
const maxLedger = 200_000

// begin makes l the ledger of a log whose purges up to a position are not known.
func (l *ledger) begin(log [16]byte, from uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log, l.from, l.buckets, l.size = log, from, make(map[string]*purged), 0
}

// forget makes l know of no log.
func (l *ledger) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buckets = nil
}

// add notes a purge at a position.
func (l *ledger) add(p *Purge, position uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addLocked(p, position)
}

func (l *ledger) addLocked(p *Purge, position uint64) {
	if l.buckets == nil {
		return
	}
	b := l.buckets[p.Bucket]
	if b == nil {
		b = &purged{keys: make(map[string]uint64), prefixes: make(map[string]uint64), tags: make(map[string]uint64)}
		l.buckets[p.Bucket] = b
	}
	set := func(m map[string]uint64, name string) {
		before := len(m)
		m[name] = max(m[name], position)
		l.size += len(m) - before
	}
	switch p.Kind {
	case Key:
		set(b.keys, string(cache.AppendCollapsed(nil, p.Name)))
	case Prefix:
		name := cache.AppendCollapsed(nil, p.Name)
		set(b.prefixes, string(name))
		b.noteLength(len(name))
	case Tag:
		set(b.tags, string(p.Name))
	default:
		b.all = max(b.all, position)
		l.size -= b.forget(b.all)
	}
	if l.size > maxLedger {
		l.shrink()
	}
}

// forget takes out what was purged up to a position, and returns how much that is.
func (b *purged) forget(position uint64) int {
	before := b.names()
	for _, m := range []map[string]uint64{b.keys, b.prefixes, b.tags} {
		maps.DeleteFunc(m, func(_ string, at uint64) bool { return at <= position })
	}
	b.lengths = b.lengths[:0]
	for prefix := range b.prefixes {
		b.noteLength(len(prefix))
	}
	return before - b.names()
}

// noteLength notes that there is a prefix of a length.
func (b *purged) noteLength(n int) {
	if at, known := slices.BinarySearch(b.lengths, n); !known {
		b.lengths = slices.Insert(b.lengths, at, n)
	}
}

// pend notes a purge that has no position yet.
func (l *ledger) pend(p *Purge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, p)
}

// settle takes a purge back that pend has noted: it is made up to a place in the log. Where l is the
// ledger of another log, that has it.
func (l *ledger) settle(at *place, p *Purge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.log == sealed.HashLog(at.incarnation) {
		l.addLocked(p, at.position)
	}
	l.dropLocked(p)
}

// drop takes a purge back that pend has noted.
func (l *ledger) drop(p *Purge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked(p)
}

func (l *ledger) dropLocked(p *Purge) {
	l.pending = slices.DeleteFunc(l.pending, func(other *Purge) bool { return other == p })
}

// isFor tells whether p is for an object of a bucket, by its name without empty segments.
func (p *Purge) isFor(bucket string, name []byte, tags []string) bool {
	if p.Bucket != "" && p.Bucket != bucket {
		return false
	}
	switch p.Kind {
	case Key:
		return bytes.Equal(name, cache.AppendCollapsed(nil, p.Name))
	case Prefix:
		return bytes.HasPrefix(name, cache.AppendCollapsed(nil, p.Name))
	case Tag:
		return slices.Contains(tags, string(p.Name))
	}
	return true
}

// names returns how many keys, prefixes and tags b has.
func (b *purged) names() int { return len(b.keys) + len(b.prefixes) + len(b.tags) }

// shrink makes one purge of those of the bucket with most of them.
func (l *ledger) shrink() {
	largest := slices.MaxFunc(slices.Collect(maps.Values(l.buckets)), func(a, b *purged) int { return a.names() - b.names() })
	for _, m := range []map[string]uint64{largest.keys, largest.prefixes, largest.tags} {
		for _, at := range m {
			largest.all = max(largest.all, at)
		}
	}
	l.size -= largest.forget(largest.all)
}

// holds tells whether no purge is known, or may be unknown, of an object of a bucket that the origin
// was asked for when every purge of a log up to a position was made.
func (l *ledger) holds(log [16]byte, position uint64, bucket string, name []byte, tags []string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.buckets == nil || log != l.log || position < l.from {
		return false
	}
	if cache.HasEmptySegment(name) {
		name = cache.AppendCollapsed(nil, name)
	}
	if slices.ContainsFunc(l.pending, func(p *Purge) bool { return p.isFor(bucket, name, tags) }) {
		return false
	}
	for _, b := range []*purged{l.buckets[bucket], l.buckets[""]} {
		if b != nil && b.last(name, tags) > position {
			return false
		}
	}
	return true
}

// last returns the position of the last purge of an object, by its name without empty segments.
func (b *purged) last(name []byte, tags []string) uint64 {
	last := max(b.all, b.keys[string(name)])
	for _, n := range b.lengths {
		if n > len(name) {
			break
		}
		last = max(last, b.prefixes[string(name[:n])])
	}
	for _, tag := range tags {
		last = max(last, b.tags[tag])
	}
	return last
}
