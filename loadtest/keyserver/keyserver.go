// Package keyserver stands in for an issuer of tokens: its keys, the endpoint that publishes
// them, and the tokens, which another implementation than the gateway's signs.
package keyserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// Server is an endpoint whose answer a test changes. Create it with Start. Safe for
// concurrent use.
type Server struct {
	*httptest.Server
	mu      sync.Mutex // guards the following fields
	answer  http.HandlerFunc
	fetches int
}

// Start starts a server, which t closes at its end.
func Start(t testing.TB, answer http.HandlerFunc) *Server {
	t.Helper()
	s := &Server{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.fetches++
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// Set has the server answer so from now on.
func (s *Server) Set(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// Fetches returns how many requests have come.
func (s *Server) Fetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

// Text answers with a text.
func Text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
}

// Status answers with a status alone.
func Status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// Hang answers when the client has gone.
func Hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// NewKey returns a new key for ES256.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// KeySet returns a JWK set of these keys, by kid; each names its algorithm.
func KeySet(t testing.TB, keys map[string]crypto.Signer) string {
	t.Helper()
	var set jose.JSONWebKeySet
	for kid, k := range keys {
		algorithm := "RS256"
		switch k.Public().(type) {
		case *ecdsa.PublicKey:
			algorithm = "ES256"
		case ed25519.PublicKey:
			algorithm = "EdDSA"
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: kid, Algorithm: algorithm, Use: "sig"})
	}
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Sign returns a token of "alice" until expires. key is private, or a secret's bytes; without
// a kid the header has none.
func Sign(t testing.TB, algorithm string, key any, kid string, expires time.Time) string {
	t.Helper()
	tok := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), jwt.MapClaims{"sub": "alice", "exp": expires.Unix()})
	if kid != "" {
		tok.Header["kid"] = kid
	}
	s, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
