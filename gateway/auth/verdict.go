package auth

import (
	"fmt"

	"yatagarasu/gateway/introspect"
	"yatagarasu/gateway/token"
)

// describeIssuer describes how the issuer is asked about tokens.
func (v *Verifier) describeIssuer() string {
	i := &v.config.Introspection
	endpoint := issuerName(v.config)
	if i.URL == "" {
		endpoint = "the introspection_endpoint that " + endpoint + " names in its discovery document"
	}
	return fmt.Sprintf("%s about each token, as client %q by %s; remembers for %v that one is active, at most until its exp, and for %v that one is not",
		endpoint, i.ClientID, i.Auth, i.Cache, i.NegativeCache)
}

// explainVerdict shows the token to its issuer, and explains what that says. It returns the claims:
// those of the answer, and what the signed ones have beside them.
func (x *explanation) explainVerdict(raw []byte, signed token.Object) (claims token.Object, r Reason) {
	v := x.p.verifier
	unknown := func() bool { return v.config.Introspection.URL == "" && v.keys.IntrospectionEndpoint() == "" }
	if unknown() && !x.fetch() && unknown() { // its keys may be what cannot be fetched
		return nil, IssuerUnavailable
	}
	says := "the token is not active"
	a := v.asks.Ask(raw, func(answer []byte) (active bool, err error) {
		claims, active, err = x.w.readAnswer(answer, x.p.claims, signed)
		if err == nil && !active && saysActive(answer) {
			says = "the token is active, but no access token, by token_use or typ"
		}
		return active, err
	})
	switch a.Outcome {
	case introspect.Inactive:
		x.line("issuer", says)
		return nil, TokenInactive
	case introspect.Active:
	default:
		x.line("issuer", a.Err.Error())
		return nil, IssuerUnavailable
	}
	x.line("issuer", "the token is active")
	return claims, x.explainClaims(claims)
}

// saysActive reports whether an answer says of a token, whatever its kind, that it is active.
func saysActive(answer []byte) bool {
	said, _ := new(token.Decoder).Object(answer, "active")
	is, _ := said.Get("active")
	return is == true
}
