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

// verify has w's candidates tried for its token, when it is the client's turn. wait is how
// long the client's tokens are refused for their failures.
//
// A token that fails counts against its client, one that holds costs it nothing: whoever
// sends good ones is never slowed for how many. The failures are looked at twice, so that
// those who may not be verified do not wait, and those who wait are not verified because they
// came at once.
func (g *Guard) verify(w *workspace, client uint64) (k *key, r Reason, wait time.Duration) {
	if g == nil {
		k, r = w.try()
		return k, r, 0
	}
	if wait = g.failures.Wait(client, time.Since(g.began)); wait > 0 {
		return nil, TooManyFailures, wait
	}
	if !g.turns.take(client, g.failures.Used(client, time.Since(g.began))) {
		return nil, VerifiersBusy, 0
	}
	r = SignatureInvalid // of a verification that panics
	defer func() { g.turns.give(client, r == SignatureInvalid) }()
	if wait = g.failures.Wait(client, time.Since(g.began)); wait > 0 {
		return nil, TooManyFailures, wait
	}
	if k, r = w.try(); r != Allowed {
		g.failures.Take(client, time.Since(g.began))
	}
	return k, r, 0
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
