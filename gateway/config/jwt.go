package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

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

// globalJWT is the global jwt block, and its use by buckets.
type globalJWT struct {
	jwt  *JWT // nil: absent or disabled
	off  bool // there, but disabled
	used bool // a bucket relies on the block
}

func decodeGlobalJWT(d *file.Decoder, n *file.Node) globalJWT {
	if n == nil {
		return globalJWT{}
	}
	on := d.Within(n).Boolean("enabled", true)
	jwt := decodeJWT(d, n, on)
	if !on {
		return globalJWT{off: true}
	}
	return globalJWT{jwt: jwt, used: n.Kind != file.Map} // else reported; the block is there all the same
}

// decodeAuth decodes a bucket's auth block.
func decodeAuth(d *file.Decoder, n *file.Node, global *globalJWT) Auth {
	var a Auth
	o := d.Fill(n, "buckets[].auth", &a)
	d.NeedEnabled(o)
	rules := decodeRules(d, o)

	if own := o.Get("jwt"); own != nil {
		if at := d.Within(own).Get("enabled"); at != nil {
			d.Fail(at, "is a key of the global jwt block alone", "remove it; auth.enabled switches the bucket")
		}
		a.JWT = decodeJWT(d, own, a.Enabled)
	} else if a.JWT = global.jwt; a.Enabled {
		global.used = true
	}
	if !a.Enabled {
		if len(rules) > 0 && o.Has("enabled") {
			d.Fail(o.Get("rules"), "has no effect: auth.enabled is false", "set auth.enabled: true, and enabled: false in the rules of public paths")
		}
		return Auth{}
	}

	at := *o.Get("enabled")
	at.Path = n.Path
	if a.JWT == nil {
		fix := "add auth.jwt to the bucket, or a global jwt block"
		if global.off {
			fix = "set jwt.enabled: true in the global block, or add auth.jwt to the bucket"
		}
		d.Fail(&at, "auth is enabled without a verifier", fix)
	}
	if a.Rules = rules; a.JWT != nil && len(a.JWT.Audience) == 0 && !a.JWT.AnyAudience {
		for i, item := range o.List("rules") {
			checkNoAudience(d, d.Within(item), rules[i].Claims)
		}
	}
	return a
}

func decodeRules(d *file.Decoder, o file.Object) []AuthRule {
	var rules []AuthRule
	seen := make(map[string]bool)
	for _, item := range o.List("rules") {
		r := AuthRule{Enabled: true}
		ro := d.Fill(item, "buckets[].auth.rules[]", &r)
		r.Claims = decodeClaims(d, ro)
		ro.Need("path", "name the sub-path that the rule is for, such as \"/reports\"")
		if r.Path != "" && seen[r.Path] {
			d.Fail(ro.Get("path"), "is the path of two rules", "put their claims into one")
		}
		seen[r.Path] = true
		hasClaims := ro.Has("claims", "claims_verification")
		switch {
		case ro.Node != nil && !hasClaims && !ro.Has("enabled"):
			d.Fail(item, "the rule demands nothing", "add claims_verification, or enabled: false for a public path")
		case hasClaims && !r.Enabled:
			d.Fail(item, "its claims have no effect: enabled is false", "remove one of the two")
		}
		rules = append(rules, r)
	}
	return rules
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
	if n := o.Get("jwks_optional"); n != nil && !o.Has("jwks_url") {
		d.Fail(n, "has no effect without jwks_url", "remove it")
	}
	checkMaxAge(d, o, j)

	found := slices.DeleteFunc([]string{"secret", "public_key_file", "jwks_url", "jwks_file"}, func(key string) bool { return !o.Has(key) })
	switch {
	case len(found) > 1:
		d.Fail(o.Get(found[1]), "is there beside "+found[0], "keep one of them; further keys go into the keys list")
	case len(found) == 0 && !o.Has("keys"):
		d.Fail(o.Node, "has no key to verify with", "add secret, public_key_file, jwks_url, jwks_file or keys")
	case len(found) == 0 && o.Has("algorithm"):
		d.Fail(o.Get("algorithm"), "has no effect: each of the keys has its own", "remove it")
	case len(found) == 1:
		decodeMainKey(d, o, j, found[0], inUse)
	}
	if n := o.Get("ca_file"); n != nil && !o.Has("jwks_url") {
		d.Fail(n, "has no effect without jwks_url", "remove it")
	} else if n != nil {
		j.CAFile, j.CA = d.Authorities(n, "jwks_url", j.JWKSURL, inUse)
	}
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
	case !o.Has("jwks_url", "jwks_file"):
		if j.JWKSMaxAge = 0; n != nil {
			d.Fail(n, "has no effect without jwks_url or jwks_file", "remove it")
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
		j.JWKSURL, j.JWKSAlgorithm = decodeJWKSURL(d, o.Get(key)), algorithm
	case "jwks_file":
		if path, _, ok := d.Text(o.Get(key)); ok {
			j.JWKSFile, j.JWKSAlgorithm = path, algorithm
			if inUse {
				checkJWKSFile(d, o.Get(key), path)
			}
		}
	}
}

// decodeAlgorithm decodes the algorithm of o and checks that it goes with key. It may be
// absent only with a JWKS.
func decodeAlgorithm(d *file.Decoder, o file.Object, key string) (name string, ok bool) {
	if !strings.HasPrefix(key, "jwks") {
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

// decodeJWKSURL checks a URL. Its answers are trusted like the configuration itself.
func decodeJWKSURL(d *file.Decoder, n *file.Node) string {
	text, _, ok := d.Text(n)
	if !ok {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || !form.IsURLHost(u.Hostname()) || u.Port() != "" && !form.IsPort(u.Port(), 1):
		d.Fail(n, "is no URL", "write such as https://issuer.example.com/.well-known/jwks.json")
	case u.User != nil || strings.Contains(text, "#"):
		d.Fail(n, "contains credentials or a fragment", "remove them")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		d.Fail(n, "is not https", "use https; plain http is for a loopback host only")
	}
	return text
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") || err == nil && a.IsLoopback()
}

func decodeSources(d *file.Decoder, o file.Object) []TokenSource {
	if !o.Has("token_sources") {
		return []TokenSource{{Type: SourceBearer}}
	}
	var sources []TokenSource
	seen := make(map[TokenSource]bool)
	for _, item := range o.List("token_sources") {
		var s TokenSource
		so := d.Fill(item, "jwt.token_sources[]", &s)
		so.Need("type", "use one of: bearer, header, query, cookie")
		if s.Type == "" {
			continue
		}
		checkSource(d, so, &s)
		if seen[sourceKey(s)] {
			d.Fail(item, "is the same source as one above", "remove one of them")
		}
		seen[sourceKey(s)] = true
		sources = append(sources, s)
	}
	return sources
}

// checkSource reports names and prefixes that a source lacks or cannot use.
func checkSource(d *file.Decoder, o file.Object, s *TokenSource) {
	if s.Type == SourceBearer {
		if n := o.Get("name"); n != nil {
			d.Fail(n, "has no effect for a bearer source", "remove it; the header is Authorization")
		}
	} else if o.Need("name", "name the "+s.Type+" that carries the token") != nil && s.Name != "" {
		checkSourceName(d, o.Get("name"), s)
	}
	n := o.Get("prefix")
	switch {
	case n == nil:
	case strings.EqualFold(s.Name, "authorization") && !strings.HasSuffix(s.Prefix, " "):
		d.Fail(n, "does not end in a space, so no token could follow the scheme", "write such as \"Bearer \"")
	case s.Type != SourceHeader:
		d.Fail(n, "has no effect for a "+s.Type+" source", "remove it")
	case !form.IsVisible(strings.ReplaceAll(s.Prefix, " ", "")):
		d.Fail(n, "has characters that a header cannot carry", "use a word and a space, such as \"Token \"")
	}
}

// checkSourceName reports a name that cannot carry a token.
func checkSourceName(d *file.Decoder, n *file.Node, s *TokenSource) {
	switch {
	case s.Type == SourceQuery && (!form.IsVisible(s.Name) || strings.ContainsAny(s.Name, "&=#%+")), s.Type != SourceQuery && !form.IsToken(s.Name):
		d.Fail(n, "is no name of a "+s.Type, "use letters, digits, '-' and '_'")
	case s.Type == SourceQuery && (s.Name == "versionId" || s.Name == "partNumber"):
		d.Fail(n, "is a parameter of S3, which the gateway may pass on", "use another name, such as token")
	case s.Type == SourceHeader && isReserved(strings.ToLower(s.Name)):
		d.Fail(n, "is a header with a meaning of its own", "use another name, such as X-Auth-Token")
	}
}

// isReserved reports whether a header, in lower case, has another meaning for the gateway,
// which would pass a token on, log it or answer with it.
func isReserved(name string) bool {
	return slices.Contains([]string{
		"accept", "cache-control", "connection", "content-length", "content-type", "cookie", "expect", "forwarded", "host",
		"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "origin", "pragma", "range",
		"sec-fetch-site", "traceparent", "tracestate", "trailer", "transfer-encoding", "user-agent",
		"x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto", "x-forwarded-server", "x-request-id",
	}, name)
}

// sourceKey returns the same key for sources that find the same token.
func sourceKey(s TokenSource) TokenSource {
	if s.Type == SourceBearer {
		return TokenSource{Type: SourceHeader, Name: "authorization", Prefix: "bearer "}
	}
	if s.Type == SourceHeader {
		s.Name, s.Prefix = strings.ToLower(s.Name), strings.ToLower(s.Prefix)
	}
	return s
}
