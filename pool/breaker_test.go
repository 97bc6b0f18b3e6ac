package pool

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// trial is a breaker with a clock, and requests for another key each time.
type trial struct {
	*Breaker
	now  time.Time
	keys uint64
}

func newTrial(o BreakerOptions) *trial {
	return &trial{NewBreaker(o), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), 0}
}

// numbered returns a key.
func numbered(n uint64) Key {
	hash := n * 0x9e3779b97f4a7c15
	return Key{hash, hash}
}

func named(name string) Key { return KeyOf([]byte(name), []byte(name), nil) }

// next returns a key that was not asked for before.
func (b *trial) next() Key {
	b.keys++
	return numbered(1<<32 + b.keys)
}

// do sends a request that ends with r, and reports whether it passed.
func (b *trial) do(r Result) bool { return b.ask(b.next(), r) == Pass }

// ask sends a request for a key that ends with r.
func (b *trial) ask(k Key, r Result) Verdict {
	t, _, v := b.Allow(k, b.now)
	if v == Pass {
		b.Done(t, r, b.now)
	}
	return v
}

// breakOff sends a request whose body breaks off.
func (b *trial) breakOff() { b.breakOffOf(b.next()) }

// breakOffOf sends a request for a key whose body breaks off.
func (b *trial) breakOffOf(k Key) Verdict {
	t, _, v := b.Allow(k, b.now)
	if v == Pass {
		b.Done(t, ResultSuccess, b.now)
		b.Fail(t, b.now)
	}
	return v
}

func (b *trial) state() BreakerState {
	s, _ := b.State()
	return s
}

func TestBreakerOpens(t *testing.T) {
	for name, c := range map[string]struct {
		steps func(b *trial)
		want  BreakerState
	}{
		"ten in a row without an answer": {func(b *trial) {
			for range 10 {
				b.do(ResultSilence)
			}
		}, BreakerOpen},
		"nine": {func(b *trial) {
			for range 9 {
				b.do(ResultSilence)
			}
		}, BreakerClosed},
		"an answer between them": {func(b *trial) {
			for i := range 18 {
				if b.do(ResultSilence); i == 8 {
					b.do(ResultSuccess)
				}
			}
		}, BreakerClosed},
		"half of twenty": {func(b *trial) {
			for range 10 {
				b.do(ResultSuccess)
			}
			for range 10 {
				b.do(ResultFailure)
			}
		}, BreakerOpen},
		"less than half": {func(b *trial) {
			for i := range 90 {
				o := ResultSuccess
				if i%9 >= 5 {
					o = ResultFailure
				}
				b.do(o)
			}
		}, BreakerClosed},
		"too few": {func(b *trial) {
			for range 19 {
				b.do(ResultFailure)
			}
		}, BreakerClosed},
		"too long ago": {func(b *trial) {
			for range 60 {
				b.do(ResultFailure)
				b.now = b.now.Add(time.Second)
			}
		}, BreakerClosed},
		"what says nothing": {func(b *trial) {
			for range 100 {
				b.do(ResultNone)
			}
		}, BreakerClosed},
		"bodies that broke off": {func(b *trial) {
			for range 20 {
				b.breakOff()
			}
		}, BreakerOpen},
		"six in ten bodies broke off": {func(b *trial) {
			for i := range 20 {
				if i%5 < 2 {
					b.do(ResultSuccess)
				} else {
					b.breakOff()
				}
			}
		}, BreakerOpen},
		"four in ten": {func(b *trial) {
			for i := range 100 {
				if i%5 < 3 {
					b.do(ResultSuccess)
				} else {
					b.breakOff()
				}
			}
		}, BreakerClosed},
		"long ones, when their heads are forgotten": {func(b *trial) {
			var tickets [20]Ticket
			for i := range tickets {
				tickets[i], _, _ = b.Allow(b.next(), b.now)
				b.Done(tickets[i], ResultSuccess, b.now)
			}
			b.now = b.now.Add(time.Minute)
			for _, t := range tickets {
				b.Fail(t, b.now)
			}
		}, BreakerOpen},
	} {
		b := newTrial(BreakerOptions{})
		c.steps(b)
		if b.state() != c.want {
			t.Errorf("%s: %v, want %v", name, b.state(), c.want)
		}
	}
}

// open returns a breaker that has just opened.
func openBreaker(o BreakerOptions) *trial {
	b := newTrial(o)
	for range 10 {
		b.do(ResultSilence)
	}
	return b
}

func TestBreakerRecovers(t *testing.T) {
	b := openBreaker(BreakerOptions{})
	if _, wait, v := b.Allow(b.next(), b.now); v != GivenUp || wait < 700*time.Millisecond || wait > 1300*time.Millisecond {
		t.Fatalf("open: %v, wait %v", v, wait)
	}
	b.now = b.now.Add(1300 * time.Millisecond)
	first, _, v := b.Allow(b.next(), b.now)
	if _, _, second := b.Allow(b.next(), b.now); v != Pass || second != GivenUp || b.state() != BreakerHalfOpen {
		t.Fatalf("half open: %v, then %v", v, second)
	}
	b.Done(first, ResultSuccess, b.now)
	if !b.do(ResultNone) || !b.do(ResultSuccess) || b.state() != BreakerHalfOpen || !b.do(ResultSuccess) || b.state() != BreakerClosed {
		t.Fatalf("after three successes: %v", b.state())
	}
	if _, opens := b.State(); opens != 1 {
		t.Errorf("opened %d times", opens)
	}
}

func TestBreakerCooldownGrows(t *testing.T) {
	b := openBreaker(BreakerOptions{Cooldown: time.Second})
	for i := range 8 {
		least := min(time.Second<<i, maxCooldown) * 3 / 4
		b.now = b.now.Add(least - time.Millisecond)
		if b.do(ResultSilence) {
			t.Fatalf("cooldown %d is shorter than %v", i, least)
		}
		b.now = b.now.Add(least*2/3 + 3*time.Millisecond)
		if !b.do(ResultFailure) || !b.do(ResultSilence) || !b.do(ResultFailure) {
			t.Fatalf("cooldown %d is longer than %v", i, least*5/3)
		}
	}
	b.now = b.now.Add(time.Minute)
	for range 3 {
		b.do(ResultSuccess)
	}
	for range 10 {
		b.do(ResultSilence)
	}
	b.now = b.now.Add(1300 * time.Millisecond)
	if !b.do(ResultSuccess) {
		t.Error("the cooldown has not shrunk again")
	}
}

// TestBreakerLease has a request on trial that never reports, and one that is late.
func TestBreakerLease(t *testing.T) {
	b := openBreaker(BreakerOptions{})
	b.now = b.now.Add(2 * time.Second)
	lost, _, _ := b.Allow(b.next(), b.now)
	b.now = b.now.Add(breakerLease - time.Second)
	if b.do(ResultSuccess) {
		t.Fatal("two are on trial")
	}
	b.now = b.now.Add(time.Second)
	if !b.do(ResultSuccess) {
		t.Fatal("one that does not report keeps the next out")
	}
	b.Done(lost, ResultSilence, b.now)
	if b.state() != BreakerHalfOpen || !b.do(ResultSuccess) || !b.do(ResultSuccess) || b.state() != BreakerClosed {
		t.Fatal("one that is late is listened to")
	}
}

// TestBreakerTriesBodies has requests on trial whose bodies break off, before others have
// closed the breaker and after that, and one of before it opened.
func TestBreakerTriesBodies(t *testing.T) {
	b := newTrial(BreakerOptions{})
	old, _, _ := b.Allow(b.next(), b.now)
	b.Done(old, ResultSuccess, b.now)
	for range 10 {
		b.do(ResultSilence)
	}
	b.now = b.now.Add(2 * time.Second)
	b.do(ResultSuccess)
	b.breakOff()
	if b.Fail(old, b.now); b.state() != BreakerHalfOpen {
		t.Fatalf("a body of before: %v", b.state())
	}
	b.breakOff()
	if b.breakOff(); b.state() != BreakerOpen {
		t.Fatalf("three bodies on trial: %v", b.state())
	}
	for _, c := range []struct {
		after time.Duration
		want  BreakerState
	}{{breakerSpan - time.Second, BreakerOpen}, {breakerSpan, BreakerClosed}} {
		b.now = b.now.Add(time.Minute)
		var trials [breakerProofs]Ticket
		for i := range trials {
			trials[i], _, _ = b.Allow(b.next(), b.now)
			b.Done(trials[i], ResultSuccess, b.now)
		}
		if b.state() != BreakerClosed {
			t.Fatalf("three heads: %v", b.state())
		}
		b.now = b.now.Add(c.after)
		for i, one := range trials {
			if b.state() != BreakerClosed {
				t.Errorf("the bodies of %d keys on trial are enough", i)
			}
			b.Fail(one, b.now)
		}
		if b.state() != c.want {
			t.Errorf("bodies on trial, %v after the breaker closed: %v, want %v", c.after, b.state(), c.want)
		}
	}
}

func TestBreakerWaitsForProbes(t *testing.T) {
	b := openBreaker(BreakerOptions{Probed: true})
	b.Probe(false)
	b.now = b.now.Add(maxCooldown - time.Second)
	if b.do(ResultSuccess) {
		t.Error("a request is risked before a probe has succeeded")
	}
	b.Probe(true)
	if !b.do(ResultUnreachable) || b.do(ResultSuccess) || b.state() != BreakerOpen {
		t.Error("a probe does not let one request try")
	}
	b.now = b.now.Add(maxCooldown)
	if !b.do(ResultSuccess) || b.state() != BreakerHalfOpen {
		t.Error("without probes, requests never try")
	}
}

// TestBreakerNeverSticks has an origin fail and recover 1,000 times, with all kinds
// of answers among those that recover, and requests that never report.
func TestBreakerNeverSticks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := newTrial(BreakerOptions{})
	for cycle := range 1000 {
		for i := 0; b.state() == BreakerClosed; i++ {
			if b.do([]Result{ResultFailure, ResultSilence, ResultUnreachable, ResultNone}[r.IntN(4)]); i > 1000 {
				t.Fatalf("cycle %d: it does not open", cycle)
			}
			b.now = b.now.Add(time.Duration(r.IntN(100)) * time.Millisecond)
		}
		for steps := 0; b.state() != BreakerClosed; steps++ {
			b.now = b.now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
			ticket, _, v := b.Allow(b.next(), b.now)
			switch {
			case v != Pass || r.IntN(10) == 0: // nobody reports
			case r.IntN(10) == 0:
				b.Done(ticket, ResultSilence, b.now)
			case r.IntN(5) == 0:
				b.Done(ticket, ResultNone, b.now)
			default:
				b.Done(ticket, ResultSuccess, b.now)
			}
			if steps > 10000 {
				t.Fatalf("cycle %d: it sticks at %v", cycle, b.state())
			}
		}
	}
}

func TestNilBreaker(t *testing.T) {
	var b *Breaker
	ticket, _, v := b.Allow(numbered(1), time.Now())
	b.Done(ticket, ResultSilence, time.Now())
	b.Fail(ticket, time.Now())
	b.Probe(false)
	if s, opens := b.State(); v != Pass || s != BreakerClosed || opens != 0 {
		t.Error(v, s, opens)
	}
}

func TestBreakerRace(t *testing.T) {
	b := NewBreaker(BreakerOptions{Cooldown: time.Microsecond})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 5000 {
				now := time.Now()
				if ticket, _, v := b.Allow(numbered(uint64(n%1000)), now); v == Pass && n%7 != 0 {
					b.Done(ticket, Result(1+(n+i)%5), now)
				}
				b.Probe(n%2 == 0)
			}
		})
	}
	wg.Wait()
	for deadline := time.Now().Add(10 * time.Second); ; {
		now := time.Now().Add(breakerLease)
		if ticket, _, v := b.Allow(numbered(1), now); v == Pass {
			b.Done(ticket, ResultSuccess, now)
		}
		if s, _ := b.State(); s == BreakerClosed {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not close")
		}
	}
}

func TestLatencies(t *testing.T) {
	var l Latencies
	for i := range latencyLeast - 1 {
		l.Add(time.Duration(i))
	}
	if _, ok := l.P95(); ok {
		t.Error("few samples are enough")
	}
	for i := range 1000 {
		l.Add(time.Duration(i%100+1) * time.Millisecond)
	}
	if d, ok := l.P95(); !ok || d < 93*time.Millisecond || d > 97*time.Millisecond {
		t.Errorf("%v of 1 to 100 ms", d)
	}
}

// BenchmarkHealth is what the breaker and the budget cost a request.
func BenchmarkHealth(b *testing.B) {
	breaker, budget := NewBreaker(BreakerOptions{}), NewRetryBudget(20, 0, 10, time.Second)
	b.ReportAllocs()
	now, name := time.Now(), []byte("some/object.txt")
	for b.Loop() {
		key := KeyOf(name, name, nil)
		t, _, _ := breaker.Allow(key, now)
		budget.Count(key, now)
		breaker.Done(t, ResultSuccess, now)
	}
}
