package access

import (
	"slices"
	"strings"

	"yatagarasu/gateway/config/file"
)

// AnyAudience is the word for tokens that are for whomever.
const AnyAudience = "any"

// decodeAudience decodes the audience of a jwt block, and reports rules that no token could pass
// without one.
func decodeAudience(d *file.Decoder, o file.Object, j *JWT) {
	o.StringOrList("audience", func(n *file.Node, text string, _ bool) {
		switch {
		case text != AnyAudience:
			j.Audience = append(j.Audience, text)
		case n == o.Get("audience"):
			j.AnyAudience = true
		default:
			d.Fail(n, "is the word for every audience, which makes a list of no use", "write audience: any, or remove it from the list")
		}
	})
	if !o.Has("audience") && !o.Misspells("audience") {
		checkNoAudience(d, o, j.Claims)
	}
}

// checkNoAudience reports claim rules on "aud" in o where no audience is configured.
func checkNoAudience(d *file.Decoder, o file.Object, claims []Claim) {
	if slices.ContainsFunc(claims, func(c Claim) bool { return c.Name == "aud" }) {
		key := "claims"
		if o.Has("claims_verification") {
			key = "claims_verification"
		}
		d.Fail(o.Get(key), "has a rule on aud, which no token can pass: without jwt.audience, tokens with an aud are refused", "set audience in the jwt block to the values accepted, or to any")
	}
}

// advise warns of an identity provider whose tokens are not held against what they are for. Such a
// provider signs tokens for others with the same keys, and knows those that are for others.
func advise(d *file.Decoder, o file.Object, j *JWT) {
	n, url := o.Get("jwks_url"), j.JWKSURL
	switch {
	case j.IssuerURL != "":
		n, url = o.Get("issuer_url"), j.IssuerURL
	case url == "" && j.Introspection.URL != "":
		n, url = d.Within(o.Get("introspection")).Get("url"), j.Introspection.URL
	}
	if !strings.HasPrefix(strings.ToLower(url), "https:") { // else for trying
		return
	}
	if o.Has("jwks_url") && !o.Has("issuer") { // who judges his tokens himself knows that he has issued them
		d.Warn(n, "is there without issuer: a token is accepted whoever it says has issued it", "set issuer to the iss of the provider's tokens")
	}
	if !o.Has("audience") {
		d.Warn(n, "is there without audience: a token with an aud is refused, and one without is accepted, whomever it is for", "set audience to the aud that the provider's tokens have for this gateway")
	}
}
