package main

import (
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// grant is the only one that clients have.
const grant = oidc.GrantTypeClientCredentials

// The formats of access tokens.
const (
	formatJWT    = "jwt"
	formatOpaque = "opaque" // without meaning or dots
	formatJWE    = "jwe"    // as opaque, but encrypted as the library does it: five parts with dots
)

// client is who may ask the provider: for tokens, about tokens, or both. It is an op.Client
// as far as one without a browser needs one.
type client struct {
	op.Client `json:"-"` // nil

	ID          string // also the subject of its tokens; without a colon
	Secret      string
	Format      string        // of its tokens
	Lifetime    time.Duration // of its tokens
	Audience    []string      // at least one
	Scopes      []string      // what it may ask for, and gets if it asks for none
	Claims      map[string]any
	Introspects bool // a resource server, which may ask about tokens
}

func (c *client) GetID() string                { return c.ID }
func (c *client) AuthMethod() oidc.AuthMethod  { return oidc.AuthMethodBasic } // or by post
func (c *client) GrantTypes() []oidc.GrantType { return []oidc.GrantType{grant} }
func (c *client) ClockSkew() time.Duration     { return 0 }
func (c *client) AccessTokenType() op.AccessTokenType {
	if c.Format == formatJWT {
		return op.AccessTokenTypeJWT
	}
	return op.AccessTokenTypeBearer
}
func (c *client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return slices.Clone }

// request is what a client asks a token for: an op.TokenRequest.
type request struct {
	client *client
	scopes []string
}

func (r *request) GetSubject() string    { return r.client.ID }
func (r *request) GetAudience() []string { return r.client.Audience }
func (r *request) GetScopes() []string   { return r.scopes }
