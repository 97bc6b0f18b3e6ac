package access

import (
	"crypto"
	"slices"
	"strconv"
	"strings"

	"yatagarasu/gateway/config/file"
)

// Key verifies signatures of exactly one algorithm.
type Key struct {
	// ID is the "kid" that selects the key. Empty: the key is tried for tokens
	// whose kid, if any, names no other.
	ID string `key:"kid"`

	// Algorithm is the key's "alg", such as "HS256". Tokens that name another
	// one are not verified with it.
	Algorithm string `form:"-"`

	// Secret is the key of an HS algorithm, never shorter than its hash; empty
	// for the others.
	Secret file.Secret `form:"-"`

	// PublicKeyFile is the PEM file of the public key or certificate of any
	// other algorithm.
	PublicKeyFile string

	// Public is the key of PublicKeyFile, which fits Algorithm. Nil with a Secret, and
	// where no bucket uses the key.
	Public crypto.PublicKey `json:"-" key:"-"`
}

// algorithms are the signature algorithms (RFC 7518, 3.1; RFC 8037, 3.1; RFC 9864, 2.2).
var algorithms = [...]string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512",
	"PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
}

// MaxKeysTried bounds the keys that one token is verified with. A jwt block has no more
// without a kid for one algorithm; further keys are for tokens that name theirs.
const MaxKeysTried = 4

// CanonicalAlgorithm returns the name of an algorithm in Key: EdDSA for Ed25519, the name
// in RFC 9864. Keys for EdDSA are Ed25519 keys here.
func CanonicalAlgorithm(name string) string {
	if name == "Ed25519" {
		return "EdDSA"
	}
	return name
}

// IsPublicKeyAlgorithm reports whether name is a signature algorithm that is
// verified with a public key.
func IsPublicKeyAlgorithm(name string) bool {
	return slices.Contains(algorithms[:], name) && !strings.HasPrefix(name, "HS")
}

// decodeAlgorithm decodes the algorithm of o and checks that it goes with key. It may be
// absent only with a JWKS.
func decodeAlgorithm(d *file.Decoder, o file.Object, key string) (name string, ok bool) {
	if !strings.HasPrefix(key, "jwks") && key != "issuer_url" {
		o.Need("algorithm", "name the one algorithm of the key, such as HS256 for a secret")
	}
	name = CanonicalAlgorithm(o.OneOf("algorithm", "", algorithms[:]...))
	if name == "" {
		return "", !o.Has("algorithm")
	}
	at := o.Get("algorithm")
	switch isHS := strings.HasPrefix(name, "HS"); {
	case key == "secret" && !isHS:
		d.Fail(at, "does not go with a secret", "use HS256, HS384 or HS512, or public_key_file in place of secret")
		return "", false
	case key != "secret" && isHS:
		d.Fail(at, "does not go with "+key+": it needs a secret", "use the algorithm of the public key, such as RS256")
		return "", false
	}
	return name, true
}

// decodeHashSecret decodes the secret of an HS key, which must be as long as the hash
// (RFC 7518, 3.2).
func decodeHashSecret(d *file.Decoder, o file.Object, algorithm string) file.Secret {
	secret := o.Secret("secret")
	bits, err := strconv.Atoi(strings.TrimPrefix(algorithm, "HS"))
	if err == nil && !secret.Empty() && len(secret.Reveal()) < bits/8 {
		size := strconv.Itoa(bits / 8)
		d.Fail(o.Get("secret"), "the secret is shorter than the "+size+" bytes that "+algorithm+" needs", "make one: openssl rand -hex "+size)
	}
	return secret
}

func decodeKeys(d *file.Decoder, o file.Object, inUse bool) []Key {
	var keys []Key
	seen := make(map[string]bool)
	for _, item := range o.List("keys") {
		var k Key
		ko := d.Fill(item, "jwt.keys[]", &k)
		if ko.Node == nil {
			continue
		}
		if k.ID != "" && seen[k.ID] {
			d.Fail(ko.Get("kid"), "is the kid of two keys", "give each key its own")
		}
		seen[k.ID] = true
		switch {
		case ko.Has("secret") == ko.Has("public_key_file"):
			d.Fail(item, "needs either secret or public_key_file", "keep exactly one of them")
		case ko.Has("secret"):
			k.Algorithm, _ = decodeAlgorithm(d, ko, "secret")
			k.Secret = decodeHashSecret(d, ko, k.Algorithm)
		default:
			var ok bool
			k.Algorithm, ok = decodeAlgorithm(d, ko, "public_key_file")
			if inUse && ok && k.PublicKeyFile != "" {
				k.Public = readPublicKey(d, ko.Get("public_key_file"), k.PublicKeyFile, k.Algorithm)
			}
		}
		keys = append(keys, k)
	}
	return keys
}
