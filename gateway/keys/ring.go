package keys

import (
	"errors"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/token"
)

// The errors of Ring.Candidates.
var (
	ErrAlgorithm = errors.New("no key is for the token's \"alg\"")
	ErrUnknown   = errors.New("no key has the token's \"kid\"")
)

// Ring has the keys at hand at one time. It never changes.
type Ring struct {
	Keys    []Key
	Version uint64 // another one for each set of keys
	Fetched bool   // the keys of the key set are among them
}

// Candidates appends the keys to dst that may verify t: those with its kid, known then, else
// those without an id; for a token without a kid first those, then the others. Of these it
// takes the keys for the token's algorithm, access.MaxKeysTried at most. Where there are none,
// err is ErrAlgorithm or ErrUnknown.
func (r *Ring) Candidates(dst []*Key, t *token.Token) (keys []*Key, known bool, err error) {
	kid, wanted := t.Kid, access.CanonicalAlgorithm(t.Alg)
	if kid != "" {
		for i := range r.Keys {
			known = known || r.Keys[i].ID == kid
		}
	}
	any := false
	take := func(is func(id string) bool) {
		for i := range r.Keys {
			if k := &r.Keys[i]; is(k.ID) {
				any = true
				if k.Algorithm == wanted && len(dst) < access.MaxKeysTried {
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
		return dst, known, nil
	case any:
		return dst, known, ErrAlgorithm
	}
	return dst, known, ErrUnknown
}

// crowded returns an algorithm for which r has more keys than are tried with a token
// that does not name one; empty if there is none.
func (r *Ring) crowded() string {
	count := make(map[string]int)
	for i := range r.Keys {
		a := r.Keys[i].Algorithm
		if count[a]++; count[a] > access.MaxKeysTried {
			return a
		}
	}
	return ""
}
