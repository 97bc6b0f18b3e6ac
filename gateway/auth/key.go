package auth

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
)

// key verifies signatures of one algorithm, which comes from the configuration and never
// from a token. It never changes.
type key struct {
	id        string // "kid"; empty: the key is for tokens whose kid names no other
	algorithm string
	verifies  func(t *token) bool // whether the signature of t holds, which has the algorithm
	name      string              // its place in the configuration or the set, for people
}

// newKey returns the key for a secret or a public key that fits algorithm.
func newKey(name, id, algorithm string, secret []byte, public crypto.PublicKey) (key, error) {
	k := key{id: id, algorithm: algorithm, name: name}
	var err error
	alg := jwt.Algorithm(algorithm)
	switch public := public.(type) {
	case nil:
		var hs *jwt.HSAlg
		hs, err = jwt.NewVerifierHS(alg, secret)
		k.verifies = func(t *token) bool {
			digest, err := hs.Sign(t.payload)
			return err == nil && hmac.Equal(digest, t.signature)
		}
	case *rsa.PublicKey:
		if strings.HasPrefix(algorithm, "PS") {
			var ps *jwt.PSAlg
			ps, err = jwt.NewVerifierPS(alg, public)
			k.verifies = byLibrary(ps)
		} else {
			var rs *jwt.RSAlg
			rs, err = jwt.NewVerifierRS(alg, public)
			k.verifies = byLibrary(rs)
		}
	case *ecdsa.PublicKey:
		var es *jwt.ESAlg
		es, err = jwt.NewVerifierES(alg, public)
		k.verifies = byLibrary(es)
	case ed25519.PublicKey: // under both names of the algorithm, of which the library knows one
		k.verifies = func(t *token) bool { return ed25519.Verify(public, t.payload, t.signature) }
	default:
		err = fmt.Errorf("keys of type %T are not supported", public)
	}
	if err != nil {
		return key{}, fmt.Errorf("cannot use %s for %s: %w", name, algorithm, err)
	}
	return k, nil
}

// byLibrary verifies by v, which takes a token that the library has parsed. That costs
// little beside a public key's arithmetic, and as much as the whole rest beside a secret's.
func byLibrary(v jwt.Verifier) func(t *token) bool {
	return func(t *token) bool {
		parsed, err := jwt.ParseNoVerify(t.raw)
		return err == nil && v.Verify(parsed) == nil
	}
}

// configuredKeys returns the keys in the configuration itself.
func configuredKeys(c *access.JWT) ([]key, error) {
	var keys []key
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

// keyring has the keys of a verifier at one time. It never changes.
type keyring struct {
	keys    []key
	version uint64 // another one for each set of keys
	fetched bool   // the keys of the key set are among them
}

// candidates appends the keys to dst that may verify a token: those with its kid, known
// then, else those without an id; for a token without a kid first those, then the others. Of
// these it takes the keys for the token's algorithm, MaxKeysTried at most. why is the reason
// where there are none.
func (r *keyring) candidates(dst []*key, alg, kid string) (keys []*key, known bool, why Reason) {
	if len(kid) > 0 {
		for i := range r.keys {
			known = known || r.keys[i].id == kid
		}
	}
	any, wanted := false, access.CanonicalAlgorithm(alg)
	take := func(is func(id string) bool) {
		for i := range r.keys {
			if k := &r.keys[i]; is(k.id) {
				any = true
				if k.algorithm == wanted && len(dst) < access.MaxKeysTried {
					dst = append(dst, k)
				}
			}
		}
	}
	if known {
		take(func(id string) bool { return id == kid })
	} else {
		take(func(id string) bool { return id == "" })
		if kid == "" {
			take(func(id string) bool { return id != "" })
		}
	}
	switch {
	case len(dst) > 0:
		return dst, known, Allowed
	case any:
		return dst, known, AlgorithmRefused
	}
	return dst, known, KeyUnknown
}

// crowded returns an algorithm for which r has more keys than are tried with a token
// that does not name one; empty if there is none.
func (r *keyring) crowded() string {
	count := make(map[string]int)
	for i := range r.keys {
		a := r.keys[i].algorithm
		if count[a]++; count[a] > access.MaxKeysTried {
			return a
		}
	}
	return ""
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
