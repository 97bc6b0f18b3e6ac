package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

var errUnknown = errors.New("the client is unknown, or its secret is another")

// storage is what the provider knows: an op.Storage. Safe for concurrent use.
type storage struct {
	op.Storage // nil: what is not below is for grants and paths that onlyMachines refuses

	config  *config
	clients map[string]*client // by their ids

	mu sync.Mutex // guards state, and the file, which has the same
	state
}

// state is what outlives the process.
type state struct {
	Seal   [32]byte // key of tokens that are no JWT
	Keys   []key    // the last signs
	Tokens map[string]token
}

// token is one that was issued, was not revoked, and has not expired or not long ago.
type token struct {
	Client  string
	Scopes  []string
	Issued  time.Time
	Expires time.Time
}

// openStorage returns the storage with what the state file has. Without one it has a new
// key and no tokens.
func openStorage(c *config) (*storage, error) {
	s := &storage{config: c, clients: make(map[string]*client)}
	for _, client := range c.Clients {
		s.clients[client.ID] = client
	}
	text, err := os.ReadFile(c.State)
	if errors.Is(err, fs.ErrNotExist) {
		s.Tokens = make(map[string]token)
		rand.Read(s.Seal[:])
		return s, s.rotate(0)
	}
	if err == nil {
		err = json.Unmarshal(text, &s.state)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the state: %w", err)
	}
	return s, nil
}

// saveLocked writes the state file: a process that is killed later comes back with it.
func (s *storage) saveLocked() error {
	maps.DeleteFunc(s.Tokens, func(_ string, t token) bool { return time.Since(t.Expires) > time.Minute })
	text, err := json.Marshal(&s.state)
	if err == nil {
		err = os.WriteFile(s.config.State+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(s.config.State+".new", s.config.State)
	}
	if err != nil {
		return fmt.Errorf("cannot keep the state: %w", err)
	}
	return nil
}

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if c := s.clients[id]; c != nil {
		return c, nil
	}
	return nil, errUnknown
}

func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if c := s.clients[id]; c != nil && subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) == 1 {
		return nil
	}
	return errUnknown
}

func (s *storage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	return s.clients[id], s.AuthorizeClientIDSecret(ctx, id, secret)
}

func (s *storage) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	c := s.clients[id]
	for _, scope := range scopes {
		if !slices.Contains(c.Scopes, scope) {
			return nil, oidc.ErrInvalidScope().WithDescription("%s may not have the scope %q", id, scope)
		}
	}
	if len(scopes) == 0 {
		scopes = c.Scopes
	}
	return &request{client: c, scopes: scopes}, nil
}

func (s *storage) CreateAccessToken(_ context.Context, asked op.TokenRequest) (id string, expires time.Time, err error) {
	r, now := asked.(*request), time.Now() // from ClientCredentialsTokenRequest
	t := token{Client: r.client.ID, Scopes: r.scopes, Issued: now, Expires: now.Add(r.client.Lifetime)}
	id = rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Tokens[id] = t
	return id, t.Expires, s.saveLocked()
}

// GetPrivateClaimsFromRequest returns what a JWT has beside the registered claims: of
// these, scope is left to the storage.
func (s *storage) GetPrivateClaimsFromRequest(_ context.Context, asked op.TokenRequest, scopes []string) (map[string]any, error) {
	claims := map[string]any{}
	maps.Copy(claims, asked.(*request).client.Claims)
	if len(scopes) > 0 {
		claims["scope"] = strings.Join(scopes, " ")
	}
	return claims, nil
}

// SetIntrospectionFromToken says what is known of a token. With an error the answer is
// that the token is not active.
func (s *storage) SetIntrospectionFromToken(_ context.Context, answer *oidc.IntrospectionResponse, id, subject, _ string) error {
	t, ok := s.token(id)
	c := s.clients[t.Client]
	if !ok || c == nil || !time.Now().Before(t.Expires) {
		return errors.New("the token is revoked or has expired")
	}
	answer.Issuer, answer.JWTID, answer.TokenType = s.config.Issuer, id, oidc.BearerToken
	answer.Subject, answer.ClientID, answer.Audience, answer.Scope = subject, c.ID, c.Audience, t.Scopes
	answer.IssuedAt, answer.Expiration = oidc.FromTime(t.Issued), oidc.FromTime(t.Expires)
	answer.Claims = c.Claims
	return nil
}

func (s *storage) token(id string) (token, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.Tokens[id]
	return t, ok
}

// RevokeToken forgets a token. One that is unknown is as good as revoked (RFC 7009, 2.2).
func (s *storage) RevokeToken(_ context.Context, id, _, client string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.Tokens[id]; !ok {
		return nil
	} else if t.Client != client {
		return oidc.ErrInvalidClient().WithDescription("the token is another client's")
	}
	delete(s.Tokens, id)
	if err := s.saveLocked(); err != nil {
		return oidc.ErrServerError().WithParent(err)
	}
	return nil
}

func (s *storage) GetRefreshTokenInfo(context.Context, string, string) (user, token string, err error) {
	return "", "", op.ErrInvalidRefreshToken // there are none
}
