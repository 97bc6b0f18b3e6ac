package access

import (
	"time"

	"yatagarasu/gateway/config/file"
)

// Introspection has tokens judged by their issuer (RFC 7662). The zero value: they are not.
type Introspection struct {
	// Enabled is whether the block is there. Where it is false, nothing else is set.
	Enabled bool `key:"-"`

	// URL is the introspection endpoint: https, or http to a loopback host. Empty: the one
	// that the document of JWT.IssuerURL names.
	URL string `form:"-"`

	// ClientID and ClientSecret are the gateway's own credential at the issuer.
	ClientID     string
	ClientSecret file.Secret

	// Auth is how the credential is sent: AuthBasic, the default, or AuthPost.
	Auth string `of:"basic, post"`

	// CAFile is a PEM bundle of the authorities trusted for the endpoint, CA its content, read
	// only where the block is in use. Empty: without URL those of JWT.CAFile, else the system's.
	CAFile string `form:"-"`
	CA     []byte `key:"-"`

	// Timeout bounds one look-up. From 100 ms to 30 s, default 2 s.
	Timeout time.Duration `least:"100ms"`

	// Cache is how long it is remembered that a token is active, at most until its "exp": a
	// revoked one may be used for as long. From 1 s to 1 h, default 60 s.
	Cache time.Duration `least:"1s"`

	// NegativeCache is how long it is remembered that a token is not active. From 1 s to 10 min,
	// default 10 s.
	NegativeCache time.Duration `least:"1s"`

	// MaxInFlight bounds the look-ups at a time. From 1 to 1024, default 64.
	MaxInFlight int `least:"1" most:"1024"`
}

// The values of Introspection.Auth (RFC 6749, 2.3.1).
const (
	AuthBasic = "basic" // client_secret_basic
	AuthPost  = "post"  // client_secret_post
)

// decodeIntrospection decodes the block introspection of a jwt block, whose keys are decoded.
func decodeIntrospection(d *file.Decoder, jwt file.Object, j *JWT, inUse bool) (i Introspection) {
	n := jwt.Get("introspection")
	if n == nil {
		return i
	}
	i = Introspection{Enabled: true, Auth: AuthBasic, Timeout: 2 * time.Second, Cache: time.Minute, NegativeCache: 10 * time.Second, MaxInFlight: 64}
	o := d.Fill(n, "jwt.introspection", &i)
	if o.Node == nil {
		return i
	}
	o.Need("client_id", "write the name that the gateway has at the issuer")
	o.Need("client_secret", "write the secret of that client, best as a variable")
	if at := o.Get("url"); at != nil {
		i.URL = decodeURL(d, at, "https://issuer.example.com/introspect")
	} else if !jwt.Has("issuer_url") && !o.Misspells("url") && !jwt.Misspells("issuer_url") {
		d.Fail(n, "has nobody to ask", "add url, the introspection endpoint, or set jwt.issuer_url to the issuer, which names it")
	}
	if at := o.Get("ca_file"); at != nil {
		key, url := "url", i.URL
		if !o.Has("url") {
			key, url = "issuer_url", j.IssuerURL
		}
		i.CAFile, i.CA = d.Authorities(at, key, url, inUse)
	}
	atMost := func(key string, is, most time.Duration, text string) {
		if is > most {
			d.Fail(o.Get(key), "is too long", "write at most "+text)
		}
	}
	atMost("timeout", i.Timeout, 30*time.Second, "30s")
	atMost("cache", i.Cache, time.Hour, "1h")
	atMost("negative_cache", i.NegativeCache, 10*time.Minute, "10m")
	return i
}
