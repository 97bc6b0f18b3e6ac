package cache

import (
	"bytes"
	"slices"
	"time"
)

// A purge visits every entry, a few at a time, and lets go of the shard's lock
// in between, so that hits are hardly held up. It covers all objects of its
// group that were stored when it began and not replaced since, and some of those
// stored while it runs. Objects that are being fetched then, and stored later, are
// what [Cache.Epoch] is for.
//
// Names, and prefixes of names, stand for all their spellings; see [HasEmptySegment].
//
// A soft purge marks the objects instead of dropping them, with the time at which it
// began; see [Object.FreshnessAt].

// What a purge does before it lets go of a lock, in units of what looking at an
// entry costs; the others read and write memory all over.
const (
	purgeBudget = 128
	matchCost   = 8
	dropCost    = 32
)

// PurgeGroup drops all objects of a group, or marks them, and returns how many.
func (c *Cache) PurgeGroup(group string, soft bool) int {
	return c.purge(group, soft, func(*Object) bool { return true })
}

// PurgePrefix drops the objects of a group whose key has a first part that
// begins with prefix, or marks them, and returns how many. See [AppendKey].
func (c *Cache) PurgePrefix(group string, prefix []byte, soft bool) int {
	prefix = AppendCollapsed(nil, prefix)
	return c.purge(group, soft, matchName(func(name []byte) bool { return bytes.HasPrefix(name, prefix) }))
}

// PurgeTag drops the objects of a group that have a tag, or marks them, and
// returns how many.
func (c *Cache) PurgeTag(group, tag string, soft bool) int {
	return c.purge(group, soft, func(o *Object) bool { return slices.Contains(o.Tags, tag) })
}

// PurgeKey drops the objects of a group whose key has the first part name, or
// marks them, and returns how many. It visits one shard alone.
func (c *Cache) PurgeKey(group string, name []byte, soft bool) int {
	place, ok := c.groups.find(group)
	if !ok {
		return 0
	}
	hash := c.hashName(name)
	c.groups.at(place).names[hash%nameEpochs].Add(1)
	wanted := AppendCollapsed(nil, name)
	same := matchName(func(name []byte) bool { return bytes.Equal(name, wanted) })
	return c.purgeShard(c.shardOf(hash), place, c.markOf(soft), same)
}

// Purges are purges of one group that are made together.
type Purges struct {
	Keys     [][]byte // first parts of keys
	Prefixes [][]byte // of first parts
	Tags     []string
	All      bool // the whole group
}

// Purge drops the objects of a group that any of the purges is for, or marks them, and returns how
// many. It visits each entry once at most, however many purges there are.
func (c *Cache) Purge(group string, p *Purges, soft bool) int {
	if p.All {
		return c.PurgeGroup(group, soft)
	}
	if len(p.Prefixes) == 0 && len(p.Tags) == 0 && len(p.Keys) < len(c.shards) {
		total := 0
		for _, name := range p.Keys {
			total += c.PurgeKey(group, name, soft)
		}
		return total
	}
	keys, tags := make(map[string]bool), make(map[string]bool)
	for _, name := range p.Keys {
		keys[string(AppendCollapsed(nil, name))] = true
	}
	for _, tag := range p.Tags {
		tags[tag] = true
	}
	prefixes := make(map[string]bool)
	var lengths []int // of prefixes: one look-up for each
	for _, prefix := range p.Prefixes {
		prefix = AppendCollapsed(nil, prefix)
		prefixes[string(prefix)] = true
		lengths = append(lengths, len(prefix))
	}
	slices.Sort(lengths)
	lengths = slices.Compact(lengths)
	named := matchName(func(name []byte) bool {
		return keys[string(name)] || slices.ContainsFunc(lengths, func(n int) bool { return n <= len(name) && prefixes[string(name[:n])] })
	})
	return c.purge(group, soft, func(o *Object) bool {
		return named(o) || len(tags) > 0 && slices.ContainsFunc(o.Tags, func(tag string) bool { return tags[tag] })
	})
}

// matchName returns a function that tells whether the name of an object, without its empty
// segments, matches. It is not safe for concurrent use.
func matchName(matches func(name []byte) bool) func(*Object) bool {
	var buf []byte
	return func(o *Object) bool {
		name, _, ok := cutFirstPart(o.Key)
		if ok && HasEmptySegment(name) {
			buf = AppendCollapsed(buf[:0], name)
			name = buf
		}
		return ok && matches(name)
	}
}

// Epoch returns a number that grows with each purge of key's group, and of its first
// part, for [Cache.PutSince]. Purges of a few others make it grow, too.
func (c *Cache) Epoch(group string, key []byte) uint64 {
	return c.groups.at(c.groups.place(group)).epoch(c.nameHash(key))
}

// Outdate makes the epoch of a group grow without a purge: objects being fetched for it
// are not stored, and stored ones stay.
func (c *Cache) Outdate(group string) {
	if place, ok := c.groups.find(group); ok {
		c.groups.at(place).purges.Add(1)
	}
}

func (c *Cache) purge(group string, soft bool, match func(*Object) bool) int {
	place, ok := c.groups.find(group)
	if !ok {
		return 0
	}
	// Before any lock is taken: a Put under a lock that the purge has already let go
	// of must see it.
	c.groups.at(place).purges.Add(1)
	total, mark := 0, c.markOf(soft)
	for n := range c.shards {
		total += c.purgeShard(n, place, mark, match)
	}
	return total
}

// markOf returns what a purge that begins now marks objects with; nil: it drops them.
func (c *Cache) markOf(soft bool) *time.Time {
	if !soft {
		return nil
	}
	now := c.opts.Now()
	return &now
}

// purgeShard purges entries of shard n, as many in one holding of the lock as the budget
// allows.
func (c *Cache) purgeShard(n int, group uint32, mark *time.Time, match func(*Object) bool) (purged int) {
	s := &c.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	budget := purgeBudget
	for slot := uint32(root + 1); slot < s.slots; slot++ {
		if budget <= 0 {
			s.mu.Unlock()
			budget = purgeBudget
			s.mu.Lock()
		}
		budget--
		e := s.at(slot)
		if e.obj == nil || e.group != group {
			continue
		}
		budget -= matchCost
		if !match(e.obj) {
			continue
		}
		if !e.obj.Marker {
			purged++
			s.purged++
		}
		if mark != nil {
			e.obj.purged.CompareAndSwap(nil, mark) // a second one begins no window anew
			continue
		}
		budget -= dropCost
		c.dropLocked(n, slot)
	}
	return purged
}
