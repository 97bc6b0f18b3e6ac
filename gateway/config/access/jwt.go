package access

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// JWT is a verifier of JSON Web Tokens.
type JWT struct {
	// Sources are where a request carries its token, in order; the first one
	// present decides. Default: SourceBearer alone.
	Sources []TokenSource `key:"token_sources"`

	// Keys are the configured keys: first those of the block itself (secret,
	// public_key_file), then those of its keys list. Empty only with a JWKS, or Introspection.
	Keys []Key

	// JWKSURL, JWKSFile or IssuerURL is the source of further keys, at most one of them. The
	// URLs are https, or http to a loopback host. Empty: none.
	JWKSURL  string `key:"jwks_url" form:"-"`
	JWKSFile string `key:"jwks_file" form:"-"`

	// IssuerURL is an issuer whose discovery document names the URL of its JWKS (OpenID Connect
	// Discovery 1.0, RFC 8414), and its introspection endpoint.
	IssuerURL string `form:"-"`

	// Introspection has tokens judged by their issuer, beside the keys, if there are any.
	Introspection Introspection `form:"-"`

	// JWKSAlgorithm is the one algorithm accepted with keys of the JWKS. Empty: each
	// key's own "alg".
	JWKSAlgorithm string `key:"algorithm" form:"-"`

	// JWKSOptional lets the gateway start without a first copy of what JWKSURL or IssuerURL
	// says. Default false.
	JWKSOptional bool `key:"jwks_optional"`

	// JWKSMaxAge is how long after its last successful fetch the JWKS is trusted. Default
	// 24 h; 0: for good.
	JWKSMaxAge time.Duration `key:"jwks_max_age"`

	// CAFile is a PEM bundle of the authorities trusted for JWKSURL or IssuerURL, CA its
	// content, read only where the block is in use. Empty: the system's authorities.
	CAFile string `key:"ca_file" form:"-"`
	CA     []byte `key:"-"`

	// Issuer are the "iss" values accepted. Default: IssuerURL. Empty: any.
	Issuer []string

	// Audience are the "aud" values accepted; a token must have one of them. Empty: a
	// token must have no "aud", unless AnyAudience.
	Audience []string `form:"-"`

	// AnyAudience accepts tokens for whomever they are: the word any in the place of
	// Audience. Default false.
	AnyAudience bool `key:"-"`

	// Typ is the "typ" that the header of a token must have, in any case, with or without
	// "application/" (RFC 8725, 3.11). Empty: any, or none.
	Typ string `form:"type of a token"`

	// Leeway is the tolerated difference between clocks. Default 30 s.
	Leeway time.Duration

	// RequireExp refuses tokens without "exp". Default true.
	RequireExp bool

	// Claims are the rules that must all hold. Empty: any valid token will do.
	Claims []Claim
}

// decodeJWT decodes a jwt block. Where it is not in use, no files are opened.
func decodeJWT(d *file.Decoder, n *file.Node, inUse bool) *JWT {
	j := &JWT{Leeway: 30 * time.Second, RequireExp: true, JWKSMaxAge: 24 * time.Hour}
	o := d.Fill(n, "jwt", j)
	if o.Node == nil {
		return j
	}
	j.Claims, j.Sources = decodeClaims(d, o), decodeSources(d, o)
	decodeAudience(d, o, j)
	if n := o.Get("jwks_optional"); n != nil && !o.Has("jwks_url", "issuer_url") {
		d.Fail(n, "has no effect without jwks_url or issuer_url", "remove it")
	}
	checkMaxAge(d, o, j)

	found := slices.DeleteFunc([]string{"secret", "public_key_file", "jwks_url", "jwks_file", "issuer_url"}, func(key string) bool { return !o.Has(key) })
	switch asks := o.Has("introspection"); {
	case len(found) > 1:
		d.Fail(o.Get(found[1]), "is there beside "+found[0], "keep one of them; further keys go into the keys list")
	case len(found) == 0 && !o.Has("keys") && !asks:
		d.Fail(o.Node, "has no key to verify with", "add secret, public_key_file, jwks_url, jwks_file, issuer_url or keys; or introspection, to ask the issuer")
	case len(found) == 0 && !o.Has("keys") && o.Has("algorithm"):
		d.Fail(o.Get("algorithm"), "has no effect without a key: the issuer knows how it signs", "remove it, or add issuer_url, or a key")
	case len(found) == 0 && o.Has("algorithm"):
		d.Fail(o.Get("algorithm"), "has no effect: each of the keys has its own", "remove it")
	case len(found) == 1:
		decodeMainKey(d, o, j, found[0], inUse)
	case !o.Has("keys") && o.Has("typ"):
		d.Fail(o.Get("typ"), "has no effect without a key: the issuer does not say what the header of a token has", "remove it, or add issuer_url, or a key")
	}
	if n := o.Get("ca_file"); n != nil && !o.Has("jwks_url", "issuer_url") {
		d.Fail(n, "has no effect without jwks_url or issuer_url", "remove it")
	} else if n != nil {
		key := "jwks_url"
		if o.Has("issuer_url") {
			key = "issuer_url"
		}
		j.CAFile, j.CA = d.Authorities(n, key, j.JWKSURL+j.IssuerURL, inUse)
	}
	j.Introspection = decodeIntrospection(d, o, j, inUse)
	if inUse {
		advise(d, o, j)
	}
	j.Keys = append(j.Keys, decodeKeys(d, o, inUse)...)
	count := make(map[string]int)
	for i := range j.Keys {
		if a := j.Keys[i].Algorithm; a != "" && j.Keys[i].ID == "" {
			if count[a]++; count[a] == MaxKeysTried+1 {
				d.Fail(o.Node, "has more than "+strconv.Itoa(MaxKeysTried)+" keys without kid for "+a+", and no token is tried with more", "remove those that no token is signed with any more, or give them the kid that their tokens have")
			}
		}
	}
	return j
}

// leastMaxAge leaves time for several fetches.
const leastMaxAge = time.Minute

// checkMaxAge checks how long a key set is trusted, where there is one.
func checkMaxAge(d *file.Decoder, o file.Object, j *JWT) {
	n := o.Get("jwks_max_age")
	switch {
	case !o.Has("jwks_url", "jwks_file", "issuer_url"):
		if j.JWKSMaxAge = 0; n != nil {
			d.Fail(n, "has no effect without jwks_url, jwks_file or issuer_url", "remove it")
		}
	case j.JWKSMaxAge > 0 && j.JWKSMaxAge < leastMaxAge:
		d.Fail(n, "is too short", "write at least "+leastMaxAge.String()+", or 0 for a key set that is trusted for good")
	}
}

// decodeMainKey decodes the key that the jwt block itself names by key.
func decodeMainKey(d *file.Decoder, o file.Object, j *JWT, key string, inUse bool) {
	algorithm, ok := decodeAlgorithm(d, o, key)
	switch key {
	case "secret":
		j.Keys = append(j.Keys, Key{Algorithm: algorithm, Secret: decodeHashSecret(d, o, algorithm)})
	case "public_key_file":
		o.StringOrList(key, func(n *file.Node, path string, _ bool) {
			k := Key{Algorithm: algorithm, PublicKeyFile: path}
			if inUse && ok {
				k.Public = readPublicKey(d, n, path, algorithm)
			}
			j.Keys = append(j.Keys, k)
		})
	case "jwks_url":
		j.JWKSURL, j.JWKSAlgorithm = decodeURL(d, o.Get(key), "https://issuer.example.com/.well-known/jwks.json"), algorithm
	case "issuer_url":
		j.IssuerURL, j.JWKSAlgorithm = decodeIssuerURL(d, o.Get(key)), algorithm
		if !o.Has("issuer") && !o.Misspells("issuer") && j.IssuerURL != "" {
			j.Issuer = []string{j.IssuerURL}
		}
	case "jwks_file":
		if path, _, ok := d.Text(o.Get(key)); ok {
			j.JWKSFile, j.JWKSAlgorithm = path, algorithm
			if inUse {
				checkJWKSFile(d, o.Get(key), path)
			}
		}
	}
}

// decodeIssuerURL checks the name of an issuer, which is a URL (RFC 8414, 2).
func decodeIssuerURL(d *file.Decoder, n *file.Node) string {
	text := decodeURL(d, n, "https://issuer.example.com")
	if strings.Contains(text, "?") {
		d.Fail(n, "has a query, which the name of no issuer has", "remove it")
	}
	if name, found := strings.CutSuffix(text, discoveryPath); found {
		d.Fail(n, "is the address of the discovery document", "write the issuer's name, which is in it: "+strconv.Quote(name))
	}
	return text
}

// discoveryPath is what stands behind an issuer's name in the address of its discovery document.
const discoveryPath = "/.well-known/openid-configuration"

// decodeURL checks a URL, such as the example. Its answers are trusted like the configuration
// itself.
func decodeURL(d *file.Decoder, n *file.Node, example string) string {
	text, _, ok := d.Text(n)
	if !ok {
		return ""
	}
	if problem, fix := URLProblem(text); problem != "" {
		d.Fail(n, problem, cmp.Or(fix, "write such as "+example))
	}
	return text
}

// URLProblem returns why the gateway asks nothing at a URL that it believes, and how to mend that,
// if it can be said; empty: it does. An issuer's URLs are held against the same as the file's.
func URLProblem(text string) (problem, fix string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || !form.IsURLHost(u.Hostname()) || u.Port() != "" && !form.IsPort(u.Port(), 1):
		return "is no URL", ""
	case u.User != nil || strings.Contains(text, "#"):
		return "contains credentials or a fragment", "remove them"
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return "is not https", "use https; plain http is for a loopback host only"
	}
	return "", ""
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") || err == nil && a.IsLoopback()
}
