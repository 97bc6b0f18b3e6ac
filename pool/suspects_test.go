package pool

import (
	"testing"
	"time"
)

// TestBreakerKeys has keys that fail, each by itself.
func TestBreakerKeys(t *testing.T) {
	bad := numbered(7)
	for name, c := range map[string]struct {
		steps func(b *trial)
		want  BreakerState
	}{
		"one without an answer": {func(b *trial) {
			for range 1000 {
				b.ask(bad, ResultSilence)
				b.now = b.now.Add(50 * time.Millisecond)
			}
		}, BreakerClosed},
		"one that is answered by nonsense": {func(b *trial) {
			for range 1000 {
				b.ask(bad, ResultFailure)
				b.now = b.now.Add(50 * time.Millisecond)
			}
		}, BreakerClosed},
		"one whose body breaks off": {func(b *trial) {
			for range 1000 {
				b.breakOffOf(bad)
				b.now = b.now.Add(50 * time.Millisecond)
			}
		}, BreakerClosed},
		"one, however few failures are enough": {func(b *trial) {
			b.opts.Consecutive, b.opts.FailureRate = 1, 1
			for range 30 {
				b.do(ResultSuccess)
			}
			b.ask(bad, ResultSilence)
			b.breakOffOf(bad)
		}, BreakerClosed},
		"one that answers every other time": {func(b *trial) {
			b.opts.Consecutive = 1000
			for range 1000 {
				b.ask(bad, ResultSuccess)
				b.ask(bad, ResultSilence)
				b.ask(bad, ResultFailure)
			}
		}, BreakerClosed},
		"two": {func(b *trial) {
			b.opts.Consecutive, b.opts.FailureRate = 1, 1
			for i := range uint64(1000) {
				b.ask(numbered(i%2), ResultSilence)
			}
		}, BreakerClosed},
		"one, while no connection can be made": {func(b *trial) {
			for range 10 {
				b.ask(bad, ResultUnreachable)
			}
		}, BreakerOpen},
		"one, while nine times no connection can be made": {func(b *trial) {
			for range 9 {
				b.ask(bad, ResultUnreachable)
			}
		}, BreakerClosed},
		"one beside half of the others": {func(b *trial) {
			for range 10 {
				b.ask(bad, ResultFailure)
				b.do(ResultFailure)
				b.do(ResultSuccess)
			}
		}, BreakerOpen},
		"one in a flood beside four in ten": {func(b *trial) {
			for i := range 100 {
				b.ask(bad, ResultFailure)
				b.do([]Result{ResultSuccess, ResultSuccess, ResultSuccess, ResultFailure, ResultFailure}[i%5])
			}
		}, BreakerClosed},
		"many whose own heads are malformed": {func(b *trial) {
			for range 1000 {
				b.do(ResultOfKey)
			}
		}, BreakerClosed},
		"tries of nine requests": {func(b *trial) {
			for range 9 {
				k := b.next()
				for range 3 {
					t, _, _ := b.Allow(k, b.now)
					b.Done(t.Again(), ResultSilence, b.now)
				}
			}
		}, BreakerClosed},
	} {
		b := newTrial(BreakerOptions{})
		c.steps(b)
		if b.state() != c.want {
			t.Errorf("%s: %v, want %v", name, b.state(), c.want)
		}
	}
}

// TestBreakerRecoversBesideABadKey has one bad key tried again and again, every ten seconds
// or all the time, while the breaker is open, and others seldom asked for.
func TestBreakerRecoversBesideABadKey(t *testing.T) {
	bad := numbered(7)
	for name, c := range map[string]struct {
		every time.Duration
		fail  func(b *trial)
	}{
		"every ten seconds, without an answer": {10 * time.Second, func(b *trial) { b.ask(bad, ResultSilence) }},
		"every ten seconds, body":              {10 * time.Second, func(b *trial) { b.breakOffOf(bad) }},
		"all the time, an error":               {50 * time.Millisecond, func(b *trial) { b.ask(bad, ResultFailure) }},
		"all the time, body":                   {50 * time.Millisecond, func(b *trial) { b.breakOffOf(bad) }},
	} {
		b := openBreaker(BreakerOptions{})
		passed := 0
		for span := time.Duration(0); span < time.Minute; span += c.every {
			b.now = b.now.Add(c.every)
			c.fail(b)
			if b.do(ResultSuccess) {
				passed++
			}
		}
		if passed < 4 || b.state() != BreakerClosed {
			t.Errorf("%s: %d of the others pass, and the breaker is %v", name, passed, b.state())
		}
		if _, opens := b.State(); opens != 1 {
			t.Errorf("%s: it opened %d times", name, opens)
		}
	}
}

// TestKeyFails has a key fail until no request for it passes, and then answer again.
func TestKeyFails(t *testing.T) {
	bad := numbered(7)
	b := newTrial(BreakerOptions{})
	fail := func(times int) {
		t.Helper()
		for range times {
			if v := b.ask(bad, ResultFailure); v != Pass {
				t.Fatalf("%v, and not three requests have failed", v)
			}
		}
	}
	refused := func() {
		t.Helper()
		if _, wait, v := b.Allow(bad, b.now); v != KeyFails || wait <= 0 || wait > mostPause {
			t.Fatalf("%v, wait %v; want that it is not asked for", v, wait)
		}
		if !b.do(ResultSuccess) {
			t.Fatal("others are not asked for, either")
		}
	}
	fail(2)
	b.ask(bad, ResultSuccess)
	fail(2)
	b.now = b.now.Add(suspectSpan + time.Second)
	fail(3)
	refused()
	if _, wait, _ := b.Allow(bad, b.now); wait != leastPause {
		t.Errorf("the first pause is %v", wait)
	}
	b.now = b.now.Add(leastPause)
	on, _, v := b.Allow(bad, b.now)
	if v != Pass {
		t.Fatalf("none tries after the pause: %v", v)
	}
	refused()
	b.Done(on, ResultFailure, b.now)
	refused()
	b.now = b.now.Add(leastPause)
	refused()
	b.now = b.now.Add(leastPause)
	on, _, _ = b.Allow(bad, b.now)
	b.Done(on, ResultNone, b.now) // it was given up
	on, _, v = b.Allow(bad, b.now)
	if v != Pass {
		t.Fatalf("one that says nothing takes the place of the next: %v", v)
	}
	b.Done(on, ResultSuccess, b.now)
	fail(2)
	b.ask(bad, ResultSuccess)
	for range suspectFailures {
		b.breakOffOf(bad) // though each of them begins well
	}
	refused()
	b.now = b.now.Add(suspectMemory)
	fail(2)

	again := newTrial(BreakerOptions{})
	for range 10 {
		ticket, _, _ := again.Allow(bad, again.now)
		again.Done(ticket.Again(), ResultFailure, again.now)
	}
	if v := again.ask(bad, ResultFailure); v != Pass {
		t.Errorf("tries of one request: %v", v)
	}
}

// TestSuspectsAreBounded has very many keys fail.
func TestSuspectsAreBounded(t *testing.T) {
	var s suspects
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range uint64(100_000) {
		one := s.add(numbered(i + 1).name)
		one.fail(now, false)
		one.last = now.Add(time.Duration(i))
	}
	known := 0
	for i := range uint64(100_000) {
		if s.find(numbered(i+1).name) != nil {
			known++
		}
	}
	if known != suspectSets*suspectWays {
		t.Errorf("%d keys are known, and there is room for %d", known, suspectSets*suspectWays)
	}
	if s.find(numbered(100_000).name) == nil {
		t.Error("the last one is forgotten")
	}
}

// TestResultOf has each error judge the origin, one of its objects, or nothing.
func TestResultOf(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want Result
	}{
		{"no name", &Error{Reason: ReasonDNS, Phase: PhaseConnect}, ResultUnreachable},
		{"refused", &Error{Reason: ReasonConnect, Phase: PhaseConnect}, ResultUnreachable},
		{"no certificate", &Error{Reason: ReasonTLS, Phase: PhaseTLS}, ResultUnreachable},
		{"no connection in time", &Error{Reason: ReasonTimeout, Phase: PhaseConnect}, ResultUnreachable},
		{"closed before it was asked", &Error{Reason: ReasonReset, Phase: PhaseSend}, ResultUnreachable},
		{"closed", &Error{Reason: ReasonReset, Phase: PhaseHead, Sent: true}, ResultSilence},
		{"no answer in time", &Error{Reason: ReasonTimeout, Phase: PhaseHead, Sent: true}, ResultSilence},
		{"a document that breaks off", &Error{Reason: ReasonTruncated, Phase: PhaseBody, Sent: true}, ResultSilence},
		{"not HTTP", protocolError(errNotHTTP), ResultFailure},
		{"no length", protocolError(errFraming), ResultFailure},
		{"a malformed head", protocolError(errHeadBad), ResultOfKey},
		{"a long head", protocolError(errHeadTooLarge), ResultOfKey},
		{"no place", &Error{Reason: ReasonQueue}, ResultNone},
		{"the client", &Error{Reason: ReasonClientGone, Phase: PhaseBody, Sent: true}, ResultNone},
		{"another error", errHeadBad, ResultNone},
	} {
		if got := ResultOf(c.err); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestFailingVersion has one version, and one spelling, fail: the object itself is asked for, and
// what failed counts as one object.
func TestFailingVersion(t *testing.T) {
	b, now := NewBreaker(BreakerOptions{}), time.Unix(1e9, 0)
	name := []byte("d/x")
	sound := KeyOf(name, name, nil)
	for _, bad := range []Key{KeyOf(name, name, []byte("versionId=1")), KeyOf(name, []byte("d//x"), nil), KeyOf(name, []byte("d//x"), []byte("versionId=1"))} {
		for range suspectFailures {
			ticket, _, v := b.Allow(bad, now)
			if v != Pass {
				t.Fatalf("%v: %v", bad, v)
			}
			b.Done(ticket, ResultFailure, now)
		}
		if _, _, v := b.Allow(bad, now); v != KeyFails {
			t.Errorf("%v passes", bad)
		}
		if _, _, v := b.Allow(sound, now); v != Pass {
			t.Fatalf("the object itself: %v after %v", v, bad)
		}
	}
	if _, failures := b.window.sum(now); failures != 1 {
		t.Errorf("%d failures count, want one for all spellings and versions", failures)
	}
}
