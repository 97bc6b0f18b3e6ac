package keys

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	jose "github.com/go-jose/go-jose/v4"

	"yatagarasu/gateway/config/access"
)

// leftOut is a key of a set that verifies nothing. Two values are equal for the same key
// and the same reason.
type leftOut struct {
	key   string // its kid, for people
	sum   [sha256.Size]byte
	why   string
	usual bool
}

// parseKeySet returns the keys of a JWK set that can verify signatures, and the keys
// left out, as RFC 7517 section 5 wants. A set without any usable key is an error, which
// says what is wrong with its last key.
func parseKeySet(data []byte, algorithm string) (keys []Key, left []leftOut, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, nil, errors.New("it is no JSON object with a list of keys")
	}
	if len(set.Keys) > maxKeySetKeys {
		return nil, nil, fmt.Errorf("it has more than %d keys", maxKeySetKeys)
	}
	problem := errors.New("it has no key")
	for i, raw := range set.Keys {
		k, err := parseKey(raw, algorithm, i)
		if err != nil {
			left = append(left, leftOut{kidOf(raw), sha256.Sum256(raw), err.Error(), errors.Is(err, errOtherUse)})
			problem = fmt.Errorf("none of its keys can be used, and key %d not because %w", i, err)
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, left, problem
	}
	return keys, left, nil
}

// kidOf returns the kid of a JWK for the log, whatever else the JWK is.
func kidOf(raw []byte) string {
	var k struct {
		ID any `json:"kid"`
	}
	if json.Unmarshal(raw, &k) != nil {
		return ""
	}
	id, _ := k.ID.(string)
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, id[:min(len(id), 128)])
}

// errOtherUse is the reason for leaving out keys that identity providers publish beside
// those for signatures.
var errOtherUse = errors.New("it is not for signatures")

// parseKey parses one JWK, for algorithm or, where that is empty, for the key's own.
func parseKey(raw []byte, algorithm string, i int) (Key, error) {
	var more struct {
		Operations []string `json:"key_ops"`
	}
	var k jose.JSONWebKey
	if err := json.Unmarshal(raw, &more); err != nil {
		return Key{}, errors.New("it is no JWK")
	}
	if err := k.UnmarshalJSON(raw); err != nil {
		return Key{}, errors.New("it is no JWK of a supported type")
	}
	verifies := len(more.Operations) == 0 || slices.Contains(more.Operations, "verify")
	switch {
	case k.Use != "" && k.Use != "sig", !verifies:
		return Key{}, errOtherUse
	case !k.IsPublic() || !k.Valid():
		return Key{}, errors.New("it is no public key")
	}
	own := access.CanonicalAlgorithm(k.Algorithm)
	if own == "" {
		own = soleAlgorithm(k.Key)
	}
	switch {
	case algorithm == "" && own == "":
		return Key{}, errors.New("it names no algorithm; configure jwt.algorithm")
	case algorithm == "":
		algorithm = own
	case own != "" && own != algorithm:
		return Key{}, fmt.Errorf("it is not for %s", algorithm)
	}
	if problem := access.KeyProblem(k.Key, algorithm); problem != "" {
		return Key{}, errors.New("it is " + problem)
	}
	return newKey(fmt.Sprintf("key %d of the set (%s, kid %q)", i, algorithm, k.KeyID), k.KeyID, algorithm, nil, k.Key)
}
