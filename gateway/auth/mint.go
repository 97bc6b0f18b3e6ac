package auth

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cristalhq/jwt/v5"

	"yatagarasu/gateway/keys"
)

// Mint returns a token for development: signed with the first secret that the
// policy verifies with, valid from now for lifetime, with claims, which are JSON
// by name, over "sub": "dev". Where the policy wants an issuer or an audience,
// the first one is filled in.
//
// notes describe the claims filled in, the claim rules that the token will not pass, and the issuer
// that does not know it.
// Without a secret there is an error: private keys do not belong on a gateway.
func (p *Policy) Mint(claims map[string]json.RawMessage, now time.Time, lifetime time.Duration) (token string, notes []string, err error) {
	c, configured := p.verifier.config, p.verifier.keys.Configured()
	secret := slices.IndexFunc(configured, func(k keys.Key) bool { return strings.HasPrefix(k.Algorithm, "HS") })
	if secret < 0 {
		return "", nil, errors.New("no key of the bucket is a secret (HS256, HS384 or HS512); ask the issuer of its tokens for one")
	}
	k := &configured[secret]
	all := map[string]json.RawMessage{
		"sub": json.RawMessage(`"dev"`),
		"iat": fmt.Append(nil, now.Unix()),
		"exp": fmt.Append(nil, now.Add(lifetime).Unix()),
	}
	fill := func(name string, accepted []string) {
		if _, ok := claims[name]; !ok && len(accepted) > 0 {
			text, _ := json.Marshal(accepted[0]) // a string can always be encoded
			all[name] = text
			notes = append(notes, fmt.Sprintf("%s is %s, which the configuration wants", name, text))
		}
	}
	fill("iss", c.Issuer)
	fill("aud", c.Audience)
	maps.Copy(all, claims)
	body, err := json.Marshal(all)
	if err != nil {
		return "", nil, fmt.Errorf("cannot encode the claims: %w", err)
	}
	signer, err := jwt.NewSignerHS(jwt.Algorithm(k.Algorithm), []byte(c.Keys[secret].Secret.Reveal()))
	if err != nil {
		return "", nil, fmt.Errorf("cannot sign with %s: %w", k.Name, err)
	}
	header, _ := json.Marshal(struct { // texts can always be encoded
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		KeyID     string `json:"kid,omitempty"`
	}{k.Algorithm, cmp.Or(c.Typ, "JWT"), k.ID})
	signed := base64.RawURLEncoding.AppendEncode(nil, header)
	signed = base64.RawURLEncoding.AppendEncode(append(signed, '.'), body)
	signature, err := signer.Sign(signed)
	if err != nil {
		return "", nil, fmt.Errorf("cannot sign with %s: %w", k.Name, err)
	}
	signed = base64.RawURLEncoding.AppendEncode(append(signed, '.'), signature)
	notes = append(notes, p.shortcomings(signed, now)...)
	if p.verifier.asks != nil {
		notes = append(notes, "the gateway will refuse it: jwt.introspection has each token judged by "+issuerName(c)+", which has not issued this one")
	}
	return string(signed), notes, nil
}

// shortcomings describes the checks that a token will not pass, as far as they do not
// depend on the request.
func (p *Policy) shortcomings(raw []byte, now time.Time) (notes []string) {
	w := new(workspace)
	if err := w.token.Parse(raw); err != nil {
		return []string{"the gateway will refuse it: " + reasons[refusal(err)].text}
	}
	claims, err := w.token.Claims(p.claims...)
	if err != nil {
		return []string{"the gateway will refuse it: " + reasons[refusal(err)].text}
	}
	if _, r := p.verifier.registered(&w.token, claims, now.UnixNano()); r != Allowed {
		notes = append(notes, "the gateway will refuse it: "+reasons[r].text)
	}
	for i := range p.sets {
		set := &p.sets[i]
		below := ""
		if set.path != "" {
			below = " below " + set.path
		}
		for j := range set.rules {
			r := &set.rules[j]
			claim, _ := claims.Find(r.Name)
			switch {
			case r.dynamic && claim == nil:
				notes = append(notes, fmt.Sprintf("a claim rule%s compares %s with the request; add -claim %s=VALUE", below, r.Name, r.Name))
			case !r.dynamic && !r.holds(claim, nil):
				notes = append(notes, fmt.Sprintf("a claim rule%s will refuse it: %s %s %s; add -claim %s=VALUE", below, r.Name, r.Operator, r.wants(new(Request)), r.Name))
			}
		}
	}
	return notes
}
