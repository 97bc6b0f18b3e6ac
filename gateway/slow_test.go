package gateway

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestStatusCountsABucketOnce has a bucket in one generation after another: its
// requests are counted together, and not twice.
func TestStatusCountsABucketOnce(t *testing.T) {
	m := newMetricSet()
	for range 3 {
		b := m.bucket("b")
		b.request(methodGet, 200).Inc()
		b.request(methodHead, 404).Inc()
		b.answers.outcome(outcomeMiss).duration.observe(time.Millisecond)
	}
	all, buckets := m.tallies()
	if n := buckets["b"]; all.requests != 6 || n.requests != 6 || n.errors4xx != 3 || n.durations.count() != 3 || n.outcomes[outcomeMiss] != 3 {
		t.Errorf("%+v", n)
	}
}

// TestSlowList compares the list with all requests, sorted.
func TestSlowList(t *testing.T) {
	var s slowList
	b := newMetricSet().bucket("main")
	note := func(took time.Duration) {
		s.note(&entry{metrics: b, cached: true, start: time.Now(), id: fmt.Append(nil, took), path: []byte("/pub/a"), status: 200, how: outcomeMiss}, took)
	}
	var all []time.Duration
	for range 2000 {
		d := time.Duration(1 + rand.IntN(1e9))
		all = append(all, d)
		note(d)
	}
	slices.Sort(all)
	slices.Reverse(all)
	check := func(want []time.Duration) {
		t.Helper()
		got := s.slowest()
		if len(got) != len(want) {
			t.Fatalf("%d requests, want %d", len(got), len(want))
		}
		for i, r := range got {
			if r.took != want[i] || string(r.id[:r.idLength]) != want[i].String() || r.bucket != "main" || r.cache != "miss" {
				t.Errorf("%d: %s, want %s", i, r.took, want[i])
			}
		}
	}
	check(all[:slowPerMinute])
	if least := time.Duration(s.least.Load()); least != all[slowPerMinute-1] {
		t.Errorf("a request takes the lock from %s on, want %s", least, all[slowPerMinute-1])
	}

	// They are remembered for minutes, and then no longer.
	for range slowMinutes - 1 {
		s.turn()
		note(1)
		check(all[:slowPerMinute])
	}
	s.turn()
	check([]time.Duration{1, 1, 1, 1})
	s.note(&entry{start: time.Now()}, time.Hour) // of no bucket
	check([]time.Duration{1, 1, 1, 1})
}
