package observe

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	slowMinutes   = 5   // minutes in the list
	slowPerMinute = 12  // requests of each minute
	slowPath      = 256 // bytes of a path
)

// SlowList is the slowest requests of each of the last minutes. A request that is not among
// the slowest of its minute takes no lock. The zero value is empty. Safe for concurrent use.
type SlowList struct {
	least atomic.Int64 // nanoseconds; only longer requests can enter the list

	mu      sync.Mutex                 // guards the following fields
	minutes [slowMinutes][]SlowRequest // the slowest request of each minute first
	now     int                        // index of the present minute
}

// SlowRequest is a copy of what the slow list shows of a request.
type SlowRequest struct {
	At             time.Time // of its end
	Duration, TTFB time.Duration
	Bucket         string
	Method         Method
	Status         int
	Bytes          int64
	Cache          string // outcome; empty: the bucket has no cache
	ID             []byte
	Path           []byte // the beginning of a long one, and an ellipsis
}

// note adds x to the list, unless it has no bucket or the list is full of slower ones.
func (s *SlowList) note(x *Entry, took time.Duration) {
	if x.Bucket == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.minutes[s.now]
	i := 0
	for i < len(m) && m[i].Duration >= took {
		i++
	}
	if i == slowPerMinute {
		return // it filled up since Record looked
	}
	if len(m) < slowPerMinute {
		m = slices.Grow(m, 1)[:len(m)+1]
		s.minutes[s.now] = m
	}
	r := m[len(m)-1] // leaves the list, or left it minutes ago: its buffers are used again
	copy(m[i+1:], m[i:])
	m[i] = SlowRequest{
		At: x.Start.Add(took), Duration: took, TTFB: x.TTFB, Bucket: x.Bucket.Name, Method: x.Method, Status: x.Status, Bytes: x.Bytes,
		ID: append(r.ID[:0], x.ID...), Path: append(r.Path[:0], x.Path[:min(len(x.Path), slowPath)]...),
	}
	if len(x.Path) > slowPath {
		m[i].Path = append(m[i].Path, "…"...)
	}
	if x.HasCache {
		m[i].Cache = Outcomes[x.CacheOutcome].Name
	}
	if len(m) == slowPerMinute {
		s.least.Store(int64(m[slowPerMinute-1].Duration))
	}
}

// NextMinute begins a new minute in the place of the oldest one.
func (s *SlowList) NextMinute() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = (s.now + 1) % len(s.minutes)
	s.minutes[s.now] = s.minutes[s.now][:0]
	s.least.Store(0)
}

// Slowest returns the slowest requests of all minutes, the slowest first.
func (s *SlowList) Slowest() []SlowRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Concat(s.minutes[:]...)
	slices.SortFunc(list, func(a, b SlowRequest) int { return cmp.Compare(b.Duration, a.Duration) })
	list = list[:min(len(list), slowPerMinute)]
	for i := range list {
		r := &list[i]
		r.ID, r.Path = bytes.Clone(r.ID), bytes.Clone(r.Path)
	}
	return list
}
