package cache

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Stats are counts since start and values now. Of a group, only Entries and
// Bytes are counted.
type Stats struct {
	Gets         uint64 // look-ups by Get
	Hits         uint64 // look-ups that found an object
	Puts         uint64 // objects stored by Put
	Rejected     uint64 // objects that Put did not store
	Evictions    uint64 // objects dropped to make room
	EvictedBytes uint64 // their sizes
	Purged       uint64 // objects that purges dropped or marked stale
	Entries      int64  // objects stored now
	Bytes        int64  // their sizes
}

// UpdateStats adds the counts of c to s.
func (c *Cache) UpdateStats(s *Stats) {
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		s.Gets += sh.gets
		s.Hits += sh.hits
		s.Puts += sh.puts
		s.Rejected += sh.rejected
		s.Evictions += sh.evictions
		s.EvictedBytes += sh.evictedBytes
		s.Purged += sh.purged
		sh.mu.Unlock()
	}
	s.Entries += c.entries.Load()
	s.Bytes += c.bytes.Load()
}

// UpdateGroupStats adds the entries and bytes of one group to s.
func (c *Cache) UpdateGroupStats(group string, s *Stats) {
	if place, ok := c.groups.find(group); ok {
		g := c.groups.at(place)
		s.Entries += g.entries.Load()
		s.Bytes += g.bytes.Load()
	}
}

// groups counts what each group occupies. Groups are never forgotten: their
// names come from configurations, which are few. It is safe for concurrent use once there
// is a table.
type groups struct {
	table atomic.Pointer[groupTable] // replaced whole, so that reading takes no lock
	mu    sync.Mutex                 // serialises replacing
}

type groupTable struct {
	places map[string]uint32
	groups []*groupState
}

type groupState struct {
	entries, bytes atomic.Int64
	purges         atomic.Uint64             // purges of more than one name
	names          [nameEpochs]atomic.Uint64 // purges of one name, by its hash
}

// nameEpochs is how many counters the purges of single names are spread over, so
// that one of them discards few of the fetches under way.
const nameEpochs = 64

// epoch returns a sum that grows with each purge which covers a name of that hash.
func (s *groupState) epoch(name uint64) uint64 {
	return s.purges.Load() + s.names[name%nameEpochs].Load()
}

// place returns the place of a group in the table, where it is put if new.
func (g *groups) place(name string) uint32 {
	if place, ok := g.find(name); ok {
		return place
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.table.Load()
	if place, ok := t.places[name]; ok {
		return place
	}
	place := uint32(len(t.groups))
	next := &groupTable{places: maps.Clone(t.places), groups: append(slices.Clip(t.groups), new(groupState))}
	next.places[name] = place
	g.table.Store(next)
	return place
}

// find returns the place of a group, if it has one.
func (g *groups) find(name string) (uint32, bool) {
	place, ok := g.table.Load().places[name]
	return place, ok
}

func (g *groups) at(place uint32) *groupState { return g.table.Load().groups[place] }

func (g *groups) add(place uint32, entries, bytes int64) {
	state := g.at(place)
	state.entries.Add(entries)
	state.bytes.Add(bytes)
}
