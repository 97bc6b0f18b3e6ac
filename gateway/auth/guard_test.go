package auth

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/keys"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/token"
	"yatagarasu/loadtest/keyserver"
)

// usual is the limit of failures of a file that says nothing of it.
var usual = frontend.Rate{PerSecond: 5, Burst: 50}

// guarded returns a policy with a guard that has one turn, and the number of signatures that
// were looked at. Each takes as long as takes.
func guarded(t *testing.T, block string, takes time.Duration) (*Policy, *atomic.Int64) {
	t.Helper()
	p := newPolicy(t, block)
	p.guard = NewGuard(usual, 1000, nil)
	p.guard.turns = limit.NewTurns(1)
	tries, busy := new(atomic.Int64), new(atomic.Int64)
	all := p.verifier.keys.Ring().Keys
	for i := range all {
		verifies := all[i].Verifies
		all[i].Verifies = func(tok *token.Token) bool {
			if tries.Add(1); busy.Add(1) > 1 {
				t.Error("two tokens are verified at once")
			}
			time.Sleep(takes)
			busy.Add(-1)
			return verifies(tok)
		}
	}
	return p, tries
}

// fourKeys returns a block with four keys without kid, of which the last is that of valid tokens.
func fourKeys() string {
	var keys []string
	for i := range 3 {
		keys = append(keys, fmt.Sprintf("{algorithm: HS256, secret: 0123456789abcdef0123456789abcd%02d}", i))
	}
	return "jwt: {keys: [" + strings.Join(append(keys, "{algorithm: HS256, secret: "+secret+"}"), ", ") + "]}"
}

// sentBy returns a request with a token by a client.
func sentBy(client, token string) *Request {
	q := request(token, "x")
	q.Client = netip.MustParseAddr(client)
	return q
}

func forged(n int) string { return sign(fmt.Sprint(n), "ffffffffffffffffffffffffffffffff") }

const (
	attacker = "192.0.2.66"
	honest   = "198.51.100.1"
)

func TestInvalidTokens(t *testing.T) {
	const burst = 50
	t.Run("T90a_failures_are_charged_to_their_address", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, tries := guarded(t, hs256(""), 0)
			known := sentBy(attacker, valid(""))
			if r := p.Authorize(known).Reason; r != Allowed {
				t.Fatal(r)
			}
			for i := range burst {
				if r := p.Authorize(sentBy(attacker, forged(i))).Reason; r != SignatureInvalid {
					t.Fatalf("%d: %q", i, r)
				}
			}
			before := tries.Load()
			for _, client := range []string{attacker, "::ffff:" + attacker} {
				for _, tok := range []string{forged(burst), valid(`"n":1`)} {
					if v := p.Authorize(sentBy(client, tok)); v.Reason != TooManyFailures || v.Wait <= 0 || v.Wait > 200*time.Millisecond {
						t.Errorf("beyond the burst: %q, wait %v", v.Reason, v.Wait)
					}
				}
			}
			if n := tries.Load() - before; n != 0 {
				t.Errorf("%d signatures were looked at beyond the burst", n)
			}
			for name, c := range map[string]struct {
				q    *Request
				want Reason
			}{
				"a remembered good token": {known, Allowed}, "a remembered bad one": {sentBy(attacker, forged(burst-1)), SignatureInvalid},
				"one that has expired": {sentBy(attacker, handmade(plainHeader, `{"exp":1}`)), Expired}, "another client": {sentBy(honest, valid(`"n":2`)), Allowed},
			} {
				if got := p.Authorize(c.q).Reason; got != c.want {
					t.Errorf("%s: %q, want %q", name, got, c.want)
				}
			}
			time.Sleep(200 * time.Millisecond) // of the bubble
			if r := p.Authorize(sentBy(attacker, valid(`"n":3`))).Reason; r != Allowed {
				t.Errorf("a good token after the wait: %q", r)
			}
			if a, b := p.Authorize(sentBy(attacker, forged(burst+1))).Reason, p.Authorize(sentBy(attacker, forged(burst+2))).Reason; a != SignatureInvalid || b != TooManyFailures {
				t.Errorf("after the wait: %q, %q", a, b)
			}
		})
	})
	t.Run("T90a_each_signature_counts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, tries := guarded(t, fourKeys(), 0)
			for i := range 3 * burst { // three keys fail before the one that holds
				if r := p.Authorize(sentBy(attacker, valid(fmt.Sprintf(`"n":%d`, i)))).Reason; r != Allowed {
					t.Fatalf("good token %d: %q", i, r)
				}
			}
			tries.Store(0)
			for i := range burst {
				if r := p.Authorize(sentBy(attacker, forged(i))).Reason; r != SignatureInvalid && r != TooManyFailures {
					t.Fatalf("forged token %d: %q", i, r)
				}
			}
			if n := tries.Load(); n < burst || n > burst+3 { // a token is tried to its end
				t.Errorf("%d signatures were verified in vain, want about %d", n, burst)
			}
		})
	})
	t.Run("T90a_good_tokens_at_once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, tries := guarded(t, fourKeys(), 120*time.Microsecond)
			const tokens = 500
			var all sync.WaitGroup
			for i := range tokens {
				all.Go(func() {
					if r := p.Authorize(sentBy(honest, valid(fmt.Sprintf(`"n":%d`, i)))).Reason; r != Allowed {
						t.Errorf("good token %d: %q", i, r)
					}
				})
			}
			all.Wait()
			if n := tries.Load(); n != 4*tokens {
				t.Errorf("%d signatures were verified, want all", n)
			}
		})
	})
	t.Run("T90d_who_has_failed_comes_last_for_a_minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const cost, addresses = 3 * time.Millisecond, 400
			p, _ := guarded(t, hs256(""), cost)
			ctx, end := context.WithCancel(t.Context())
			var attackers sync.WaitGroup
			for i := range addresses {
				attackers.Go(func() {
					for j := 0; ctx.Err() == nil; j++ {
						q := sentBy(attacker, forged(i<<16+j))
						q.Client = netip.AddrFrom4([4]byte{192, 0, byte(2 + i/200), byte(i % 200)})
						p.Authorize(q)
						time.Sleep(250 * time.Millisecond) // whose rate is five a second
					}
				})
			}
			time.Sleep(5 * time.Second) // each has failed
			for i := range 20 {
				time.Sleep(10 * time.Millisecond)
				began := time.Now()
				if r := p.Authorize(sentBy(honest, valid(fmt.Sprintf(`"n":%d`, i)))).Reason; r != Allowed || time.Since(began) > 2*cost {
					t.Errorf("the honest client's token %d: %q after %v", i, r, time.Since(began))
				}
			}
			end()
			attackers.Wait()
		})
	})
	t.Run("T90b_four_keys_are_tried_without_a_kid", func(t *testing.T) {
		var keys []string
		for i := range 9 {
			keys = append(keys, fmt.Sprintf("{kid: k%d, algorithm: HS256, secret: 0123456789abcdef0123456789abcd%02d}", i, i))
		}
		keys = append(keys, "{algorithm: HS256, secret: "+secret+"}")
		p, tries := guarded(t, "jwt: {keys: ["+strings.Join(keys, ", ")+"]}", 0)
		if r := p.Authorize(sentBy(attacker, forged(1))).Reason; r != SignatureInvalid || tries.Load() != 4 {
			t.Errorf("%q after %d tries", r, tries.Load())
		}
		if r := p.Authorize(sentBy(attacker, valid(""))).Reason; r != Allowed { // by the last key, which has no kid
			t.Errorf("%q", r)
		}
		tries.Store(0)
		if r := p.Authorize(sentBy(attacker, handmade(`{"alg":"HS256","kid":"k8"}`, claimsAt("")))).Reason; r != SignatureInvalid || tries.Load() != 1 {
			t.Errorf("with a kid: %q after %d tries", r, tries.Load())
		}
	})
	t.Run("T90c_claims_come_before_signatures", func(t *testing.T) {
		p, tries := guarded(t, hs256("issuer: me\n"), 0)
		for claims, want := range map[string]Reason{
			`{"iss":"me","exp":1}`: Expired, `{"iss":"me"}`: ExpiryMissing, `{"iss":"me","exp":"x"}`: DateInvalid, `{"iss":"me","exp":2e9,"exp":2e9}`: ClaimsMalformed,
			`{"iss":"me","exp":2e9,"nbf":2e9}`: NotYetValid, `{"iss":"me","exp":2e9,"iat":2e9}`: IssuedInFuture, `{"iss":"you","exp":2e9}`: IssuerRefused,
			`{"iss":"me","exp":2e9,"aud":"others"}`: AudienceRefused,
		} {
			tok := handmade(plainHeader, claims)
			tok = tok[:len(tok)-4] + "AAAA"
			if v := p.Authorize(sentBy(attacker, tok)); v.Reason != want || v.Subject != "" {
				t.Errorf("%s: %+v, want %q", claims, v, want)
			}
			// Whether there is such a key changes nothing.
			unknown := handmade(`{"alg":"ES512","kid":"x"}`, claims)
			if r := p.Authorize(sentBy(attacker, unknown)).Reason; r != want {
				t.Errorf("%s of an unknown key: %q, want %q", claims, r, want)
			}
		}
		if n := tries.Load(); n != 0 {
			t.Errorf("%d signatures were looked at", n)
		}
	})
	t.Run("T90d_clients_take_turns", func(t *testing.T) {
		for name, c := range map[string]struct {
			addresses int
			failures  frontend.Rate
			waits     int // for so many at most, its own among them
		}{
			"one address, no limit": {1, frontend.Rate{}, 3}, "twenty addresses, no limit": {20, frontend.Rate{}, 22},
			"twenty addresses that have failed": {20, frontend.Rate{PerSecond: 0.001, Burst: 10_000}, 2}, "twenty addresses": {20, usual, 2},
		} {
			addresses := c.addresses
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const cost = 10 * time.Millisecond
					p, _ := guarded(t, hs256(""), cost)
					p.guard = NewGuard(c.failures, 1000, p.guard)
					time.Sleep(time.Second)
					var attackers sync.WaitGroup
					for i := range 400 {
						attackers.Go(func() {
							client := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % addresses)})
							for j := range 5 {
								q := sentBy(attacker, forged(5*i+j))
								q.Client = client
								if r := p.Authorize(q).Reason; r != SignatureInvalid && r != VerifiersBusy && (r != TooManyFailures || c.failures == frontend.Rate{}) {
									t.Errorf("%q", r)
								}
							}
						})
					}
					time.Sleep(time.Duration(addresses) * cost) // each has failed
					var longest time.Duration
					for i := range 20 {
						time.Sleep(7 * time.Millisecond)
						began := time.Now()
						if r := p.Authorize(sentBy(honest, valid(fmt.Sprintf(`"n":%d`, i)))).Reason; r != Allowed {
							t.Errorf("the honest client's token %d: %q", i, r)
						}
						longest = max(longest, time.Since(began))
					}
					if most := time.Duration(c.waits) * cost; longest > most {
						t.Errorf("the honest client waited %v, more than %v", longest, most)
					}
					attackers.Wait()
					if n := p.guard.turns.Free(); n != 1 {
						t.Errorf("left: %d turns", n)
					}
				})
			})
		}
	})
	t.Run("T90e_who_waits_too_long_is_told_so", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, tries := guarded(t, hs256(""), 0)
			p.guard.turns.Take(0, limit.Turn{}) // somebody else's, which does not end
			began := time.Now()
			if r := p.Authorize(sentBy(honest, valid(""))).Reason; r != VerifiersBusy || time.Since(began) != turnAtMost {
				t.Errorf("%q after %v", r, time.Since(began))
			}
			p.guard.turns.Give(0, false)
			if r := p.Authorize(sentBy(honest, valid(""))).Reason; r != Allowed || tries.Load() != 1 {
				t.Errorf("%q after %d tries", r, tries.Load())
			}
		})
	})
	t.Run("T90f_bad_tokens_are_remembered_in_their_own_room", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, tries := guarded(t, hs256(""), 0)
			for range 1000 {
				if r := p.Authorize(sentBy(attacker, forged(0))).Reason; r != SignatureInvalid {
					t.Fatal(r)
				}
			}
			if n := tries.Load(); n != 1 {
				t.Errorf("the same bad token was verified %d times", n)
			}
			good := sentBy(honest, valid(""))
			p.Authorize(good)
			for i := range 5000 {
				q := sentBy(attacker, forged(i))
				q.Client = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
				p.Authorize(q)
			}
			before := tries.Load()
			if r := p.Authorize(good).Reason; r != Allowed || tries.Load() != before {
				t.Errorf("the good token was verified again: %q", r)
			}
		})
	})
}

// A token that is tried with a configured key before its own is fetched has not failed.
func TestFailuresAreForgiven(t *testing.T) {
	one, two := keyserver.NewKey(t), keyserver.NewKey(t)
	public := filepath.Join(t.TempDir(), "public.pem")
	der, err := x509.MarshalPKIXPublicKey(one.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := keyserver.Start(t, keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"other": one})))
	p := remotePolicy(t, s.URL, keys.Options{WaitAtMost: time.Minute}, "keys: [{algorithm: ES256, public_key_file: "+public+"}]")
	p.guard = NewGuard(frontend.Rate{PerSecond: 0.001, Burst: 2}, 10, nil)
	s.Set(keyserver.Text(keyserver.KeySet(t, map[string]crypto.Signer{"two": two})))
	for i, c := range []struct {
		token string
		want  Reason
	}{
		{signedBy(t, "ES256", two, "two"), Allowed}, // tried with the key without kid, then fetched
		{signedBy(t, "ES256", one, "two"), SignatureInvalid}, {badlySigned(signedBy(t, "ES256", two, "two")), SignatureInvalid}, {signedBy(t, "ES256", two, ""), TooManyFailures},
	} {
		if got := p.Authorize(sentBy(honest, c.token)).Reason; got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
}

// A new generation goes on with the turns, and with the failures unless their limit is
// another.
func TestGuardInherits(t *testing.T) {
	one := NewGuard(usual, 10, nil)
	same, other := NewGuard(usual, 10, one), NewGuard(frontend.Rate{PerSecond: 1, Burst: 1}, 10, one)
	off := NewGuard(frontend.Rate{}, 10, other)
	if same.turns != one.turns || other.turns != one.turns || off.turns != one.turns {
		t.Error("there are several bounds")
	}
	if same.failures != one.failures || other.failures == one.failures || off.failures != nil {
		t.Error("the failures are forgotten, or not")
	}
}
