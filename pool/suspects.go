package pool

import (
	"hash/maphash"
	"time"
)

// Key stands for an object: a hash of its name, of which nobody outside can foresee which
// others have the same.
type Key uint64

var keySeed = maphash.MakeSeed() // of this process; it never changes

// KeyOf returns the key of an object by its name.
//
// Hot path: no allocation.
func KeyOf(name []byte) Key { return Key(maphash.Bytes(keySeed, name)) | 1 }

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
	key      Key
	failures int  // requests that failed in a row
	good     bool // an answer has come since; its body may still break off
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
func (s *suspects) find(k Key) *suspect {
	if s.sets == nil {
		return nil
	}
	set := &s.sets[k>>59]
	for i := range set {
		if set[i].key == k {
			return &set[i]
		}
	}
	return nil
}

// add returns what is known of a key, which may be nothing.
func (s *suspects) add(k Key) *suspect {
	if known := s.find(k); known != nil {
		return known
	}
	if s.sets == nil {
		s.sets = new([suspectSets][suspectWays]suspect)
	}
	set := &s.sets[k>>59]
	oldest := &set[0]
	for i := range set {
		if set[i].last.Before(oldest.last) {
			oldest = &set[i]
		}
	}
	*oldest = suspect{key: k}
	return oldest
}

// clear forgets all keys.
func (s *suspects) clear() { s.sets = nil }
