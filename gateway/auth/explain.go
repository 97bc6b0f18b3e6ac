package auth

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"yatagarasu/gateway/keys"
	"yatagarasu/gateway/token"
)

// Explain describes step by step how Authorize decides on q. A token that is not
// empty takes the place of the one in q, as if the first source carried it. line is
// called with a heading and a text for each step; neither contains the token or a key.
//
// Explain uses the network only where the issuer judges tokens, for such a token: that is shown to
// the issuer, and keys are fetched as for a request. Where something is left to find out, the
// signature or what the issuer says, it reports unchecked: r is Allowed then for a token that
// anybody may have made, or that was revoked.
func (p *Policy) Explain(q *Request, token string, line func(name, text string)) (r Reason, unchecked bool) {
	at := p.setFor(q.Key)
	if at > 0 {
		line("auth rule", p.sets[at].path)
	}
	if p.sets[at].public {
		line("auth", "not asked for: the rule has enabled: false")
		return Allowed, false
	}
	if p.verifier.asks != nil {
		line("asks", p.verifier.describeIssuer())
	}
	raw, source := []byte(token), 0
	if token == "" {
		if raw, r, source = findToken(p.sources, q); r != Allowed {
			if source >= 0 {
				line("source", p.sources[source].String())
			} else {
				var names []string
				for i := range p.sources {
					names = append(names, p.sources[i].String())
				}
				line("sources", strings.Join(names, ", then "))
			}
			return p.explained(r, line), false
		}
	}
	line("source", p.sources[source].String())
	x := explanation{p: p, q: q, at: at, online: token != "", line: line}
	if r = x.explain(raw); r != Allowed || x.open == "" {
		return p.explained(r, line), false
	}
	line("auth", x.open)
	return r, true
}

func (p *Policy) explained(r Reason, line func(name, text string)) Reason {
	text := reasons[r].text
	if name := r.String(); name != "" {
		text = name + ": " + text
	}
	line("auth", text)
	return r
}

// explanation is what Explain says of one token.
type explanation struct {
	p      *Policy
	q      *Request
	at     int  // the index of the rule set for the key
	online bool // the token may be shown to its issuer
	line   func(name, text string)
	w      workspace
	shown  token.Object // claims that were shown
	open   string       // what the decision hangs on; empty: nothing is left open
	failed bool         // the keys cannot be fetched, which was said
}

// fetch fetches the keys, and what the issuer says of itself with them, and reports whether it has
// them. It says why not.
func (x *explanation) fetch() bool {
	if x.failed {
		return false
	}
	err := x.p.verifier.keys.Fetch()
	if x.failed = err != nil; x.failed {
		x.line("fetch", err.Error())
	}
	return !x.failed
}

// explain explains a token in the order of Policy.judge.
func (x *explanation) explain(raw []byte) (r Reason) {
	v := x.p.verifier
	if len(raw) > token.MaxLen {
		return TokenTooLong
	}
	var claims token.Object
	opaque, r := v.isOpaque(&x.w, raw)
	switch {
	case opaque && r == TypeRefused:
		x.line("wants", "typ "+v.config.Typ+", which a token that is no signed JWT does not have")
		return r
	case r != Allowed:
		return r
	case opaque:
		x.line("token", "no key verifies it: its issuer alone knows what it is")
	default:
		if claims, r = x.explainSigned(); r != Allowed {
			return r
		}
	}
	if v.asks != nil {
		if !x.online {
			x.open = "up to the issuer, which is not asked about a token of the URL: give it by -token"
			return Allowed
		}
		if claims, r = x.explainVerdict(raw, claims); r != Allowed {
			return r
		}
	}
	switch sets := x.p.sets; {
	case !sets[0].explain(claims, x.q, x.line):
		return ClaimRefused
	case x.at > 0 && !sets[x.at].explain(claims, x.q, x.line):
		return PathClaimRefused
	}
	return Allowed
}

// explainSigned explains what the signed token that x.w has parsed says itself, and returns its
// claims.
func (x *explanation) explainSigned() (claims token.Object, r Reason) {
	t := &x.w.token
	x.line("header", fmt.Sprintf("alg %q, kid %q, typ %q", t.Alg, t.Kid, t.Typ))
	claims, err := t.Claims(x.p.claims...)
	if err != nil {
		return nil, refusal(err)
	}
	if r = x.explainClaims(claims); r != Allowed {
		return nil, r
	}
	return claims, x.explainSignature()
}

// explainSignature names the key that verifies the signature of the token, or says why none does.
// It is left open where only a key that is not fetched could verify it.
func (x *explanation) explainSignature() Reason {
	v, t := x.p.verifier, &x.w.token
	r, known := x.try()
	remote := v.config.JWKSURL+v.config.IssuerURL != "" && !known
	set, _, _ := v.KeySet()
	why := "are not fetched for an explanation"
	if r != Allowed && remote && v.asks != nil && x.online && v.keys.MayFetch(t.Alg) {
		if why = "cannot be fetched"; x.fetch() {
			remote = false
			r, _ = x.try()
		}
	}
	switch {
	case r == Allowed:
		return r
	case remote && v.keys.MayFetch(t.Alg):
		x.line("signature", "not checked: the keys of "+set+" "+why)
		x.open = "allowed if the signature holds, and refused if not: all claim rules hold"
		return Allowed
	}
	ring := v.keys.Ring()
	for i := range ring.Keys {
		x.line("verifies", ring.Keys[i].Name)
	}
	if remote {
		x.line("verifies", "the keys of "+set+", but for no such \"alg\"")
		if r == KeyUnknown {
			r = AlgorithmRefused
		}
	}
	return r
}

// try tries the keys at hand, and names the one that verifies the token; known reports that the
// token names one of them.
func (x *explanation) try() (r Reason, known bool) {
	known, r = x.w.choose(x.p.verifier.keys.Ring())
	if r == Allowed {
		var k *keys.Key
		if k, r = x.w.try(); r == Allowed {
			x.line("signed by", k.Name)
		}
	}
	return r, known
}

// explainClaims explains the registered claims of a token, those alone that were not shown so yet.
func (x *explanation) explainClaims(claims token.Object) Reason {
	for _, name := range []string{"sub", "iss", "aud", "exp", "nbf", "iat"} {
		value, found := claims.Get(name)
		if before, same := x.shown.Get(name); found && !(same && describe(name, before) == describe(name, value)) {
			x.line(name, describe(name, value))
		}
	}
	x.shown = claims
	v := x.p.verifier
	_, r := v.registered(&x.w.token, claims, x.q.Now.UnixNano())
	switch {
	case r == IssuerRefused:
		x.line("wants", "iss "+strings.Join(v.config.Issuer, " or "))
	case r == AudienceRefused && len(v.config.Audience) == 0:
		x.line("wants", "no aud, as no jwt.audience is configured; set it to the aud that is meant for this gateway, or to any")
	case r == AudienceRefused:
		x.line("wants", "aud "+strings.Join(v.config.Audience, " or "))
	case r == TypeRefused:
		x.line("wants", "typ "+v.config.Typ)
	}
	return r
}

// explain shows for each rule whether it holds, and reports whether all do.
func (s *ruleSet) explain(claims token.Object, q *Request, line func(name, text string)) bool {
	all := true
	for i := range s.rules {
		r := &s.rules[i]
		claim, found := claims.Find(r.Name)
		is := "absent"
		if found {
			is = describe(r.Name, claim)
		}
		verdict := "holds"
		if !r.holds(claim, q) {
			verdict, all = "fails", false
		}
		line("rule", fmt.Sprintf("%s: %s %s %s; the claim is %s", verdict, r.Name, r.Operator, r.wants(q), is))
	}
	return all
}

// wants describes the value that r compares a claim with, values of the request filled in.
func (r *rule) wants(q *Request) string {
	switch {
	case r.pattern != nil:
		return fmt.Sprintf("%q", r.Value)
	case len(r.operands) == 0:
		return ""
	}
	var list []string
	for i := range r.operands {
		o := &r.operands[i]
		switch {
		case o.template == nil:
			list = append(list, quote(o.value))
		case o.fill(q):
			list = append(list, quote(string(q.scratch)))
		default:
			list = append(list, "(a segment that the key lacks)")
		}
	}
	return strings.Join(list, ", ")
}

// quote returns a string in quotes, and a number or bool as written.
func quote(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case token.Number:
		return v.Text
	}
	return fmt.Sprint(v)
}

// describe shows the value of a claim, shortened, a date as one.
func describe(name string, v any) string {
	const most = 80
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return fmt.Sprintf("%.*q", most, v)
	case []any:
		var items []string
		for _, item := range v[:min(len(v), 10)] {
			items = append(items, describe("", item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case token.Object:
		return "an object"
	case token.Number:
		if t, _, ok := (token.Object{{Name: name, Value: v}}).Date(name, false); ok && slices.Contains([]string{"exp", "nbf", "iat"}, name) {
			return fmt.Sprintf("%s (%s)", v.Text, time.Unix(0, t).UTC().Format(time.RFC3339))
		}
		return fmt.Sprintf("%.*s", most, v.Text)
	}
	return fmt.Sprint(v)
}
