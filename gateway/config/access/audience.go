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

// advise warns of a key set of an identity provider whose tokens are not held against what
// they are for. Such a provider signs tokens for others with the same keys.
func advise(d *file.Decoder, o file.Object, j *JWT) {
	n := o.Get("jwks_url")
	if j.IssuerURL != "" {
		n = o.Get("issuer_url")
	}
	if !strings.HasPrefix(strings.ToLower(j.JWKSURL+j.IssuerURL), "https:") { // else for trying
		return
	}
	if !o.Has("issuer", "issuer_url") {
		d.Warn(n, "is there without issuer: a token is accepted whoever it says has issued it", "set issuer to the iss of the provider's tokens")
	}
	if !o.Has("audience") {
		d.Warn(n, "is there without audience: a token with an aud is refused, and one without is accepted, whomever it is for", "set audience to the aud that the provider's tokens have for this gateway")
	}
}
