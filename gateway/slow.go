package gateway

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	slowMinutes   = 5   // that requests are remembered for
	slowPerMinute = 12  // requests of each
	slowPath      = 256 // bytes of a path that are kept
)

// slowList holds the slowest requests of each of the last minutes. A request that is
// not among the slowest of its minute takes no lock.
type slowList struct {
	least atomic.Int64 // what a request must take longer than, in nanoseconds

	mu      sync.Mutex // guards the following fields
	minutes [slowMinutes]slowMinute
	now     int // the present one of minutes
}

// slowMinute holds the slowest requests of one minute.
type slowMinute struct {
	n        int
	requests [slowPerMinute]slowRequest
}

// slowRequest is what is kept of a request, in memory of its own.
type slowRequest struct {
	at                   time.Time // of its end
	took, ttfb           time.Duration
	bucket               string
	method               method
	status               int
	bytes                int64
	cache                string // outcome; empty: the bucket has no cache
	id                   [128]byte
	path                 [slowPath]byte
	idLength, pathLength int // the latter of the whole path
}

// note takes x into the list if it is slow.
//
// Hot path: zero allocations, guarded by TestHitAllocs.
func (s *slowList) note(x *entry, took time.Duration) {
	if x.metrics != nil && int64(took) > s.least.Load() {
		s.add(x, took)
	}
}

func (s *slowList) add(x *entry, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.minutes[s.now]
	r := m.fastest()
	switch {
	case m.n < len(m.requests):
		r = &m.requests[m.n]
		m.n++
	case took <= r.took:
		return // others came first
	}
	r.at, r.took, r.ttfb = x.start.Add(took), took, x.firstByte
	r.bucket, r.method, r.status, r.bytes, r.cache = x.metrics.bucket, x.method, x.status, x.bytes, ""
	if x.cached {
		r.cache = outcomes[x.how].name
	}
	r.idLength, r.pathLength = copy(r.id[:], x.id), len(x.path)
	copy(r.path[:], x.path)
	if m.n == len(m.requests) {
		s.least.Store(int64(m.fastest().took))
	}
}

// fastest returns the one that has to go first.
func (m *slowMinute) fastest() *slowRequest {
	r := &m.requests[0]
	for i := range m.n {
		if m.requests[i].took < r.took {
			r = &m.requests[i]
		}
	}
	return r
}

// turn begins a new minute in the place of the oldest one.
func (s *slowList) turn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = (s.now + 1) % len(s.minutes)
	s.minutes[s.now].n = 0
	s.least.Store(0)
}

// slowest returns the slowest requests of all minutes, the slowest first.
func (s *slowList) slowest() []slowRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []slowRequest
	for i := range s.minutes {
		m := &s.minutes[i]
		list = append(list, m.requests[:m.n]...)
	}
	slices.SortFunc(list, func(a, b slowRequest) int { return cmp.Compare(b.took, a.took) })
	return list[:min(len(list), slowPerMinute)]
}
