package observe

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

// SlowList holds the slowest requests of each of the last minutes. A request that is
// not among the slowest of its minute takes no lock.
type SlowList struct {
	least atomic.Int64 // what a request must take longer than, in nanoseconds

	mu      sync.Mutex // guards the following fields
	minutes [slowMinutes]slowMinute
	now     int // the present one of minutes
}

// slowMinute holds the slowest requests of one minute.
type slowMinute struct {
	n        int
	requests [slowPerMinute]SlowRequest
}

// SlowRequest is what is kept of a request, in memory of its own.
type SlowRequest struct {
	At                   time.Time // of its end
	Took, Ttfb           time.Duration
	Bucket               string
	Method               Method
	Status               int
	Bytes                int64
	Cache                string // outcome; empty: the bucket has no cache
	ID                   [128]byte
	Path                 [slowPath]byte
	IdLength, PathLength int // the latter of the whole path
}

// note takes x into the list, unless it is of no bucket or others were slower.
func (s *SlowList) note(x *Entry, took time.Duration) {
	if x.Bucket == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.minutes[s.now]
	r := m.fastest()
	switch {
	case m.n < len(m.requests):
		r = &m.requests[m.n]
		m.n++
	case took <= r.Took:
		return // others came first
	}
	r.At, r.Took, r.Ttfb = x.Start.Add(took), took, x.FirstByte
	r.Bucket, r.Method, r.Status, r.Bytes, r.Cache = x.Bucket.Name, x.Method, x.Status, x.Bytes, ""
	if x.Cached {
		r.Cache = Outcomes[x.Cache].Name
	}
	r.IdLength, r.PathLength = copy(r.ID[:], x.ID), len(x.Path)
	copy(r.Path[:], x.Path)
	if m.n == len(m.requests) {
		s.least.Store(int64(m.fastest().Took))
	}
}

// fastest returns the one that has to go first.
func (m *slowMinute) fastest() *SlowRequest {
	r := &m.requests[0]
	for i := range m.n {
		if m.requests[i].Took < r.Took {
			r = &m.requests[i]
		}
	}
	return r
}

// Turn begins a new minute in the place of the oldest one.
func (s *SlowList) Turn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = (s.now + 1) % len(s.minutes)
	s.minutes[s.now].n = 0
	s.least.Store(0)
}

// Slowest returns the slowest requests of all minutes, the slowest first.
func (s *SlowList) Slowest() []SlowRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []SlowRequest
	for i := range s.minutes {
		m := &s.minutes[i]
		list = append(list, m.requests[:m.n]...)
	}
	slices.SortFunc(list, func(a, b SlowRequest) int { return cmp.Compare(b.Took, a.Took) })
	return list[:min(len(list), slowPerMinute)]
}
