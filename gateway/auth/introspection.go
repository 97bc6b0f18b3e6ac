package auth

import (
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/introspect"
	"yatagarasu/gateway/keys"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/token"
)

// newIntrospection returns a client of the issuer of c, whose discovery document k has.
func newIntrospection(c *access.JWT, k *keys.Keys, o Options) *introspect.Client {
	i := &c.Introspection
	endpoint, otherwise := func() string { return i.URL }, o.Keys.RootCAs
	if i.URL == "" {
		endpoint, otherwise = k.IntrospectionEndpoint, keys.Roots(c.CA, otherwise)
	}
	return introspect.New(introspect.Options{
		Endpoint: endpoint, ClientID: i.ClientID, ClientSecret: i.ClientSecret.Reveal(), InBody: i.Auth == access.AuthPost,
		Timeout: i.Timeout, RootCAs: keys.Roots(i.CA, otherwise), Proxy: keys.Proxy,
		OnChange: func(err error) {
			if o.OnIssuer != nil {
				o.OnIssuer(issuerName(c), err)
			}
		},
	})
}

// issuerName returns the name of the issuer that is asked, for people.
func issuerName(c *access.JWT) string {
	if c.Introspection.URL == "" {
		return c.IssuerURL
	}
	return keys.WithoutQuery(c.Introspection.URL)
}

// Introspection returns the name of the issuer that judges the tokens, empty if none does, and
// whether it cannot be asked at the moment.
func (v *Verifier) Introspection() (name string, failing bool) {
	if v.asks == nil {
		return "", false
	}
	return v.judge, v.asks.Failing()
}

// isOpaque reports whether raw is a token that no key can verify, and its issuer alone can judge.
// Otherwise w has parsed it. One that has the form of a signed JWT is none: who has a token that the
// keys refuse could write its signature otherwise, and have it judged by an issuer that decodes less
// strictly.
func (v *Verifier) isOpaque(w *workspace, raw []byte) (opaque bool, r Reason) {
	if v.asks == nil || !v.keys.None() {
		err := w.token.Parse(raw)
		if v.asks == nil || !errors.Is(err, token.ErrMalformed) || token.IsCompact(raw) {
			return false, refusal(err)
		}
	}
	switch {
	case !introspect.IsToken(raw):
		return true, TokenMalformed
	case v.config.Typ != "":
		return true, TypeRefused // it has no header that could say what it is
	}
	return true, Allowed
}

// askIssuer has the issuer judge a token when it is the client's turn, and returns its claims: what
// the issuer says, and what a verified token says beside that.
func (p *Policy) askIssuer(w *workspace, raw []byte, signed token.Object, q *Request, e *entry) (claims token.Object, r Reason) {
	v := p.verifier
	outcome := introspect.Failed
	r, wait := p.guard.ask(v.asking, limit.AddressKey(q.Client), func(suspect func(failed bool) bool) (failed bool) {
		began := time.Now()
		a := v.asks.AskFor(suspect, raw, func(answer []byte) (active bool, err error) {
			claims, active, err = w.readAnswer(answer, p.claims, signed)
			return active, err
		})
		if p.onAsked != nil {
			p.onAsked(a.Outcome, time.Since(began))
		}
		outcome, q.cause = a.Outcome, a.Err
		return a.Outcome == introspect.Inactive || a.Blames
	})
	switch {
	case r == TooManyFailures:
		e.expires = q.Now.Add(wait).UnixNano()
		return nil, r
	case r != Allowed:
		return nil, r
	}
	e.expires = q.Now.Add(v.config.Introspection.NegativeCache).UnixNano() // if it is refused
	switch outcome {
	case introspect.Active:
		return claims, Allowed
	case introspect.Inactive:
		return nil, TokenInactive
	}
	return nil, IssuerUnavailable
}

// The errors of an answer that is none.
var (
	errAnswer       = errors.New("its answer is no strict JSON object")
	errActive       = errors.New("its answer does not say whether the token is active, by true or false")
	errAnotherToken = errors.New("its answer is about another token")
)

// readAnswer reads an issuer's answer about a token (RFC 7662, 2.2), which has the signed claims, if
// there are any: those that the answer lacks are taken from there. The claims are valid until the
// next call.
func (w *workspace) readAnswer(answer []byte, names []string, signed token.Object) (claims token.Object, active bool, err error) {
	claims, err = w.answer.Object(answer, append([]string{"active", "token_use", "typ"}, names...)...)
	if err != nil {
		return nil, false, errAnswer
	}
	is, _ := claims.Get("active")
	active, ok := is.(bool)
	switch {
	case !ok:
		return nil, false, errActive
	case !active, isNoAccessToken(claims):
		return nil, false, nil
	}
	for _, name := range []string{"iss", "sub", "jti"} {
		said, ok := claims.Text(name)
		if own, signed := signed.Text(name); ok && signed && said != own {
			return nil, false, errAnotherToken
		}
	}
	for _, m := range signed {
		if _, found := claims.Get(m.Name); !found {
			claims = append(claims, m)
		}
	}
	return claims, true, nil
}

// isNoAccessToken reports whether an issuer says of a token that it is for something else: it may
// know refresh tokens and ID tokens as well. Hydra says so by token_use, Keycloak by typ.
func isNoAccessToken(answer token.Object) bool {
	use, found := answer.Text("token_use")
	typ, _ := answer.Text("typ")
	return found && use != "access_token" && use != "access" || typ == "Refresh" || typ == "Offline" || typ == "ID"
}

// flights has the tokens that are being judged by their issuer, so that each is asked about once.
type flights struct {
	mu      sync.Mutex // guards the following field
	waiting map[[sha256.Size]byte]*flight
}

// flight is a token that is being judged.
type flight struct {
	done chan struct{} // closed at its end
	e    *entry        // the result, when done is closed; nil: there is none
}

// verifyOnce verifies a token, unless another request does so already: then it waits for that one's
// result. What concerns that request alone, such as the failures of its client, is none.
func (p *Policy) verifyOnce(raw []byte, sum [sha256.Size]byte, q *Request) *entry {
	deadline := time.Now().Add(turnAtMost + p.verifier.config.Introspection.Timeout)
	patience := time.NewTimer(time.Until(deadline))
	defer patience.Stop()
	for {
		f, leads := p.flights.join(sum)
		if leads {
			return p.lead(f, raw, sum, q)
		}
		select {
		case <-f.done:
			if f.e != nil && f.e.reason.Answer() != Later {
				return f.e
			}
			if time.Now().Before(deadline) {
				continue
			}
		case <-patience.C:
		}
		return &entry{reason: VerifiersBusy}
	}
}

// join returns the flight of a token, and whether it is the caller's to end.
func (fs *flights) join(sum [sha256.Size]byte) (f *flight, leads bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f = fs.waiting[sum]; f != nil {
		return f, false
	}
	if fs.waiting == nil {
		fs.waiting = make(map[[sha256.Size]byte]*flight)
	}
	f = &flight{done: make(chan struct{})}
	fs.waiting[sum] = f
	return f, true
}

// lead verifies a token for all that wait for it, unless it was while this request was on its way
// here.
func (p *Policy) lead(f *flight, raw []byte, sum [sha256.Size]byte, q *Request) *entry {
	defer func() {
		p.flights.mu.Lock()
		defer p.flights.mu.Unlock()
		delete(p.flights.waiting, sum)
		close(f.done)
	}()
	if f.e = p.remembered(sum[:], q); f.e == nil {
		f.e = p.verify(raw, sum[:], q)
	}
	return f.e
}
