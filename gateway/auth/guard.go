package auth

import (
	"runtime"
	"time"

	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/keys"
	"yatagarasu/gateway/limit"
)

// Guard bounds what verifying tokens may cost: how many are verified at a time, and how often
// those of one client may fail. The policies of all generations share the first bound. Create
// it with NewGuard; a nil Guard bounds nothing. Safe for concurrent use.
type Guard struct {
	turns    *limit.Turns
	rate     frontend.Rate // the configuration of failures
	failures *limit.Table
	suspects *limit.Table // has no token for clients that failed within a minute
	began    time.Time    // the start of the times in both
}

// turnAtMost is how long a token waits for its turn to be verified.
const turnAtMost = time.Second

// suspicion is for how long a client that has failed comes after those who have not.
var suspicion = limit.Limit{PerSecond: 1.0 / 60, Burst: 1}

// NewGuard returns a guard that lets tokens of each client address fail at rate, for which it
// remembers this number of clients. It takes the place of old, which may be nil, and inherits
// its state.
func NewGuard(rate frontend.Rate, clients int, old *Guard) *Guard {
	if old == nil {
		old = &Guard{turns: limit.NewTurns(max(1, runtime.GOMAXPROCS(0)/2)), suspects: limit.NewTable(suspicion, clients), began: time.Now()}
	}
	g := *old
	if g.rate = rate; rate != old.rate {
		g.failures = limit.NewTable(limit.Limit(rate), clients)
	}
	return &g
}

// verify has w's candidates tried for its token, each when it is the client's turn, until
// deadline. wait is how long the client's tokens are refused for their failures.
//
// There is a turn for each key, since some take milliseconds, and others wait. The client's other
// tokens do not come in between: what a token costs is known before the next one is tried.
func (g *Guard) verify(w *workspace, client uint64, deadline time.Time) (k *keys.Key, r Reason, wait time.Duration) {
	if g == nil {
		k, r = w.try()
		return k, r, 0
	}
	suspect := g.suspects.Wait(client, time.Since(g.began)) > 0
	for i, k := range w.candidates {
		if wait = g.failures.Wait(client, time.Since(g.began)); wait > 0 {
			return nil, TooManyFailures, wait // before it waits for its turn
		}
		if !g.turns.Take(client, limit.Turn{Suspect: suspect, First: i > 0, Deadline: deadline}) {
			return nil, VerifiersBusy, 0
		}
		if r, wait = g.verifyWith(k, w, client, i == len(w.candidates)-1); r != SignatureInvalid {
			return k, r, wait
		}
	}
	return nil, SignatureInvalid, 0
}

// verifyWith tries a key when the turn has come, and ends the turn.
func (g *Guard) verifyWith(k *keys.Key, w *workspace, client uint64, last bool) (r Reason, wait time.Duration) {
	r = SignatureInvalid // of a verification that panics
	defer func() { g.turns.Give(client, r == SignatureInvalid && last) }()
	if wait = g.failures.Wait(client, time.Since(g.began)); wait > 0 {
		return TooManyFailures, wait // others of the client have failed meanwhile
	}
	if k.Verifies(&w.token) {
		return Allowed, 0
	}
	if last {
		g.charge(client, len(w.candidates))
	}
	return SignatureInvalid, 0
}

// ask calls ask when it is the client's turn in line, which ends with the call, and charges the client
// if it returns true. Otherwise r says why it was not called, and wait how long the client's tokens
// are refused for their failures. suspect is as for introspect.Client.AskFor.
func (g *Guard) ask(in *limit.Turns, client uint64, ask func(suspect func(failed bool) bool) (failed bool)) (r Reason, wait time.Duration) {
	if g == nil {
		ask(func(bool) bool { return false })
		return Allowed, 0
	}
	suspect := func(failed bool) bool {
		now := time.Since(g.began)
		if failed {
			return g.suspects.Take(client, now) > 0
		}
		return g.suspects.Wait(client, now) > 0
	}
	if wait = g.failures.Wait(client, time.Since(g.began)); wait > 0 {
		return TooManyFailures, wait
	}
	if !in.Take(client, limit.Turn{Suspect: suspect(false), Deadline: time.Now().Add(turnAtMost)}) {
		return VerifiersBusy, 0
	}
	failed := true // if it panics
	defer func() { in.Give(client, failed || suspect(false)) }()
	if wait = g.failures.Wait(client, time.Since(g.began)); wait > 0 {
		return TooManyFailures, wait // others of the client have failed meanwhile
	}
	if failed = ask(suspect); failed {
		g.charge(client, 1)
	}
	return Allowed, 0
}

// charge counts against a client what was done for its tokens in vain: signatures that were verified,
// issuers that were asked. Signatures of a token that holds with a later key are not: whoever sends
// good tokens is never slowed for how many.
func (g *Guard) charge(client uint64, failures int) {
	now := time.Since(g.began)
	for range failures {
		g.failures.Take(client, now)
	}
	g.suspects.Take(client, now)
}

// forgive takes back the failures of a token that holds after all, with a key that was
// fetched for it.
func (g *Guard) forgive(client uint64, failures int) {
	if g == nil || failures == 0 {
		return
	}
	for range failures {
		g.failures.Return(client)
	}
	g.suspects.Return(client)
}
