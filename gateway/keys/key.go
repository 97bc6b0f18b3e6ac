package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"fmt"
	"strings"

	"github.com/cristalhq/jwt/v5"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/token"
)

// Key verifies signatures of one algorithm, which comes from the configuration and never
// from a token. It never changes.
type Key struct {
	ID        string // "kid"; empty: the key is for tokens whose kid names no other
	Algorithm string
	Name      string                    // its place in the configuration or the set, for people
	Verifies  func(t *token.Token) bool // whether the signature of t holds, which has the algorithm
}

// newKey returns the key for a secret or a public key that fits algorithm.
func newKey(name, id, algorithm string, secret []byte, public crypto.PublicKey) (Key, error) {
	k := Key{ID: id, Algorithm: algorithm, Name: name}
	var err error
	alg := jwt.Algorithm(algorithm)
	switch public := public.(type) {
	case nil:
		var hs *jwt.HSAlg
		hs, err = jwt.NewVerifierHS(alg, secret)
		k.Verifies = func(t *token.Token) bool {
			digest, err := hs.Sign(t.Payload)
			return err == nil && hmac.Equal(digest, t.Signature)
		}
	case *rsa.PublicKey:
		if strings.HasPrefix(algorithm, "PS") {
			var ps *jwt.PSAlg
			ps, err = jwt.NewVerifierPS(alg, public)
			k.Verifies = byLibrary(ps)
		} else {
			var rs *jwt.RSAlg
			rs, err = jwt.NewVerifierRS(alg, public)
			k.Verifies = byLibrary(rs)
		}
	case *ecdsa.PublicKey:
		var es *jwt.ESAlg
		es, err = jwt.NewVerifierES(alg, public)
		k.Verifies = byLibrary(es)
	case ed25519.PublicKey: // under both names of the algorithm, of which the library knows one
		k.Verifies = func(t *token.Token) bool { return ed25519.Verify(public, t.Payload, t.Signature) }
	default:
		err = fmt.Errorf("keys of type %T are not supported", public)
	}
	if err != nil {
		return Key{}, fmt.Errorf("cannot use %s for %s: %w", name, algorithm, err)
	}
	return k, nil
}

// byLibrary verifies by v, which takes a token that the library has parsed. That costs
// little beside a public key's arithmetic, and as much as the whole rest beside a secret's.
func byLibrary(v jwt.Verifier) func(t *token.Token) bool {
	return func(t *token.Token) bool {
		parsed, err := jwt.ParseNoVerify(t.Raw)
		return err == nil && v.Verify(parsed) == nil
	}
}

// configuredKeys returns the keys in the configuration itself.
func configuredKeys(c *access.JWT) ([]Key, error) {
	var keys []Key
	for i := range c.Keys {
		k := &c.Keys[i]
		name := fmt.Sprintf("key %d (%s", i, k.Algorithm)
		if k.ID != "" {
			name += fmt.Sprintf(", kid %q", k.ID)
		}
		if k.PublicKeyFile != "" {
			name += ", " + k.PublicKeyFile
		}
		compiled, err := newKey(name+")", k.ID, k.Algorithm, []byte(k.Secret.Reveal()), k.Public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, compiled)
	}
	return keys, nil
}

// soleAlgorithm returns the one algorithm that a public key can be for; empty if
// there are several.
func soleAlgorithm(public crypto.PublicKey) string {
	for _, algorithm := range [...]string{"ES256", "ES384", "ES512", "EdDSA"} {
		if access.KeyProblem(public, algorithm) == "" {
			return algorithm
		}
	}
	return ""
}
