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
// Explain does not use the network. Where only a key of a jwks_url could verify the
// signature, it reports unchecked: r is Allowed then for a token that anybody may have
// made.
func (p *Policy) Explain(q *Request, token string, line func(name, text string)) (r Reason, unchecked bool) {
	at := p.setFor(q.Key)
	if at > 0 {
		line("auth rule", p.sets[at].path)
	}
	if p.sets[at].public {
		line("auth", "not asked for: the rule has enabled: false")
		return Allowed, false
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
	r, unchecked = p.explainToken(raw, at, q, line)
	if r == Allowed && unchecked {
		line("auth", "allowed if the signature holds, and refused if not: all claim rules hold")
		return r, true
	}
	return p.explained(r, line), false
}

func (p *Policy) explained(r Reason, line func(name, text string)) Reason {
	text := reasons[r].text
	if name := r.String(); name != "" {
		text = name + ": " + text
	}
	line("auth", text)
	return r
}

// explainToken explains a token; unchecked reports that its signature was not verified.
func (p *Policy) explainToken(raw []byte, at int, q *Request, line func(name, text string)) (r Reason, unchecked bool) {
	w := new(workspace)
	if err := w.token.Parse(raw); err != nil {
		return refusal(err), false
	}
	line("header", fmt.Sprintf("alg %q, kid %q, typ %q", w.token.Alg, w.token.Kid, w.token.Typ))
	claims, err := w.token.Claims(p.claims...)
	if err != nil {
		return refusal(err), false
	}
	if r := p.verifier.explainClaims(w, claims, q, line); r != Allowed {
		return r, false
	}
	if r, unchecked = p.verifier.explain(w, line); r != Allowed {
		return r, false
	}
	switch {
	case !p.sets[0].explain(claims, q, line):
		return ClaimRefused, unchecked
	case at > 0 && !p.sets[at].explain(claims, q, line):
		return PathClaimRefused, unchecked
	}
	return Allowed, unchecked
}

// explain names the key that verifies the signature of w.token, or says why none does.
// The signature is unchecked where only a key that is not fetched could verify it.
func (v *Verifier) explain(w *workspace, line func(name, text string)) (r Reason, unchecked bool) {
	ring := v.keys.Ring()
	set, _, _ := v.KeySet()
	known, r := w.choose(ring)
	if r == Allowed {
		var k *keys.Key
		if k, r = w.try(); r == Allowed {
			line("signed by", k.Name)
			return r, false
		}
	}
	remote := v.config.JWKSURL != "" && !known
	if remote && v.keys.MayFetch(w.token.Alg) {
		line("signature", "not checked: the keys of "+set+" are not fetched for an explanation")
		return Allowed, true
	}
	for i := range ring.Keys {
		line("verifies", ring.Keys[i].Name)
	}
	if remote {
		line("verifies", "the keys of "+set+", but for no such \"alg\"")
		if r == KeyUnknown {
			r = AlgorithmRefused
		}
	}
	return r, false
}

// explainClaims explains the registered claims of a token.
func (v *Verifier) explainClaims(w *workspace, claims token.Object, q *Request, line func(name, text string)) Reason {
	for _, name := range []string{"sub", "iss", "aud", "exp", "nbf", "iat"} {
		if v, found := claims.Get(name); found {
			line(name, describe(name, v))
		}
	}
	_, r := v.registered(&w.token, claims, q.Now.UnixNano())
	switch {
	case r == IssuerRefused:
		line("wants", "iss "+strings.Join(v.config.Issuer, " or "))
	case r == AudienceRefused && len(v.config.Audience) == 0:
		line("wants", "no aud, as no jwt.audience is configured; set it to the aud that is meant for this gateway, or to any")
	case r == AudienceRefused:
		line("wants", "aud "+strings.Join(v.config.Audience, " or "))
	case r == TypeRefused:
		line("wants", "typ "+v.config.Typ)
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
