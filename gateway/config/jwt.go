package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
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

func (d *decoder) globalJWT(n *node) globalJWT {
	if n == nil {
		return globalJWT{}
	}
	on := d.within(n).boolean("enabled", true)
	jwt := d.jwt(n, on)
	if !on {
		return globalJWT{off: true}
	}
	return globalJWT{jwt: jwt, used: n.kind != kindMap} // else reported; the block is there all the same
}

// auth decodes a bucket's auth block.
func (d *decoder) auth(n *node, global *globalJWT) Auth {
	var a Auth
	o := d.fill(n, "buckets[].auth", &a)
	d.needEnabled(o)
	rules := d.authRules(o)

	if own := o.get("jwt"); own != nil {
		if at := d.within(own).get("enabled"); at != nil {
			d.fail(at, "is a key of the global jwt block alone", "remove it; auth.enabled switches the bucket")
		}
		a.JWT = d.jwt(own, a.Enabled)
	} else if a.JWT = global.jwt; a.Enabled {
		global.used = true
	}
	if !a.Enabled {
		if len(rules) > 0 && o.has("enabled") {
			d.fail(o.get("rules"), "has no effect: auth.enabled is false", "set auth.enabled: true, and enabled: false in the rules of public paths")
		}
		return Auth{}
	}

	at := *o.get("enabled")
	at.path = n.path
	if a.JWT == nil {
		fix := "add auth.jwt to the bucket, or a global jwt block"
		if global.off {
			fix = "set jwt.enabled: true in the global block, or add auth.jwt to the bucket"
		}
		d.fail(&at, "auth is enabled without a verifier", fix)
	}
	if a.Rules = rules; a.JWT != nil && len(a.JWT.Audience) == 0 && !a.JWT.AnyAudience {
		for i, item := range o.list("rules") {
			d.noAudience(d.within(item), rules[i].Claims)
		}
	}
	return a
}

func (d *decoder) authRules(o object) []AuthRule {
	var rules []AuthRule
	seen := make(map[string]bool)
	for _, item := range o.list("rules") {
		r := AuthRule{Enabled: true}
		ro := d.fill(item, "buckets[].auth.rules[]", &r)
		r.Claims = d.claims(ro)
		ro.need("path", "name the sub-path that the rule is for, such as \"/reports\"")
		if r.Path != "" && seen[r.Path] {
			d.fail(ro.get("path"), "is the path of two rules", "put their claims into one")
		}
		seen[r.Path] = true
		hasClaims := ro.has("claims", "claims_verification")
		switch {
		case ro.n != nil && !hasClaims && !ro.has("enabled"):
			d.fail(item, "the rule demands nothing", "add claims_verification, or enabled: false for a public path")
		case hasClaims && !r.Enabled:
			d.fail(item, "its claims have no effect: enabled is false", "remove one of the two")
		}
		rules = append(rules, r)
	}
	return rules
}

// jwt decodes a jwt block. Where it is not in use, no files are opened.
func (d *decoder) jwt(n *node, inUse bool) *JWT {
	j := &JWT{Leeway: 30 * time.Second, RequireExp: true, JWKSMaxAge: 24 * time.Hour}
	o := d.fill(n, "jwt", j)
	if o.n == nil {
		return j
	}
	j.Claims, j.Sources = d.claims(o), d.tokenSources(o)
	d.audience(o, j)
	if n := o.get("jwks_optional"); n != nil && !o.has("jwks_url") {
		d.fail(n, "has no effect without jwks_url", "remove it")
	}
	d.maxAge(o, j)

	found := slices.DeleteFunc([]string{"secret", "public_key_file", "jwks_url", "jwks_file"}, func(key string) bool { return !o.has(key) })
	switch {
	case len(found) > 1:
		d.fail(o.get(found[1]), "is there beside "+found[0], "keep one of them; further keys go into the keys list")
	case len(found) == 0 && !o.has("keys"):
		d.fail(o.n, "has no key to verify with", "add secret, public_key_file, jwks_url, jwks_file or keys")
	case len(found) == 0 && o.has("algorithm"):
		d.fail(o.get("algorithm"), "has no effect: each of the keys has its own", "remove it")
	case len(found) == 1:
		d.mainKey(o, j, found[0], inUse)
	}
	if n := o.get("ca_file"); n != nil && !o.has("jwks_url") {
		d.fail(n, "has no effect without jwks_url", "remove it")
	} else if n != nil {
		j.CAFile, j.CA = d.authorities(n, "jwks_url", j.JWKSURL, inUse)
	}
	if inUse {
		d.advise(o, j)
	}
	j.Keys = append(j.Keys, d.keys(o, inUse)...)
	count := make(map[string]int)
	for i := range j.Keys {
		if a := j.Keys[i].Algorithm; a != "" && j.Keys[i].ID == "" {
			if count[a]++; count[a] == MaxKeysTried+1 {
				d.fail(o.n, "has more than "+strconv.Itoa(MaxKeysTried)+" keys without kid for "+a+", and no token is tried with more", "remove those that no token is signed with any more, or give them the kid that their tokens have")
			}
		}
	}
	return j
}

// leastMaxAge leaves time for several fetches.
const leastMaxAge = time.Minute

// maxAge checks how long a key set is trusted, where there is one.
func (d *decoder) maxAge(o object, j *JWT) {
	n := o.get("jwks_max_age")
	switch {
	case !o.has("jwks_url", "jwks_file"):
		if j.JWKSMaxAge = 0; n != nil {
			d.fail(n, "has no effect without jwks_url or jwks_file", "remove it")
		}
	case j.JWKSMaxAge > 0 && j.JWKSMaxAge < leastMaxAge:
		d.fail(n, "is too short", "write at least "+leastMaxAge.String()+", or 0 for a key set that is trusted for good")
	}
}

// mainKey decodes the key that the jwt block itself names by key.
func (d *decoder) mainKey(o object, j *JWT, key string, inUse bool) {
	algorithm, ok := d.algorithm(o, key)
	switch key {
	case "secret":
		j.Keys = append(j.Keys, Key{Algorithm: algorithm, Secret: d.hashSecret(o, algorithm)})
	case "public_key_file":
		o.stringOrList(key, func(n *node, path string, _ bool) {
			k := Key{Algorithm: algorithm, PublicKeyFile: path}
			if inUse && ok {
				k.Public = d.publicKey(n, path, algorithm)
			}
			j.Keys = append(j.Keys, k)
		})
	case "jwks_url":
		j.JWKSURL, j.JWKSAlgorithm = d.jwksURL(o.get(key)), algorithm
	case "jwks_file":
		if path, _, ok := d.text(o.get(key)); ok {
			j.JWKSFile, j.JWKSAlgorithm = path, algorithm
			if inUse {
				d.jwksFile(o.get(key), path)
			}
		}
	}
}

// algorithm decodes the algorithm of o and checks that it goes with key. It may be
// absent only with a JWKS.
func (d *decoder) algorithm(o object, key string) (name string, ok bool) {
	if !strings.HasPrefix(key, "jwks") {
		o.need("algorithm", "name the one algorithm of the key, such as HS256 for a secret")
	}
	name = CanonicalAlgorithm(o.oneOf("algorithm", "", algorithms[:]...))
	if name == "" {
		return "", !o.has("algorithm")
	}
	at := o.get("algorithm")
	switch isHS := strings.HasPrefix(name, "HS"); {
	case key == "secret" && !isHS:
		d.fail(at, "does not go with a secret", "use HS256, HS384 or HS512, or public_key_file in place of secret")
		return "", false
	case key != "secret" && isHS:
		d.fail(at, "does not go with "+key+": it needs a secret", "use the algorithm of the public key, such as RS256")
		return "", false
	}
	return name, true
}

// hashSecret decodes the secret of an HS key, which must be as long as the hash
// (RFC 7518, 3.2).
func (d *decoder) hashSecret(o object, algorithm string) Secret {
	secret := o.secret("secret")
	bits, err := strconv.Atoi(strings.TrimPrefix(algorithm, "HS"))
	if err == nil && !secret.Empty() && len(secret.Reveal()) < bits/8 {
		size := strconv.Itoa(bits / 8)
		d.fail(o.get("secret"), "the secret is shorter than the "+size+" bytes that "+algorithm+" needs", "make one: openssl rand -hex "+size)
	}
	return secret
}

func (d *decoder) keys(o object, inUse bool) []Key {
	var keys []Key
	seen := make(map[string]bool)
	for _, item := range o.list("keys") {
		var k Key
		ko := d.fill(item, "jwt.keys[]", &k)
		if ko.n == nil {
			continue
		}
		if k.ID != "" && seen[k.ID] {
			d.fail(ko.get("kid"), "is the kid of two keys", "give each key its own")
		}
		seen[k.ID] = true
		switch {
		case ko.has("secret") == ko.has("public_key_file"):
			d.fail(item, "needs either secret or public_key_file", "keep exactly one of them")
		case ko.has("secret"):
			k.Algorithm, _ = d.algorithm(ko, "secret")
			k.Secret = d.hashSecret(ko, k.Algorithm)
		default:
			var ok bool
			k.Algorithm, ok = d.algorithm(ko, "public_key_file")
			if inUse && ok && k.PublicKeyFile != "" {
				k.Public = d.publicKey(ko.get("public_key_file"), k.PublicKeyFile, k.Algorithm)
			}
		}
		keys = append(keys, k)
	}
	return keys
}

// jwksURL checks a URL. Its answers are trusted like the configuration itself.
func (d *decoder) jwksURL(n *node) string {
	text, _, ok := d.text(n)
	if !ok {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || !isURLHost(u.Hostname()) || u.Port() != "" && !isPort(u.Port(), 1):
		d.fail(n, "is no URL", "write such as https://issuer.example.com/.well-known/jwks.json")
	case u.User != nil || strings.Contains(text, "#"):
		d.fail(n, "contains credentials or a fragment", "remove them")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		d.fail(n, "is not https", "use https; plain http is for a loopback host only")
	}
	return text
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") || err == nil && a.IsLoopback()
}

func (d *decoder) tokenSources(o object) []TokenSource {
	if !o.has("token_sources") {
		return []TokenSource{{Type: SourceBearer}}
	}
	var sources []TokenSource
	seen := make(map[TokenSource]bool)
	for _, item := range o.list("token_sources") {
		var s TokenSource
		so := d.fill(item, "jwt.token_sources[]", &s)
		so.need("type", "use one of: bearer, header, query, cookie")
		if s.Type == "" {
			continue
		}
		d.checkSource(so, &s)
		if seen[sourceKey(s)] {
			d.fail(item, "is the same source as one above", "remove one of them")
		}
		seen[sourceKey(s)] = true
		sources = append(sources, s)
	}
	return sources
}

// checkSource reports names and prefixes that a source lacks or cannot use.
func (d *decoder) checkSource(o object, s *TokenSource) {
	if s.Type == SourceBearer {
		if n := o.get("name"); n != nil {
			d.fail(n, "has no effect for a bearer source", "remove it; the header is Authorization")
		}
	} else if o.need("name", "name the "+s.Type+" that carries the token") != nil && s.Name != "" {
		d.checkSourceName(o.get("name"), s)
	}
	n := o.get("prefix")
	switch {
	case n == nil:
	case strings.EqualFold(s.Name, "authorization") && !strings.HasSuffix(s.Prefix, " "):
		d.fail(n, "does not end in a space, so no token could follow the scheme", "write such as \"Bearer \"")
	case s.Type != SourceHeader:
		d.fail(n, "has no effect for a "+s.Type+" source", "remove it")
	case !isVisible(strings.ReplaceAll(s.Prefix, " ", "")):
		d.fail(n, "has characters that a header cannot carry", "use a word and a space, such as \"Token \"")
	}
}

// checkSourceName reports a name that cannot carry a token.
func (d *decoder) checkSourceName(n *node, s *TokenSource) {
	switch {
	case s.Type == SourceQuery && (!isVisible(s.Name) || strings.ContainsAny(s.Name, "&=#%+")), s.Type != SourceQuery && !isToken(s.Name):
		d.fail(n, "is no name of a "+s.Type, "use letters, digits, '-' and '_'")
	case s.Type == SourceQuery && (s.Name == "versionId" || s.Name == "partNumber"):
		d.fail(n, "is a parameter of S3, which the gateway may pass on", "use another name, such as token")
	case s.Type == SourceHeader && isReserved(strings.ToLower(s.Name)):
		d.fail(n, "is a header with a meaning of its own", "use another name, such as X-Auth-Token")
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
