package auth

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/config/access"
)

// Options are the settings that the configuration file does not have. The zero value
// has the defaults.
type Options struct {
	// RefreshEvery is the interval between fetches of a key set. Default 5 minutes.
	RefreshEvery time.Duration
	// RetryAfter is the interval after a failed fetch. It doubles with each further
	// failure, up to RefreshEvery. Default 5 s.
	RetryAfter time.Duration
	// EarlyEvery and EarlyBurst bound the fetches that unknown keys cause: EarlyBurst
	// at once, and one more in each EarlyEvery. Default 10 s, 3.
	EarlyEvery time.Duration
	EarlyBurst int
	// FetchTimeout bounds one fetch. Default 5 s.
	FetchTimeout time.Duration
	// WaitAtMost is how long a token with an unknown key waits for a fetch. Default 1 s.
	WaitAtMost time.Duration
	// RootCAs are the authorities trusted for a jwks_url. Nil: the system's.
	RootCAs *x509.CertPool
	// OnFetch is called after each fetch of the key set of this name, by the goroutine
	// that fetches; err is nil after a success. Default: no call.
	OnFetch func(name string, err error)
	// OnCrowd is called, likewise, where a new key set of this name brings more keys for
	// an algorithm than are tried with a token that names none. Default: no call.
	OnCrowd func(name, algorithm string)
	// OnTooOld is called, likewise, where the key set of this name is no longer trusted,
	// because it could not be fetched for maxAge. Default: no call.
	OnTooOld func(name string, maxAge time.Duration)
	// OnLeftOut is called, likewise, once for each key of the set of this name that
	// verifies nothing. key is its kid, for people; usual reports that the key is right,
	// but for another use. Default: no call.
	OnLeftOut func(name, key string, why error, usual bool)
}

func (o *Options) setDefaults() {
	o.RefreshEvery = cmp.Or(max(o.RefreshEvery, 0), 5*time.Minute)
	o.RetryAfter = cmp.Or(max(o.RetryAfter, 0), 5*time.Second)
	o.EarlyEvery = cmp.Or(max(o.EarlyEvery, 0), 10*time.Second)
	o.EarlyBurst = cmp.Or(max(o.EarlyBurst, 0), 3)
	o.FetchTimeout = cmp.Or(max(o.FetchTimeout, 0), 5*time.Second)
	o.WaitAtMost = cmp.Or(max(o.WaitAtMost, 0), time.Second)
	if o.OnFetch == nil {
		o.OnFetch = func(string, error) {}
	}
	if o.OnLeftOut == nil {
		o.OnLeftOut = func(string, string, error, bool) {}
	}
	if o.OnTooOld == nil {
		o.OnTooOld = func(string, time.Duration) {}
	}
	if o.OnCrowd == nil {
		o.OnCrowd = func(string, string) {}
	}
}

// Verifier checks signatures and registered claims as one jwt block of the
// configuration demands. Buckets with the same block share one.
//
// Create it with NewVerifier, call Start before use and Close after. It is safe for
// concurrent use.
type Verifier struct {
	config *access.JWT
	keys   []key
	ring   atomic.Pointer[keyring]
	set    *keySet   // nil: there are configured keys alone
	work   sync.Pool // of *workspace
}

// workspace has the buffers for verifying one token. The zero value is ready for use. Not
// safe for concurrent use.
type workspace struct {
	token      token
	candidates []*key
}

// NewVerifier compiles c. It reads a key set from a file, and none from a URL.
func NewVerifier(c *access.JWT, o Options) (*Verifier, error) {
	o.setDefaults()
	v := &Verifier{config: c}
	v.work.New = func() any { return new(workspace) }
	var err error
	if v.keys, err = configuredKeys(c); err != nil {
		return nil, err
	}
	v.ring.Store(&keyring{keys: v.keys, version: 1})
	if c.JWKSURL != "" || c.JWKSFile != "" {
		v.set = newKeySet(c, o, v.setKeys)
	}
	if c.JWKSFile != "" {
		if err := v.set.refresh(); err != nil {
			v.set.close()
			return nil, err
		}
	}
	return v, nil
}

// setKeys uses fetched keys beside the configured ones; without any, those alone. Only the
// fetching goroutine calls it, and Inherit before there is one.
func (v *Verifier) setKeys(fetched []key) {
	ring := &keyring{version: v.ring.Load().version + 1, fetched: len(fetched) > 0}
	ring.keys = append(append(ring.keys, v.keys...), fetched...)
	v.ring.Store(ring)
	if a := ring.crowded(); a != "" {
		v.set.o.OnCrowd(v.set.name, a)
	}
}

// Inherit takes over old's copy of the key set, if v has the same set and no copy yet.
// Call it before Start.
func (v *Verifier) Inherit(old *Verifier) {
	ring, c, o := old.ring.Load(), v.config, old.config
	if c.JWKSURL != "" && c.JWKSURL == o.JWKSURL && c.JWKSAlgorithm == o.JWKSAlgorithm && bytes.Equal(c.CA, o.CA) && ring.fetched && !v.ring.Load().fetched {
		v.setKeys(ring.keys[len(old.keys):])
		_, at, _ := old.KeySet()
		v.set.succeeded(at) // a reload makes it no younger
	}
}

// KeySet returns the name of the key set, empty where there is none, when it was last
// fetched, zero before that, and how long after that it is trusted; 0: for good.
func (v *Verifier) KeySet() (name string, fetched time.Time, maxAge time.Duration) {
	if v.set == nil {
		return "", time.Time{}, 0
	}
	v.set.mu.Lock()
	defer v.set.mu.Unlock()
	return v.set.name, v.set.fetched, v.set.maxAge
}

// Start fetches the key set, if there is one, and keeps it fresh until Close. It fails
// where there is no copy and the configuration does not allow that.
func (v *Verifier) Start() error {
	if v.set == nil {
		return nil
	}
	if err := v.set.start(); err != nil && !v.config.JWKSOptional && !v.ring.Load().fetched {
		v.set.close()
		return err
	}
	return nil
}

// Refresh fetches the key set, if there is one, and waits for that. It does nothing
// where there were too many fetches lately.
func (v *Verifier) Refresh() {
	if v.set != nil {
		v.set.refetch()
	}
}

// Close ends the goroutine that Start has started. Verifying goes on with the keys at hand.
func (v *Verifier) Close() {
	if v.set != nil {
		v.set.close()
	}
}

// verifySignature reports whether a key verifies the signature of w.token, by leave of g,
// and the version of the keys that it tried. Where the token names no key at hand, but the
// set could have one for it, it waits for a newer copy of the set: not for long, and at a
// limited rate.
func (v *Verifier) verifySignature(w *workspace, g *Guard, client uint64) (r Reason, wait time.Duration, version uint64) {
	var deadline time.Time
	turnUntil := time.Now().Add(turnAtMost)
	failed := 0 // signatures verified with keys that were not the token's
	for tries := 0; ; tries++ {
		ring := v.ring.Load()
		known, r := ring.choose(w)
		if r == Allowed {
			switch _, r, wait = g.verify(w, client, turnUntil); r {
			case SignatureInvalid:
				failed += len(w.candidates)
			case Allowed:
				g.forgive(client, failed)
			}
		}
		if r == Allowed || r.Answer() == Later || known || v.set == nil || !v.set.mayHave(w.token.alg) {
			return r, wait, ring.version
		}
		if tries == 0 {
			deadline = time.Now().Add(v.set.o.WaitAtMost)
		}
		if tries == 2 || !v.set.waitForNewer(deadline, func() bool { return v.ring.Load().version != ring.version }) {
			if !ring.fetched {
				r = KeysUnavailable
			}
			return r, 0, ring.version
		}
	}
}

// choose has w's candidates be the keys for its token; known reports that its kid names one
// of them.
func (ring *keyring) choose(w *workspace) (known bool, r Reason) {
	w.candidates, known, r = ring.candidates(w.candidates[:0], w.token.alg, w.token.kid)
	return known, r
}

// try tries the candidates for the token.
func (w *workspace) try() (k *key, r Reason) {
	for _, k := range w.candidates {
		if k.verifies(&w.token) {
			return k, Allowed
		}
	}
	return nil, SignatureInvalid
}

// period is the time in which a token is valid, in Unix nanoseconds, leeway included.
type period struct{ from, until int64 }

const forever = int64(1<<63 - 1)

// registered checks the registered claims (RFC 7519, 4.1) of a token, and its type.
func (v *Verifier) registered(t *token, claims object, now int64) (p period, r Reason) {
	leeway := v.config.Leeway.Nanoseconds()
	exp, expires, expOK := claims.date("exp", false)
	nbf, _, nbfOK := claims.date("nbf", true)
	iat, _, iatOK := claims.date("iat", true)
	switch {
	case !expOK:
		return p, DateInvalid
	case !expires && v.config.RequireExp:
		return p, ExpiryMissing
	case !nbfOK, !iatOK:
		return p, DateInvalid
	}
	p = period{from: max(nbf, iat) - leeway, until: forever}
	if expires {
		p.until = min(exp, forever-leeway) + leeway
	}
	switch {
	case now >= p.until:
		return p, Expired
	case now < nbf-leeway:
		return p, NotYetValid
	case now < iat-leeway:
		return p, IssuedInFuture
	case !claims.issuedBy(v.config.Issuer):
		return p, IssuerRefused
	case !v.config.AnyAudience && !claims.meantFor(v.config.Audience):
		return p, AudienceRefused
	case v.config.Typ != "" && !strings.EqualFold(subtype(t.typ), subtype(v.config.Typ)):
		return p, TypeRefused
	}
	return p, Allowed
}

// date returns a claim that is a date of RFC 7519 section 2, in Unix nanoseconds,
// fractions of a second rounded up or down. Dates that nanoseconds cannot hold
// are the last one that they can.
func (o object) date(name string, up bool) (t int64, found, ok bool) {
	v, found := o.get(name)
	n, _ := v.(number)
	if !n.exact {
		return 0, found, !found
	}
	s, fraction, ok := n.seconds()
	if fraction && up {
		s++
	}
	if s >= forever/int64(time.Second) {
		return forever, true, ok
	}
	return s * int64(time.Second), true, ok
}

// issuedBy reports whether "iss" is one of the accepted; any is, if none are named.
func (o object) issuedBy(accepted []string) bool {
	issuer, ok := o.text("iss")
	return len(accepted) == 0 || ok && slices.Contains(accepted, issuer)
}

// subtype returns a media type without "application/", which a header may leave out
// (RFC 7515, 4.1.9).
func subtype(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		return typ[len(prefix):]
	}
	return typ
}

// meantFor reports whether "aud", a string or an array of them, has one of the accepted. If
// none are named, no "aud" will do: who does not know what he is called there is not meant
// (RFC 7519, 4.1.3).
func (o object) meantFor(accepted []string) bool {
	aud, found := o.get("aud")
	if len(accepted) == 0 {
		return !found
	}
	list, ok := aud.([]any)
	if !ok {
		list = []any{aud}
	}
	found = false
	for _, v := range list {
		audience, ok := v.(string)
		if !ok {
			return false
		}
		found = found || slices.Contains(accepted, audience)
	}
	return found
}

// subject returns "sub" if it is a string, shortened for the log, and
// Verdict.SubjectID.
func (o object) subject() (sub string, id uint64) {
	const most = 256
	text, _ := o.text("sub")
	if text == "" {
		return "", 0
	}
	issuer, _ := o.text("iss")
	both := binary.AppendUvarint(make([]byte, 0, 128), uint64(len(issuer)))
	sum := sha256.Sum256(append(append(both, issuer...), text...)) // nobody can find a second subject with the same id
	return strings.Clone(text[:min(len(text), most)]), max(binary.BigEndian.Uint64(sum[:]), 1)
}
