package pool

import (
	"hash/maphash"
	"math/bits"
	"time"
)

// Key stands for an object by hashes, of which nobody outside can foresee which other objects
// have the same.
type Key struct {
	name  uint64 // of all spellings and versions that may be one object: so much counts once
	exact uint64 // of this one, which alone is not asked for while it fails
}

var keySeed = maphash.MakeSeed() // of this process; it never changes

// KeyOf returns the key of an object that is asked for by a spelling of its name and a query.
//
// Hot path: no allocation.
func KeyOf(name, spelling, query []byte) Key {
	k := Key{name: maphash.Bytes(keySeed, name) | 1}
	k.exact = k.name
	if len(spelling) != len(name) {
		k.exact = maphash.Bytes(keySeed, spelling) | 1
	}
	if len(query) > 0 {
		k.exact = bits.RotateLeft64(k.exact, 1) ^ maphash.Bytes(keySeed, query) | 1
	}
	return k
}

const (
	suspectSets     = 32
	suspectWays     = 4
	suspectFailures = 3                // requests in a row that make a key fail by itself
	suspectSpan     = 10 * time.Second // within which they come
	leastPause      = time.Second      // until the next request for it is let through; doubled each time
	mostPause       = 4 * time.Second
	suspectMemory   = suspectSpan + mostPause
)

// suspect is a key for which requests have failed of late.
type suspect struct {
	hash     uint64 // of a Key
	failures int    // requests that failed in a row
	good     bool   // an answer has come since; its body may still break off
	first    time.Time
	last     time.Time
	until    time.Time // no request for it is let through before
	counted  time.Time // when it counted last in the window of its breaker
	run      uint64    // of its breaker in which it counted last as silent; 0: none
	trial    uint64    // of its breaker on which it counted last; 0: none
}

// failsAlone tells whether requests for the key fail whatever becomes of others.
func (s *suspect) failsAlone(now time.Time) bool {
	return s.failures >= suspectFailures && !s.good && now.Sub(s.last) < suspectMemory
}

// fail notes that a request failed; with ofBody, after an answer began that seemed good.
func (s *suspect) fail(now time.Time, ofBody bool) {
	late := s.failures < suspectFailures && now.Sub(s.first) > suspectSpan
	if late || s.good && !ofBody || now.Sub(s.last) >= suspectMemory {
		s.failures, s.first = 0, now
	}
	s.failures++
	s.pause(now)
}

// pause has no request pass for a while.
func (s *suspect) pause(now time.Time) {
	s.until = now.Add(min(leastPause<<min(max(0, s.failures-suspectFailures), 8), mostPause))
}

// suspects are the keys that failed last, as many as there is room for: of those that share a
// set, a new one takes the place of the one that has not failed for longest. The zero value is
// empty.
type suspects struct {
	sets *[suspectSets][suspectWays]suspect // nil: nothing has failed yet
}

// find returns what is known of a key; nil: nothing.
func (s *suspects) find(hash uint64) *suspect {
	if s.sets == nil {
		return nil
	}
	set := &s.sets[hash>>59]
	for i := range set {
		if set[i].hash == hash {
			return &set[i]
		}
	}
	return nil
}

// add returns what is known of a key, which may be nothing.
func (s *suspects) add(hash uint64) *suspect {
	if known := s.find(hash); known != nil {
		return known
	}
	if s.sets == nil {
		s.sets = new([suspectSets][suspectWays]suspect)
	}
	set := &s.sets[hash>>59]
	oldest := &set[0]
	for i := range set {
		if set[i].last.Before(oldest.last) {
			oldest = &set[i]
		}
	}
	*oldest = suspect{hash: hash}
	return oldest
}

// clear forgets all keys.
func (s *suspects) clear() { s.sets = nil }
