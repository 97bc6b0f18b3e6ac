package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// generators make private keys, by the algorithm of their signatures.
var generators = map[string]func() (any, error){
	"RS256": func() (any, error) { return rsa.GenerateKey(rand.Reader, 2048) },
	"ES256": func() (any, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
	"EdDSA": func() (any, error) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	},
}

// key signs, or did.
type key struct {
	Private jose.JSONWebKey
	Until   time.Time // when one that signs no more is published no more
}

// rotate has a new key sign from now on. The one before stays published as long as
// publish says.
func (s *storage) rotate(publish time.Duration) error {
	generate := generators[s.config.Algorithm]
	if generate == nil {
		return fmt.Errorf("unknown algorithm %q", s.config.Algorithm)
	}
	private, err := generate()
	if err != nil {
		return fmt.Errorf("cannot make a key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.Keys); n > 0 {
		s.Keys[n-1].Until = time.Now().Add(publish)
	}
	s.Keys = append(s.Keys, key{Private: jose.JSONWebKey{Key: private, KeyID: rand.Text(), Algorithm: s.config.Algorithm, Use: "sig"}})
	return s.saveLocked()
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return webKey{s.Keys[len(s.Keys)-1].Private}, nil
}

func (s *storage) KeySet(context.Context) (set []op.Key, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range s.Keys {
		if i == len(s.Keys)-1 || time.Now().Before(k.Until) {
			set = append(set, webKey{k.Private.Public()})
		}
	}
	return set, nil
}

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.SignatureAlgorithm(s.config.Algorithm)}, nil
}

// webKey is an op.SigningKey if it is private, an op.Key if not.
type webKey struct{ jwk jose.JSONWebKey }

func (k webKey) ID() string                         { return k.jwk.KeyID }
func (k webKey) Key() any                           { return k.jwk.Key }
func (k webKey) Use() string                        { return k.jwk.Use }
func (k webKey) Algorithm() jose.SignatureAlgorithm { return k.SignatureAlgorithm() }
func (k webKey) SignatureAlgorithm() jose.SignatureAlgorithm {
	return jose.SignatureAlgorithm(k.jwk.Algorithm)
}

// Encrypt makes a token that is no JWT of its id and subject, with a colon between them;
// Decrypt gives these back. Both make the storage an op.Crypto.
func (s *storage) Encrypt(text string) (string, error) {
	id, _, _ := strings.Cut(text, ":")
	t, _ := s.token(id)
	encrypted, err := op.NewAES256GCMCrypto(s.Seal, "").Encrypt(text)
	if c := s.clients[t.Client]; c != nil && c.Format == formatJWE {
		return encrypted, err
	}
	return base64.RawURLEncoding.EncodeToString([]byte(encrypted)), err
}

func (s *storage) Decrypt(token string) (string, error) {
	if !strings.Contains(token, ".") {
		encrypted, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			return "", err
		}
		token = string(encrypted)
	}
	return op.NewAES256GCMCrypto(s.Seal, "").Decrypt(token)
}
