package auth

import (
	"time"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/limit"
)

// Guard bounds what verifying tokens may cost: how many are verified at a time, and how often
// those of one client may fail. The policies of all generations share the first bound. Create
// it with NewGuard; a nil Guard bounds nothing. Safe for concurrent use.
type Guard struct {
	turns    *turns
	rate     config.Rate // the configuration of failures
	failures *limit.Table
	began    time.Time // the start of the times in failures
}

// NewGuard returns a guard that lets tokens of each client address fail at rate, for which it
// remembers this number of clients. It takes the place of old, which may be nil, and inherits
// its state.
func NewGuard(rate config.Rate, clients int, old *Guard) *Guard {
	if old == nil {
		old = &Guard{turns: newTurns(), began: time.Now()}
	}
	g := *old
	if g.rate = rate; rate != old.rate {
		g.failures = limit.NewTable(limit.Limit(rate), clients)
	}
	return &g
}

// verify has w's candidates tried for its token, each when it is the client's turn. wait is how
// long the client's tokens are refused for their failures.
//
// Each signature verified in vain counts against its client, but none of a token that holds with
// another key: whoever sends good ones is never slowed for how many. There is a turn for each,
// since some take milliseconds, and others wait.
func (g *Guard) verify(w *workspace, client uint64) (k *key, r Reason, wait time.Duration) {
	if g == nil {
		k, r = w.try()
		return k, r, 0
	}
	suspect := g.failures.Used(client, time.Since(g.began))
	for i, k := range w.candidates {
		r, wait = g.verifyWith(k, w, client, suspect, i == len(w.candidates)-1)
		if r == Allowed {
			g.forgive(client, i)
		}
		if r != SignatureInvalid {
			return k, r, wait
		}
	}
	return nil, SignatureInvalid, 0
}

// verifyWith tries one key. The failures are looked at twice, so that those who may not be
// verified do not wait, and those who wait are not verified because they came at once.
func (g *Guard) verifyWith(k *key, w *workspace, client uint64, suspect, last bool) (r Reason, wait time.Duration) {
	if wait = g.failures.Wait(client, time.Since(g.began)); wait > 0 {
		return TooManyFailures, wait
	}
	if !g.turns.take(client, suspect) {
		return VerifiersBusy, 0
	}
	r = SignatureInvalid // of a verification that panics
	defer func() { g.turns.give(client, r == SignatureInvalid && last) }()
	if wait = g.failures.Wait(client, time.Since(g.began)); wait > 0 {
		return TooManyFailures, wait
	}
	if k.verifies(&w.token) {
		return Allowed, 0
	}
	g.failures.Take(client, time.Since(g.began))
	return SignatureInvalid, 0
}

// forgive takes back the failures of a token that holds after all, with a key that was
// fetched for it.
func (g *Guard) forgive(client uint64, failures int) {
	if g == nil {
		return
	}
	for range failures {
		g.failures.Return(client)
	}
}
