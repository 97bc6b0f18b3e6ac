package observe

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
	m := NewMetrics()
	for range 3 {
		b := m.Bucket("b")
		b.Requests(MethodGet, 200).Inc()
		b.Requests(MethodHead, 404).Inc()
		b.Latency(Miss).Duration.Observe(time.Millisecond)
	}
	all, buckets := m.Totals()
	if n := buckets["b"]; all.Requests != 6 || n.Requests != 6 || n.Errors4xx != 3 || n.durations.Count() != 3 || n.Outcomes[Miss] != 3 {
		t.Errorf("%+v", n)
	}
}

// TestSlowList compares the list with all requests, sorted.
func TestSlowList(t *testing.T) {
	var s SlowList
	b := NewMetrics().Bucket("main")
	note := func(took time.Duration) {
		s.note(&Entry{Bucket: b, HasCache: true, Start: time.Now(), ID: fmt.Append(nil, took), Path: []byte("/pub/a"), Status: 200, CacheOutcome: Miss}, took)
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
		got := s.Slowest()
		if len(got) != len(want) {
			t.Fatalf("%d requests, want %d", len(got), len(want))
		}
		for i, r := range got {
			if r.Duration != want[i] || string(r.ID) != want[i].String() || r.Bucket != "main" || r.Cache != "miss" {
				t.Errorf("%d: %s, want %s", i, r.Duration, want[i])
			}
		}
	}
	check(all[:slowPerMinute])
	if least := time.Duration(s.least.Load()); least != all[slowPerMinute-1] {
		t.Errorf("a request takes the lock from %s on, want %s", least, all[slowPerMinute-1])
	}

	// They are remembered for minutes, and then no longer.
	for range slowMinutes - 1 {
		s.NextMinute()
		note(1)
		check(all[:slowPerMinute])
	}
	s.NextMinute()
	check([]time.Duration{1, 1, 1, 1})
	s.note(&Entry{Start: time.Now()}, time.Hour) // of no bucket
	check([]time.Duration{1, 1, 1, 1})
}
