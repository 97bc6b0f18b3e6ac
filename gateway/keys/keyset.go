package keys

import (
	"crypto/x509"
	"errors"
	"time"

	"yatagarasu/gateway/config/access"
)

// maxKeySetKeys bounds the keys of a set.
const maxKeySetKeys = 200

// keySet is a JWK set (RFC 7517, 5) that is kept fresh.
type keySet struct {
	*document
	algorithm string           // of all keys; empty: the one that each key names
	update    func(keys []Key) // nil: there are none any more
	reported  map[leftOut]bool // keys that OnLeftOut has reported; the fetching goroutine's own
}

// keySetTypes are the media types of key sets.
const keySetTypes = "application/jwk-set+json, application/json"

func newKeySet(k *Keys, o Options) *keySet {
	c, update := k.config, k.setFetched
	s := &keySet{document: newDocument(o), algorithm: c.JWKSAlgorithm, update: update}
	s.kind, s.use, s.maxAge = "key set", s.take, c.JWKSMaxAge
	s.drop = func() { update(nil) }
	if c.JWKSFile != "" {
		s.name, s.fetch = c.JWKSFile, fromFile(c.JWKSFile)
		return s
	}
	client := newClient(Roots(c.CA, o.RootCAs), o.FetchTimeout)
	if c.IssuerURL != "" {
		s.kind, s.name, s.fetch = "issuer", c.IssuerURL, k.fetchOfIssuer(client)
		s.asOf = func() time.Time { return k.issuer.Load().fetched }
		return s
	}
	s.name, s.fetch = WithoutQuery(c.JWKSURL), fromURL(c.JWKSURL, keySetTypes, client)
	return s
}

// Roots returns the authorities of the content of a ca_file; otherwise where there is none.
func Roots(bundle []byte, otherwise *x509.CertPool) *x509.CertPool {
	if len(bundle) == 0 {
		return otherwise
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	return roots
}

// take takes a new copy of the set.
func (s *keySet) take(data []byte) error {
	keys, left, err := parseKeySet(data, s.algorithm)
	s.reportLeftOut(left)
	if err != nil {
		return err
	}
	s.update(keys)
	return nil
}

// mayHave reports whether the set could have a key for alg.
func (s *keySet) mayHave(alg string) bool {
	if s.algorithm != "" {
		return access.CanonicalAlgorithm(alg) == s.algorithm
	}
	return access.IsPublicKeyAlgorithm(alg)
}

// maxReported bounds the keys in keySet.reported.
const maxReported = 10 * maxKeySetKeys

// reportLeftOut reports the keys that were left out, each of them once.
func (s *keySet) reportLeftOut(left []leftOut) {
	if s.reported == nil || len(s.reported) > maxReported {
		s.reported = make(map[leftOut]bool)
	}
	for _, l := range left {
		if !s.reported[l] {
			s.reported[l] = true
			s.o.OnLeftOut(s.name, l.key, errors.New(l.why), l.usual)
		}
	}
}
