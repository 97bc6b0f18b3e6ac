package cache

import (
	"testing"
	"time"
)

// TestLease has objects between the last news of purges, their own last validation, and now.
func TestLease(t *testing.T) {
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	for name, c := range map[string]struct {
		within         time.Duration
		sent           int // seconds after start, when the object was asked for
		renewed        int // -1: never
		barrier        int // -1: none
		now            int
		want           State
		wantTTL        int64
		swr, sie, life time.Duration
	}{
		"the lease holds":                    {within: 30 * time.Second, sent: 0, renewed: 100, barrier: -1, now: 129, want: Fresh, wantTTL: 3471},
		"it has run out":                     {within: 30 * time.Second, sent: 0, renewed: 100, barrier: -1, now: 130, want: Expired, wantTTL: 0},
		"the object was asked for after it":  {within: 30 * time.Second, sent: 140, renewed: 100, barrier: -1, now: 169, want: Fresh, wantTTL: 3571},
		"that is long ago, too":              {within: 30 * time.Second, sent: 140, renewed: 100, barrier: -1, now: 170, want: Expired},
		"never renewed":                      {within: 30 * time.Second, sent: 0, renewed: -1, barrier: -1, now: 29, want: Fresh, wantTTL: 3571},
		"never renewed, long ago":            {within: 30 * time.Second, sent: 0, renewed: -1, barrier: -1, now: 31, want: Expired, wantTTL: -1},
		"no revalidation in the background":  {within: 30 * time.Second, sent: 0, renewed: 100, barrier: -1, now: 131, want: Expired, wantTTL: -1, swr: time.Hour},
		"an error of the origin":             {within: 30 * time.Second, sent: 0, renewed: 100, barrier: -1, now: 131, want: StaleError, wantTTL: -1, sie: time.Hour},
		"its own lifetime is shorter":        {within: 30 * time.Second, sent: 0, renewed: 100, barrier: -1, now: 131, want: Expired, wantTTL: -121, life: 10 * time.Second},
		"no lease":                           {within: 0, sent: 0, renewed: -1, barrier: -1, now: 3000, want: Fresh, wantTTL: 600},
		"no lease, purges were missed":       {within: 0, sent: 0, renewed: 100, barrier: 1, now: 2, want: Expired, wantTTL: -2},
		"purges were missed":                 {within: 30 * time.Second, sent: 10, renewed: 20, barrier: 10, now: 21, want: Expired, wantTTL: -11},
		"asked for since purges were missed": {within: 30 * time.Second, sent: 11, renewed: 20, barrier: 10, now: 21, want: Fresh, wantTTL: 3590},
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLease(c.within)
			if c.barrier >= 0 {
				l.Distrust(at(c.barrier))
			}
			if c.renewed >= 0 {
				l.Renew(at(c.renewed))
			}
			cached := New(Options{MaxBytes: minBytes, Lease: l})
			o := object("k", 1)
			o.Freshness = Freshness{Sent: at(c.sent), Lifetime: max(c.life, time.Hour), StaleWhileRevalidate: c.swr, StaleIfError: c.sie}
			if c.life > 0 {
				o.Freshness.Lifetime = c.life
			}
			f := cached.FreshnessAt(o, at(c.now))
			if state, ttl := f.State(at(c.now)), f.TTL(f.Age(at(c.now))); state != c.want || ttl != c.wantTTL {
				t.Errorf("%v, ttl %d, want %v, %d", state, ttl, c.want, c.wantTTL)
			}
			if o.Freshness.StaleWhileRevalidate != c.swr {
				t.Error("the object itself has changed")
			}
		})
	}
}

// TestLeaseClocks has one of the two clocks stand still, or be set back.
func TestLeaseClocks(t *testing.T) {
	from := time.Now()
	wall := from.Round(0)                                       // without the monotonic clock
	if d := Elapsed(wall.Add(time.Hour), from); d < time.Hour { // suspended: the wall clock alone went on
		t.Errorf("%v, want an hour", d)
	}
	if d := Elapsed(from.Add(time.Minute), from); d != time.Minute {
		t.Errorf("%v, want a minute", d)
	}
	if d := Elapsed(wall.Add(-time.Hour), from); d > 0 {
		t.Errorf("%v for a clock that was set back", d)
	}
	l := NewLease(time.Minute)
	if _, ever := l.Unverified(from); ever {
		t.Error("renewed before it was")
	}
	l.Renew(from)
	if d, ever := l.Unverified(from.Add(-time.Second)); d != 0 || !ever {
		t.Errorf("%v, %t: want 0, true", d, ever)
	}
	if d, _ := l.Unverified(from.Add(time.Second)); d != time.Second {
		t.Errorf("%v, want a second", d)
	}
}

func TestLeaseAllocs(t *testing.T) {
	l := NewLease(time.Minute)
	now := time.Now()
	l.Renew(now)
	c := New(Options{MaxBytes: minBytes, Lease: l})
	o := object("k", 1)
	o.Freshness = Freshness{Sent: now.Add(-time.Hour), Lifetime: 2 * time.Hour}
	if n := testing.AllocsPerRun(100, func() {
		if c.FreshnessAt(o, now).State(now) != Fresh {
			t.Fatal("not fresh")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkFreshnessAt compares a stored object's freshness with that under a lease that holds.
func BenchmarkFreshnessAt(b *testing.B) {
	now := time.Now()
	l := NewLease(time.Minute)
	l.Renew(now)
	for name, lease := range map[string]*Lease{"alone": nil, "lease": l} {
		c := New(Options{MaxBytes: minBytes, Lease: lease})
		o := object("k", 1)
		o.Freshness = Freshness{Sent: now.Add(-time.Hour), Lifetime: 2 * time.Hour}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if c.FreshnessAt(o, now).State(now) != Fresh {
					b.Fatal("not fresh")
				}
			}
		})
	}
}

// TestLeaseOfASuspendedMachine has the monotonic clock stand still: what the lease has ended is not
// fresh by it.
func TestLeaseOfASuspendedMachine(t *testing.T) {
	start := time.Now()
	for name, renewed := range map[string]time.Time{"after the object": start.Add(time.Second), "before it": start.Add(-time.Second)} {
		l := NewLease(30 * time.Second)
		l.Renew(renewed.Round(0)) // without the monotonic clock, which is as if it stood still
		c := New(Options{MaxBytes: minBytes, Lease: l})
		o := object("k", 1)
		o.Freshness = Freshness{Sent: start.Round(0), Lifetime: time.Hour}
		now := start.Add(10 * time.Minute)
		if state := c.FreshnessAt(o, now).State(now); state != Expired {
			t.Errorf("renewed %s: %v", name, state)
		}
	}
	f := (&Freshness{Sent: start, Lifetime: time.Hour}).cut(start.Add(time.Minute), start.Add(time.Second))
	if f.State(start.Add(time.Second)) == Fresh {
		t.Error("fresh though it is cut")
	}
}
