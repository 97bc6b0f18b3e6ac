package probe

import (
	"testing"
	"testing/synctest"
	"time"

	"yatagarasu/gateway/config/upstream"
	"yatagarasu/gateway/origin"
	"yatagarasu/pool"
)

// openBreaker opens a breaker.
func openBreaker(b *pool.Breaker) {
	for range 10 {
		now := time.Now()
		ticket, _, _ := b.Allow(pool.Key{}, now)
		b.Done(ticket, pool.ResultUnreachable, now)
	}
}

// TestAwait has two of three breakers wait for probes.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Readiness{done: make(chan struct{})}
		group := make([]*origin.Replica, 3)
		for i := range group {
			group[i] = &origin.Replica{Health: &origin.Health{Breaker: pool.NewBreaker(pool.BreakerOptions{Probed: true})}}
		}
		openBreaker(group[0].Health.Breaker)
		openBreaker(group[2].Health.Breaker)
		begin := time.Now()
		due := begin.Add(8500 * time.Millisecond)
		for i, want := range []int{0, 2, 2, 0, 2, -1} {
			p, ok := r.await(group, i, due)
			after := min(time.Duration(i+1)*time.Second, due.Sub(begin))
			switch {
			case !ok || (p == nil) != (want < 0) || p != nil && p != group[max(want, 0)]:
				t.Fatalf("step %d: %+v, %t; want replica %d", i, p, ok, want)
			case p == nil:
				after = due.Sub(begin)
			case i == 3 || i == 4:
				p.Health.Breaker.Probe(true) // it is waited for no longer
			default:
				p.Health.Breaker.Probe(false)
			}
			if took := time.Since(begin); took != after {
				t.Errorf("step %d: after %v, want %v", i, took, after)
			}
		}
		close(r.done)
		if _, ok := r.await(group, 0, time.Now().Add(time.Minute)); ok {
			t.Error("it goes on after the end")
		}
	})
}

// TestReadyIsKept has those who ask without end for what everybody may know look at no bucket,
// and see what has changed soon.
func TestReadyIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &origin.Replica{S3: upstream.S3{Origin: upstream.Origin{Credentials: upstream.Credentials{Source: upstream.SourceStatic}}}, Health: &origin.Health{Breaker: pool.NewBreaker(pool.BreakerOptions{Probed: true})}}
		r := New([]*origin.Bucket{{Replicas: []*origin.Replica{p}}}, "any", nil)
		expect := func(what string, draining, whole bool, want int) {
			t.Helper()
			if got, doc := r.Report(draining, whole); got != want {
				t.Errorf("%s: %d %v, want %d", what, got, doc, want)
			}
		}
		expect("at first", false, false, 200)
		openBreaker(p.Health.Breaker)
		expect("within the time", false, false, 200)
		expect("stopping", true, false, 503)
		kept := r.brief.Load()
		time.Sleep(briefTime) // of the test's own clock
		if expect("at its end", false, false, 200); r.brief.Load() != kept {
			t.Error("the buckets were looked at again")
		}
		time.Sleep(time.Nanosecond) // of the test's own clock
		expect("after the time", false, false, 503)
		p.Health.Breaker = pool.NewBreaker(pool.BreakerOptions{Probed: true})
		expect("within the next", false, false, 503)
		expect("the whole one", false, true, 200)
		expect("after the whole one", false, false, 200)
	})
}
