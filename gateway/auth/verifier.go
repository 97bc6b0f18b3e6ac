package auth

import (
	"sync"
	"time"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/introspect"
	"yatagarasu/gateway/keys"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/token"
)

// Options are the settings that the configuration file does not have. The zero value
// has the defaults.
type Options struct {
	Keys keys.Options
	// OnIssuer is called when the issuer of this name can be asked about tokens again, with nil,
	// and with the reason when it cannot any more. Default: no call.
	OnIssuer func(name string, err error)
}

// Verifier checks signatures and registered claims as one jwt block of the
// configuration demands. Buckets with the same block share one.
//
// Create it with NewVerifier, call Start before use and Close after. It is safe for
// concurrent use.
type Verifier struct {
	config *access.JWT
	keys   *keys.Keys
	asks   *introspect.Client // nil: the keys alone decide
	asking *limit.Turns       // of asks
	judge  string             // name of the issuer that asks has
	work   sync.Pool          // of *workspace
}

// workspace has the buffers for verifying one token. The zero value is ready for use. Not
// safe for concurrent use.
type workspace struct {
	token      token.Token
	candidates []*keys.Key
	answer     token.Decoder // of the issuer
}

// NewVerifier compiles c. It reads a key set from a file, and none from a URL.
func NewVerifier(c *access.JWT, o Options) (*Verifier, error) {
	k, err := keys.New(c, o.Keys)
	if err != nil {
		return nil, err
	}
	v := &Verifier{config: c, keys: k}
	if c.Introspection.Enabled {
		v.asks, v.asking, v.judge = newIntrospection(c, k, o), limit.NewTurns(c.Introspection.MaxInFlight), issuerName(c)
	}
	v.work.New = func() any { return new(workspace) }
	return v, nil
}

// Inherit takes over old's copy of the key set, if v has the same set and no copy yet.
// Call it before Start.
func (v *Verifier) Inherit(old *Verifier) { v.keys.Inherit(old.keys) }

// KeySet returns the name of the key set, empty where there is none, when it was last
// fetched, zero before that, and how long after that it is trusted; 0: for good.
func (v *Verifier) KeySet() (name string, fetched time.Time, maxAge time.Duration) {
	return v.keys.Set()
}

// Start fetches the key set, if there is one, and keeps it fresh until Close. It fails
// where there is no copy and the configuration does not allow that.
func (v *Verifier) Start() error { return v.keys.Start() }

// Refresh fetches the key set, if there is one, and waits for that. It does nothing
// where there were too many fetches lately.
func (v *Verifier) Refresh() { v.keys.Refresh() }

// Close ends what Start has started. Verifying goes on with the keys at hand.
func (v *Verifier) Close() { v.keys.Close() }

// verifySignature reports whether a key verifies the signature of w.token, by leave of g,
// and the version of the keys that it tried. Where the token names no key at hand, but the
// set could have one for it, it waits for a newer copy of the set: not for long, and at a
// limited rate.
func (v *Verifier) verifySignature(w *workspace, g *Guard, client uint64) (r Reason, wait time.Duration, version uint64) {
	var deadline time.Time
	turnUntil := time.Now().Add(turnAtMost)
	failed := 0 // signatures verified with keys that were not the token's
	for tries := 0; ; tries++ {
		ring := v.keys.Ring()
		known, r := w.choose(ring)
		if r == Allowed {
			switch _, r, wait = g.verify(w, client, turnUntil); r {
			case SignatureInvalid:
				failed += len(w.candidates)
			case Allowed:
				g.forgive(client, failed)
			}
		}
		if r == Allowed || r.Answer() == Later || known || !v.keys.MayFetch(w.token.Alg) {
			return r, wait, ring.Version
		}
		if tries == 0 {
			deadline = v.keys.Deadline()
		}
		if tries == 2 || !v.keys.WaitForNewer(ring, deadline) {
			if !ring.Fetched {
				r = KeysUnavailable
			}
			return r, 0, ring.Version
		}
	}
}

// choose has w's candidates be the keys of ring for its token; known reports that its kid
// names one of them.
func (w *workspace) choose(ring *keys.Ring) (known bool, r Reason) {
	candidates, known, err := ring.Candidates(w.candidates[:0], &w.token)
	w.candidates = candidates
	return known, refusal(err)
}

// try tries the candidates for the token.
func (w *workspace) try() (k *keys.Key, r Reason) {
	for _, k := range w.candidates {
		if k.Verifies(&w.token) {
			return k, Allowed
		}
	}
	return nil, SignatureInvalid
}

// period is the time in which a token is valid, in Unix nanoseconds, leeway included.
type period struct{ from, until int64 }

// registered checks the registered claims (RFC 7519, 4.1) of a token, and its type.
func (v *Verifier) registered(t *token.Token, claims token.Object, now int64) (p period, r Reason) {
	leeway := v.config.Leeway.Nanoseconds()
	exp, expires, expOK := claims.Date("exp", false)
	nbf, _, nbfOK := claims.Date("nbf", true)
	iat, _, iatOK := claims.Date("iat", true)
	switch {
	case !expOK:
		return p, DateInvalid
	case !expires && v.config.RequireExp:
		return p, ExpiryMissing
	case !nbfOK, !iatOK:
		return p, DateInvalid
	}
	p = period{from: max(nbf, iat) - leeway, until: token.Forever}
	if expires {
		p.until = min(exp, token.Forever-leeway) + leeway
	}
	switch {
	case now >= p.until:
		return p, Expired
	case now < nbf-leeway:
		return p, NotYetValid
	case now < iat-leeway:
		return p, IssuedInFuture
	case !claims.IssuedBy(v.config.Issuer):
		return p, IssuerRefused
	case !v.config.AnyAudience && !claims.MeantFor(v.config.Audience):
		return p, AudienceRefused
	case v.config.Typ != "" && !t.IsType(v.config.Typ):
		return p, TypeRefused
	}
	return p, Allowed
}
