package auth

import (
	"crypto/rand"

	"yatagarasu/gateway/introspect"
	"yatagarasu/gateway/keys"
)

// Discover fetches the discovery document of the issuer that the jwt block names by issuer_url. The
// verifier must not be started.
func (v *Verifier) Discover() (*keys.Issuer, error) { return v.keys.Discover() }

// ExamineKeys fetches the key set at a URL, and returns its keys that would verify tokens, one at
// least. The jwt block must have a key set.
func (v *Verifier) ExamineKeys(url string) ([]keys.Key, error) { return v.keys.Examine(url) }

// Rehearse asks the issuer about a token that it has not issued, as about one of a request. The jwt
// block must have introspection; where it has no URL of the endpoint, Discover comes before.
func (v *Verifier) Rehearse() introspect.Answer {
	w := new(workspace)
	return v.asks.Ask([]byte(rand.Text()), func(answer []byte) (active bool, err error) {
		_, active, err = w.readAnswer(answer, nil, nil)
		return active, err
	})
}
