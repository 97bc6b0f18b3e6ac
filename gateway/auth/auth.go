// Package auth decides by JSON Web Tokens (RFC 7519) who may read: it finds the
// token of a request, verifies it with the configured keys, and checks its claims
// against the configured rules. In doubt it refuses.
package auth

import (
	"cmp"
	"crypto/sha256"
	"net/netip"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/introspect"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/token"
)

// Request has the parts of a request that access depends on. The slices stay the
// caller's; no method keeps them. Not safe for concurrent use.
type Request struct {
	Header *fasthttp.RequestHeader
	Query  []byte // raw, without '?'
	Key    []byte // the object's key, decoded
	Method string // GET or HEAD
	Client netip.Addr
	Now    time.Time

	scratch []byte // buffer for the texts of templates
	cause   error  // why the issuer did not say of its token whether it is active
}

// Reset clears r for the next request; it keeps its memory.
func (r *Request) Reset() {
	scratch := r.scratch[:0]
	*r = Request{}
	r.scratch = scratch
}

// Verdict is the decision on a request.
type Verdict struct {
	// Reason says whether the request may read, and why not.
	Reason Reason
	// Public reports that the request needs no token.
	Public bool
	// Subject is the first 256 bytes of the token's "sub". Empty where the signature
	// does not hold or "sub" is no string.
	Subject string
	// SubjectID is a hash of issuer and subject of a verified token, the same in all
	// policies and processes. An issuer that judges tokens and does not say its name in "iss" has
	// the one of the configuration. 0: "sub" is absent, empty or no string.
	SubjectID uint64
	// Cause is why the issuer gave no verdict, with IssuerUnavailable. Nil where it was asked for
	// another request with the same token.
	Cause error
	// Wait is how long the client's tokens are refused, with TooManyFailures.
	Wait time.Duration
}

// Policy decides who may read a bucket. Create it with NewPolicy. It never changes
// and is safe for concurrent use. Its entries in the TokenCache are for it alone.
type Policy struct {
	id       uint64
	verifier *Verifier
	sources  []source
	sets     []ruleSet // the verifier's own, then those of paths, the longest first
	claims   []string  // names of the claims that may decide
	cache    *TokenCache
	guard    *Guard
	flights  flights // of tokens that their issuer judges
	onAsked  func(outcome introspect.Outcome, took time.Duration)
}

// ruleSet has the rules for tokens below a path.
type ruleSet struct {
	path    string // as access.AuthRule.Path; empty for the verifier's own
	public  bool
	rules   []rule
	dynamic []int // indexes of the rules that depend on the request
}

// NewPolicy compiles c for the bucket of this name. c must be enabled, and v be the
// verifier for c.JWT. guard may be nil.
func NewPolicy(c *access.Auth, bucket string, v *Verifier, cache *TokenCache, guard *Guard) *Policy {
	p := &Policy{id: cache.policies.Add(1), verifier: v, cache: cache, guard: guard}
	for _, s := range c.JWT.Sources {
		p.sources = append(p.sources, newSource(s))
	}
	p.claims = []string{"sub", "iss", "aud", "exp", "nbf", "iat", "jti"}
	p.sets = append(p.sets, newRuleSet("", false, c.JWT.Claims, bucket))
	for _, r := range c.Rules {
		p.sets = append(p.sets, newRuleSet(r.Path, !r.Enabled, r.Claims, bucket))
	}
	for _, s := range p.sets {
		for _, r := range s.rules {
			for name := range token.Prefixes(r.Name) {
				p.claims = append(p.claims, name)
			}
		}
	}
	slices.SortStableFunc(p.sets[1:], func(a, b ruleSet) int { return cmp.Compare(len(b.path), len(a.path)) })
	return p
}

// OnAsked has f called after each look-up at the issuer, from many goroutines at once. Call it before
// use.
func (p *Policy) OnAsked(f func(outcome introspect.Outcome, took time.Duration)) { p.onAsked = f }

func newRuleSet(path string, public bool, claims []access.Claim, bucket string) ruleSet {
	s := ruleSet{path: path, public: public}
	for i, c := range claims {
		s.rules = append(s.rules, newRule(c, bucket))
		if s.rules[i].dynamic {
			s.dynamic = append(s.dynamic, i)
		}
	}
	return s
}

// Authorize decides on q. It may wait for a key set that is being fetched, and for the
// client's turn to have a token verified.
//
// Hot path: zero allocations for a cached token, guarded by TestAuthorizeAllocs.
func (p *Policy) Authorize(q *Request) Verdict {
	at := p.setFor(q.Key)
	if p.sets[at].public {
		return Verdict{Public: true}
	}
	q.cause = nil
	e, r := p.lookUp(q)
	if r != Allowed {
		return Verdict{Reason: r}
	}
	v := e.verdict(q)
	switch {
	case v.Reason != Allowed:
	case !p.holds(e, 0, q):
		v.Reason = ClaimRefused
	case at > 0 && !p.holds(e, at, q):
		v.Reason = PathClaimRefused
	}
	return v
}

// verdict returns the verdict on a token for q, as far as it depends on no rule.
func (e *entry) verdict(q *Request) Verdict {
	v := Verdict{Reason: e.reason, Subject: e.subject, SubjectID: e.subjectID, Cause: q.cause}
	if v.Reason == TooManyFailures {
		v.Wait = time.Duration(e.expires - q.Now.UnixNano())
	}
	return v
}

// lookUp returns the result for the token of q; r is another than Allowed if there is none.
func (p *Policy) lookUp(q *Request) (e *entry, r Reason) {
	raw, r, _ := findToken(p.sources, q)
	if r != Allowed {
		return nil, r
	}
	if len(raw) > token.MaxLen {
		return nil, TokenTooLong
	}
	if p.verifier.asks != nil {
		sum := sha256.Sum256(raw)
		if e = p.remembered(sum[:], q); e == nil {
			e = p.verifyOnce(raw, sum, q)
		}
		return e, Allowed
	}
	if e = p.remembered(raw, q); e == nil {
		e = p.verify(raw, raw, q)
	}
	return e, Allowed
}

// remembered returns the cached result for the token with this name in the cache; nil: there is none.
func (p *Policy) remembered(name []byte, q *Request) *entry {
	return p.cache.get(p.id, name, q.Now.UnixNano(), p.verifier.keys.Ring().Version)
}

// holds reports whether all rules of the set at this index hold for a token.
func (p *Policy) holds(e *entry, at int, q *Request) bool {
	set, verdict := &p.sets[at], &e.sets[at]
	if verdict.refused {
		return false
	}
	for i, rule := range set.dynamic {
		if !set.rules[rule].holds(verdict.claims[i], q) {
			return false
		}
	}
	return true
}

// setFor returns the index of the rule set for a key, the one with the longest path.
func (p *Policy) setFor(key []byte) int {
	for i := 1; i < len(p.sets); i++ {
		if below, exactly := matchPath(p.sets[i].path, key); below && (exactly || !p.sets[i].public) {
			return i
		}
	}
	return 0
}

// matchPath reports whether key is below path, by whole segments. Empty segments
// of the key do not count, since some origins drop them: a rule that demands more
// must cover those spellings. exactly reports that there were none; a rule that
// demands less applies only then.
func matchPath(path string, key []byte) (below, exactly bool) {
	exactly = true
	if path == "/" {
		return true, true
	}
	for rest := path; rest != ""; {
		for len(key) > 0 && key[0] == '/' {
			key, exactly = key[1:], false
		}
		rest = rest[1:] // the slash
		n := 0
		for n < len(rest) && rest[n] != '/' {
			n++
		}
		if len(key) < n || string(key[:n]) != rest[:n] || len(key) > n && key[n] != '/' {
			return false, false
		}
		rest = rest[n:]
		if key = key[n:]; len(key) > 0 {
			key = key[1:]
		}
	}
	return true, exactly
}

// verify verifies a token and caches the result under a name: the token itself, or its hash where
// an issuer judges it, for such a token may be good until it is revoked.
func (p *Policy) verify(raw, name []byte, q *Request) *entry {
	v := p.verifier
	w := v.work.Get().(*workspace)
	defer v.work.Put(w)
	now := q.Now.UnixNano()
	e := &entry{notBefore: now - 1, expires: now + refusedFor.Nanoseconds()}
	keep := false
	e.reason, keep = p.judge(w, raw, q, e)
	w.token.Forget()
	if keep {
		p.cache.put(p.id, name, e)
	}
	return e
}

// judge fills e for a token: first by all that it says itself, which costs little, then by
// its signature, which can cost a thousand times as much, then by its issuer, which costs a
// request. keep reports whether e is worth caching, which is so for what was verified.
//
// Of what is refused before the signature the client is told only that its token has expired.
// That depends on no key, and tells nobody what keys there are.
func (p *Policy) judge(w *workspace, raw []byte, q *Request, e *entry) (r Reason, keep bool) {
	v := p.verifier
	var claims token.Object
	var valid period
	opaque, r := v.isOpaque(w, raw)
	switch {
	case r != Allowed:
		return r, false
	case opaque:
		valid.until, e.keys = token.Forever, v.keys.Ring().Version
	default:
		if claims, valid, r = p.judgeSigned(w, q, e); r != Allowed {
			return r, r == SignatureInvalid
		}
	}
	if v.asks != nil {
		if claims, r = p.askIssuer(w, raw, claims, q, e); r != Allowed {
			return r, r == TokenInactive
		}
		now := q.Now.UnixNano()
		said, r := v.registered(&w.token, claims, now)
		if r != Allowed {
			if said.from > now {
				e.expires = min(e.expires, said.from)
			}
			return r, true // or it would be asked again and again
		}
		valid.from = max(valid.from, said.from)
		valid.until = min(min(valid.until, said.until)-v.config.Leeway.Nanoseconds(), now+v.config.Introspection.Cache.Nanoseconds())
	}
	e.notBefore, e.expires = valid.from, valid.until
	e.subject, e.subjectID = claims.Subject(v.judge)
	e.sets = make([]setVerdict, len(p.sets))
	for i := range p.sets {
		e.sets[i] = p.sets[i].judge(claims)
	}
	return Allowed, true
}

// judgeSigned judges the signed token that w has parsed, and returns its claims and the time in
// which it is valid.
func (p *Policy) judgeSigned(w *workspace, q *Request, e *entry) (claims token.Object, valid period, r Reason) {
	v := p.verifier
	claims, err := w.token.Claims(p.claims...)
	if err != nil {
		return nil, valid, refusal(err)
	}
	if valid, r = v.registered(&w.token, claims, q.Now.UnixNano()); r != Allowed {
		return nil, valid, r
	}
	var wait time.Duration
	if r, wait, e.keys = v.verifySignature(w, p.guard, limit.AddressKey(q.Client)); r == TooManyFailures {
		e.expires = q.Now.Add(wait).UnixNano()
	}
	return claims, valid, r
}

// judge checks claims against the rules of s that do not depend on the request, and
// keeps the claims for the rules that do.
func (s *ruleSet) judge(claims token.Object) (v setVerdict) {
	if len(s.dynamic) > 0 {
		v.claims = make([]any, 0, len(s.dynamic))
	}
	for i := range s.rules {
		r := &s.rules[i]
		claim, _ := claims.Find(r.Name)
		switch {
		case r.dynamic:
			v.claims = append(v.claims, claim)
		case !r.holds(claim, nil):
			return setVerdict{refused: true}
		}
	}
	return v
}
