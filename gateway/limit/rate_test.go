package limit

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// events calls at for each client perSecond times a second, over the seconds from 1 to
// 11, in order of time.
func events(clients int, perSecond float64, at func(client int, now time.Duration)) {
	step := float64(time.Second) / (perSecond * float64(clients))
	n := int(10 * perSecond * float64(clients))
	for i := range n {
		at(i%clients, time.Second+time.Duration(float64(i)*step))
	}
}

// near reports whether got differs from want by at most 2 %, or by one.
func near(got int, want float64) bool {
	return math.Abs(float64(got)-want) <= max(0.02*want, 1)
}

func TestRateIsAccurate(t *testing.T) {
	for _, clients := range []int{1, 10, 1000} {
		for _, l := range []Limit{{0.5, 1}, {1, 1}, {3, 3}, {7.777, 8}, {100, 1}, {333.333, 1000}, {5000, 5000}} {
			r := NewRate(l)
			for r.Take(time.Second) == 0 { // the burst
			}
			taken := 0
			events(clients, max(3*l.PerSecond/float64(clients), 1), func(_ int, now time.Duration) {
				if r.Take(now) == 0 {
					taken++
				}
			})
			if !near(taken, 10*l.PerSecond) {
				t.Errorf("%d clients, %v: %d in 10 s, want %v", clients, l, taken, 10*l.PerSecond)
			}
		}
	}
}

// TestRateDoesNotDrift takes all tokens over a year, at times that fit no interval, and
// at the end of a time.Duration.
func TestRateDoesNotDrift(t *testing.T) {
	for _, l := range []Limit{{0.001, 1}, {0.003, 1}, {0.7, 1}, {1, 1}, {3, 1000}} {
		const year = 365 * 24 * time.Hour
		r := NewRate(l)
		taken := 0
		for now := time.Duration(0); now < year; {
			wait := r.Take(now)
			if wait == 0 {
				taken++
			}
			now += max(wait, 0)
			if taken > 200_000 { // enough to show a drift
				want := float64(l.Burst) + now.Seconds()*l.PerSecond
				if math.Abs(float64(taken)-want) > 1.01 {
					t.Errorf("%v: %d after %s, want %v", l, taken, now, want)
				}
				break
			}
		}
		if want := float64(l.Burst) + year.Seconds()*l.PerSecond; taken <= 200_000 && math.Abs(float64(taken)-want) > 1.01 {
			t.Errorf("%v: %d in a year, want %v", l, taken, want)
		}
	}
	r := NewRate(Limit{PerSecond: MaxPerSecond, Burst: math.MaxInt32})
	for _, now := range []time.Duration{math.MaxInt64 - time.Second, math.MaxInt64, 0, -1, math.MinInt64} {
		if wait := r.Take(now); wait != 0 && now > 0 {
			t.Errorf("at %s: wait %s", now, wait)
		}
	}
}

// TestRateMatchesModel compares with a bucket of floating-point tokens, filled by the
// time since the last call.
func TestRateMatchesModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	taken, refused := 0, 0
	for range 200 {
		l := Limit{PerSecond: math.Round(1000*math.Exp(rnd.Float64()*18-7)+1) / 1000, Burst: 1 + rnd.IntN(20)}
		r := NewRate(l)
		tokens, last, now := float64(l.Burst), time.Duration(0), time.Duration(0)
		for range 500 {
			now += time.Duration(rnd.ExpFloat64() / l.PerSecond * float64(time.Second) * 0.7)
			tokens = min(tokens+(now-last).Seconds()*l.PerSecond, float64(l.Burst))
			last = now
			wait := r.Take(now)
			if math.Abs(tokens-1) > 0.003 && (wait == 0) != (tokens > 1) {
				t.Fatalf("%v at %s: wait %s with %v tokens", l, now, wait, tokens)
			}
			if wait == 0 {
				tokens--
				taken++
			} else {
				refused++
				if want := (1 - tokens) / l.PerSecond; math.Abs(wait.Seconds()-want) > 0.003/l.PerSecond+1e-6 {
					t.Fatalf("%v at %s: wait %s, want %v s", l, now, wait, want)
				}
			}
			if rnd.IntN(10) == 0 && wait == 0 {
				r.Return()
				tokens = min(tokens+1, float64(l.Burst))
			}
		}
	}
	if taken < 10_000 || refused < 10_000 {
		t.Errorf("%d taken, %d refused: a side is hardly tried", taken, refused)
	}
}

func TestWait(t *testing.T) {
	for _, c := range []struct {
		name string
		l    Limit
		now  time.Duration // after the burst was taken at 0
		want time.Duration
	}{
		{"one per second", Limit{1, 1}, 0, time.Second},
		{"later", Limit{1, 1}, 300 * time.Millisecond, 700 * time.Millisecond},
		{"on time", Limit{1, 1}, time.Second, 0},
		{"almost", Limit{1, 1}, time.Second - 1, time.Millisecond},
		{"one in 1000 s", Limit{0.001, 5}, 0, 1000 * time.Second},
		{"one in 10 s, later", Limit{0.1, 5}, 9 * time.Second, time.Second},
		{"rounded up", Limit{3, 1}, 0, 333333334},
		{"the largest", Limit{MaxPerSecond, 1}, 0, time.Microsecond},
		{"time goes back", Limit{1, 1}, -time.Hour, time.Second},
	} {
		r, table := NewRate(c.l), NewTable(c.l, 1)
		for range c.l.Burst {
			if r.Take(0) != 0 || table.Take(7, 0) != 0 {
				t.Errorf("%s: the burst is not there", c.name)
			}
		}
		if got := r.Take(c.now); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if got := table.Take(7, c.now); got != c.want {
			t.Errorf("%s, of a table: %s, want %s", c.name, got, c.want)
		}
		if c.want > 0 {
			now := max(c.now, 0) + c.want
			if r.Take(now) != 0 || table.Take(7, now) != 0 {
				t.Errorf("%s: nothing is there after the time to wait", c.name)
			}
		}
	}
}

func TestNoLimit(t *testing.T) {
	r, table := NewRate(Limit{}), NewTable(Limit{}, 10)
	if r != nil || table != nil || r.Take(0) != 0 || table.Take(1, 0) != 0 {
		t.Error("no limit limits")
	}
	r.Return()
	for _, l := range []Limit{{1, 0}, {0, 1}, {-1, 1}, {0.0009, 1}, {MaxPerSecond + 1, 1}, {math.NaN(), 1}, {math.Inf(1), 1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v is taken for a limit", l)
				}
			}()
			NewRate(l)
		}()
	}
}

// TestRateIsSharedByGoroutines takes from many goroutines at one moment of time:
// exactly the burst is there. A returned token can be taken again.
func TestRateIsSharedByGoroutines(t *testing.T) {
	const burst = 1000
	r, table := NewRate(Limit{1, burst}), NewTable(Limit{1, burst}, 100)
	var taken, ofTable atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range burst {
				if r.Take(time.Second) == 0 {
					taken.Add(1)
					if taken.Load()%2 == 0 {
						r.Return()
						taken.Add(-1)
					}
				}
				if table.Take(1, time.Second) == 0 {
					ofTable.Add(1)
				}
			}
		})
	}
	wg.Wait()
	for r.Take(time.Second) == 0 {
		taken.Add(1)
	}
	if taken.Load() != burst || ofTable.Load() != burst {
		t.Errorf("%d and %d taken, want %d", taken.Load(), ofTable.Load(), burst)
	}
}
