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

	"yatagarasu/gateway/config"
)

// Options tune what the configuration does not say. The zero value has the
// defaults.
type Options struct {
	// RefreshEvery is how often a key set is fetched. Default 5 minutes.
	RefreshEvery time.Duration
	// RetryAfter is how soon it is fetched again after a failure; twice as long
	// after each further one, up to RefreshEvery. Default 5 s.
	RetryAfter time.Duration
	// EarlyEvery and EarlyBurst bound the fetches that unknown keys cause: as many
	// at once as EarlyBurst, and one more in each EarlyEvery. Default 3, 10 s.
	EarlyEvery time.Duration
	EarlyBurst int
	// FetchTimeout bounds one fetch. Default 5 s.
	FetchTimeout time.Duration
	// WaitAtMost is how long a token with an unknown key waits for a fetch. Default 1 s.
	WaitAtMost time.Duration
	// RootCAs are the authorities trusted for a jwks_url; nil: the system's.
	RootCAs *x509.CertPool
	// OnFetch is told of each fetch of the key set of this name, and what went
	// wrong. It is called by the goroutine that fetches. Default: nobody is told.
	OnFetch func(name string, err error)
	// OnCrowd is told, likewise, that with a new key set of this name there are more
	// keys for an algorithm than are tried with a token that does not name one.
	// Default: nobody is told.
	OnCrowd func(name, algorithm string)
	// OnLeftOut is told, likewise, of a key of the set of this name that verifies
	// nothing, and why: once of each. key is for people. usual tells that there is
	// nothing wrong with it: it is for something else. Default: nobody is told.
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
	if o.OnCrowd == nil {
		o.OnCrowd = func(string, string) {}
	}
}

// Verifier verifies tokens by the keys and the registered claims that one jwt
// block of the configuration wants. Buckets that rely on the same block share
// one.
//
// It is safe for concurrent use. Start it before use, where it has a key set, and
// close it after.
type Verifier struct {
	config *config.JWT
	keys   []key
	ring   atomic.Pointer[keyring]
	set    *keySet   // nil: all keys are configured ones
	work   sync.Pool // of *workspace
}

// workspace is what verifying one token takes.
type workspace struct {
	token      token
	candidates []*key
}

// NewVerifier compiles c. It reads a key set from a file, and none from a URL.
func NewVerifier(c *config.JWT, o Options) (*Verifier, error) {
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

// setKeys puts fetched keys beside the configured ones. Only the fetching
// goroutine calls it, and Inherit before there is one.
func (v *Verifier) setKeys(fetched []key) {
	ring := &keyring{version: v.ring.Load().version + 1, fetched: true}
	ring.keys = append(append(ring.keys, v.keys...), fetched...)
	v.ring.Store(ring)
	if a := ring.crowded(); a != "" {
		v.set.o.OnCrowd(v.set.name, a)
	}
}

// Inherit takes over old's copy of the key set, if v is for the same one and has
// none yet. It comes before Start.
func (v *Verifier) Inherit(old *Verifier) {
	ring, c, o := old.ring.Load(), v.config, old.config
	if c.JWKSURL != "" && c.JWKSURL == o.JWKSURL && c.JWKSAlgorithm == o.JWKSAlgorithm && bytes.Equal(c.CA, o.CA) && ring.fetched && !v.ring.Load().fetched {
		v.setKeys(ring.keys[len(old.keys):])
	}
}

// Start fetches the key set, if there is one, and keeps it fresh until Close. It
// fails without any copy, unless that is optional.
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

// Refresh asks for a newer copy of the key set, if there is one, and waits for it.
// It does nothing when that was asked for too often lately.
func (v *Verifier) Refresh() {
	if v.set != nil {
		v.set.renew()
	}
}

// Close ends what Start has started. Verifying goes on with the keys at hand.
func (v *Verifier) Close() {
	if v.set != nil {
		v.set.close()
	}
}

// verifySignature finds the key that bears out the signature of w.token, and the
// version of the keys that were looked at. It waits for a newer copy of the key
// set, at a limited rate and not for long, where the token names no key that is
// there, but could have been signed with one of the set's.
func (v *Verifier) verifySignature(w *workspace) (k *key, r Reason, version uint64) {
	var deadline time.Time
	for tries := 0; ; tries++ {
		ring := v.ring.Load()
		k, r, known := ring.verify(w)
		if r == Allowed || known || v.set == nil || !v.set.mayHave(w.token.alg) {
			return k, r, ring.version
		}
		if tries == 0 {
			deadline = time.Now().Add(v.set.o.WaitAtMost)
		}
		if tries == 2 || !v.set.newer(deadline, func() bool { return v.ring.Load().version != ring.version }) {
			if !ring.fetched {
				r = KeysUnavailable
			}
			return k, r, ring.version
		}
	}
}

// verify tries the keys for w.token; known tells that its kid names one of them.
func (ring *keyring) verify(w *workspace) (k *key, r Reason, known bool) {
	w.candidates, known, r = ring.candidates(w.candidates[:0], w.token.alg, w.token.kid)
	if r != Allowed {
		return nil, r, known
	}
	for _, k := range w.candidates {
		if k.verifier.Verify(w.token.parsed) == nil {
			return k, Allowed, known
		}
	}
	return nil, SignatureInvalid, known
}

// period is when a token is valid, in Unix nanoseconds, leeway included.
type period struct{ from, until int64 }

const forever = int64(1<<63 - 1)

// registered checks the registered claims (RFC 7519, 4.1) of a token whose signature
// holds.
func (v *Verifier) registered(claims object, now int64) (p period, r Reason) {
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
	case !claims.meantFor(v.config.Audience):
		return p, AudienceRefused
	}
	return p, Allowed
}

// date returns a claim that is a date of RFC 7519 section 2, in Unix nanoseconds,
// fractions of a second rounded up or down. Dates that nanoseconds cannot hold
// are the last one that they can.
func (o object) date(name string, up bool) (t int64, found, ok bool) {
	v, found := o[name]
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
	issuer, ok := o["iss"].(string)
	return len(accepted) == 0 || ok && slices.Contains(accepted, issuer)
}

// meantFor reports whether "aud", a string or an array of them, has one of the
// accepted; any will do, if none are named.
func (o object) meantFor(accepted []string) bool {
	if len(accepted) == 0 {
		return true
	}
	list, ok := o["aud"].([]any)
	if !ok {
		list = []any{o["aud"]}
	}
	found := false
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
	text, _ := o["sub"].(string)
	if text == "" {
		return "", 0
	}
	issuer, _ := o["iss"].(string)
	both := binary.AppendUvarint(nil, uint64(len(issuer)))
	sum := sha256.Sum256(append(append(both, issuer...), text...)) // nobody can find a subject that is taken for another
	return strings.Clone(text[:min(len(text), most)]), max(binary.BigEndian.Uint64(sum[:]), 1)
}
