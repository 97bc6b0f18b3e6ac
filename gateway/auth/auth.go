// Package auth decides by JSON Web Tokens (RFC 7519) who may read: it finds the
// token of a request, verifies it by keys that the configuration fixes, and holds
// its claims against the configured rules. What it cannot decide it refuses.
package auth

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/config"
)

// Request is what of a request decides on access. The slices stay the caller's;
// nothing of them is kept.
type Request struct {
	Header *fasthttp.RequestHeader
	Query  []byte // raw, without '?'
	Key    []byte // the object's key, decoded
	Method string // GET or HEAD
	Now    time.Time

	scratch []byte // for values of the request
}

// Reset clears r for the next request; it keeps its memory.
func (r *Request) Reset() { *r = Request{scratch: r.scratch[:0]} }

// Verdict is what became of a request.
type Verdict struct {
	// Reason says whether the request may read, and why not.
	Reason Reason
	// Public tells that no token was asked for.
	Public bool
	// Subject is the token's "sub", if its signature holds and that is a string;
	// at most 256 bytes.
	Subject string
	// SubjectID tells the subjects of verified tokens apart, those of different
	// issuers too. It stays the same in other policies and processes. 0: there is
	// no "sub", or it is no string or empty.
	SubjectID uint64
}

// Policy is what a bucket demands of its readers. It never changes and is safe
// for concurrent use. What it remembers of tokens is for itself alone.
type Policy struct {
	id       uint64
	verifier *Verifier
	sources  []source
	sets     []ruleSet // the first is the verifier's own; then by path, the longest first
	cache    *TokenCache
}

// ruleSet is what must hold of a token below a path.
type ruleSet struct {
	path    string // as config.AuthRule.Path; empty for the verifier's own
	public  bool
	rules   []rule
	dynamic []int // the rules that depend on the request
}

// NewPolicy compiles what c, which must be enabled, demands of readers of the
// bucket of this name. v verifies for c.JWT.
func NewPolicy(c *config.Auth, bucket string, v *Verifier, cache *TokenCache) *Policy {
	p := &Policy{id: cache.policies.Add(1), verifier: v, cache: cache}
	for _, s := range c.JWT.Sources {
		p.sources = append(p.sources, newSource(s))
	}
	p.sets = append(p.sets, newRuleSet("", false, c.JWT.Claims, bucket))
	for _, r := range c.Rules {
		p.sets = append(p.sets, newRuleSet(r.Path, !r.Enabled, r.Claims, bucket))
	}
	slices.SortStableFunc(p.sets[1:], func(a, b ruleSet) int { return cmp.Compare(len(b.path), len(a.path)) })
	return p
}

func newRuleSet(path string, public bool, claims []config.Claim, bucket string) ruleSet {
	s := ruleSet{path: path, public: public}
	for i, c := range claims {
		s.rules = append(s.rules, newRule(c, bucket))
		if s.rules[i].dynamic {
			s.dynamic = append(s.dynamic, i)
		}
	}
	return s
}

// Authorize decides on q. It may wait for a key set that is being fetched.
//
// Hot path: zero allocations for a token that it remembers, guarded by
// TestAuthorizeAllocs.
func (p *Policy) Authorize(q *Request) Verdict {
	at := p.setFor(q.Key)
	if p.sets[at].public {
		return Verdict{Public: true}
	}
	token, r, _ := findToken(p.sources, q)
	if r != Allowed {
		return Verdict{Reason: r}
	}
	if len(token) > MaxTokenLen {
		return Verdict{Reason: TokenTooLong}
	}
	e := p.cache.get(p.id, token, q.Now.UnixNano(), p.verifier.ring.Load().version)
	if e == nil {
		e = p.verify(token, q.Now.UnixNano())
	}
	v := Verdict{Reason: e.reason, Subject: e.subject, SubjectID: e.subjectID}
	switch {
	case v.Reason != Allowed:
	case !p.holds(e, 0, q):
		v.Reason = ClaimRefused
	case at > 0 && !p.holds(e, at, q):
		v.Reason = PathClaimRefused
	}
	return v
}

// holds reports whether all rules of a set hold for a token.
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

// setFor returns the rule set for a key, the one with the longest path.
func (p *Policy) setFor(key []byte) int {
	for i := 1; i < len(p.sets); i++ {
		if below, exactly := matchPath(p.sets[i].path, key); below && (exactly || !p.sets[i].public) {
			return i
		}
	}
	return 0
}

// matchPath reports whether key is below path, by whole segments. Empty segments
// of the key do not count, since some origins drop them: a path that demands more
// must cover those spellings. exactly tells that there were none up to there; a
// path that demands less is for those alone.
func matchPath(path string, key []byte) (below, exactly bool) {
	exactly = true
	if path == "/" {
		return true, true
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		trimmed := bytes.TrimLeft(key, "/")
		exactly = exactly && len(trimmed) == len(key)
		var first []byte
		if first, key, _ = bytes.Cut(trimmed, []byte("/")); string(first) != segment {
			return false, false
		}
	}
	return true, exactly
}

// verify verifies a token and remembers what became of it.
func (p *Policy) verify(raw []byte, now int64) *entry {
	v := p.verifier
	w := v.work.Get().(*workspace)
	defer v.work.Put(w)
	e := &entry{notBefore: now - 1, expires: now + refusedFor.Nanoseconds()}
	keep := false
	e.reason, keep = p.judge(w, raw, now, e)
	w.token.parsed, w.token.claims = nil, nil
	if keep {
		p.cache.put(p.id, raw, e)
	}
	return e
}

// judge fills e for a token. keep tells whether it is worth remembering: what was
// refused before its signature was looked at costs little.
func (p *Policy) judge(w *workspace, raw []byte, now int64, e *entry) (r Reason, keep bool) {
	v := p.verifier
	e.keys = v.ring.Load().version
	if r := w.token.parse(raw); r != Allowed {
		return r, false
	}
	_, r, e.keys = v.verifySignature(w)
	if r != Allowed {
		return r, r == SignatureInvalid
	}
	claims, err := decodeObject(w.token.claims)
	if err != nil {
		return ClaimsMalformed, true
	}
	e.subject, e.subjectID = claims.subject()
	valid, r := v.registered(claims, now)
	switch r {
	case Allowed:
		e.notBefore, e.expires = valid.from, valid.until
	case NotYetValid, IssuedInFuture:
		e.expires = min(e.expires, valid.from)
	}
	if r != Allowed {
		return r, true
	}
	e.sets = make([]setVerdict, len(p.sets))
	for i := range p.sets {
		e.sets[i] = p.sets[i].judge(claims)
	}
	return Allowed, true
}

// judge holds claims against the rules of s that do not depend on the request, and
// keeps the claims for those that do.
func (s *ruleSet) judge(claims object) (v setVerdict) {
	if len(s.dynamic) > 0 {
		v.claims = make([]any, 0, len(s.dynamic))
	}
	for i := range s.rules {
		r := &s.rules[i]
		claim, _ := claims.find(r.Name)
		switch {
		case r.dynamic:
			v.claims = append(v.claims, claim)
		case !r.holds(claim, nil):
			return setVerdict{refused: true}
		}
	}
	return v
}
