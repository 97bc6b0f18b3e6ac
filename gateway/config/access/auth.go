// Package access has the blocks auth and jwt: who may read a bucket, where a request carries its
// token, the keys that verify it and the rules for its claims. The global jwt block is decoded
// first, as buckets share it.
package access

import (
	"strings"

	"yatagarasu/gateway/config/file"
)

// Auth says who may read a bucket.
type Auth struct {
	// Enabled demands a valid token. Default false: the bucket is public.
	Enabled bool

	// JWT is the verifier in effect: the bucket's own, else the global one. Nil
	// exactly when Enabled is false.
	JWT *JWT `form:"-"`

	// Rules refine sub-paths of the bucket; the longest matching Path decides.
	// Empty unless Enabled.
	Rules []AuthRule
}

// AuthRule is the rule for one sub-path of a bucket.
type AuthRule struct {
	// Path is relative to the bucket's prefix and matches whole segments, in the
	// form of config.Bucket.PathPrefix.
	Path string `form:"path"`

	// Enabled demands a valid token under Path. Default true.
	Enabled bool

	// Claims are the rules that must all hold under Path, beside JWT.Claims. Empty: none.
	Claims []Claim
}

// IsPublic reports whether anybody may read a key.
func (a *Auth) IsPublic(key string) bool {
	public, longest := false, -1
	for _, r := range a.Rules {
		if n := len(r.Path); n > longest && (r.Path == "/" || "/"+key == r.Path || strings.HasPrefix("/"+key, r.Path+"/")) {
			public, longest = !r.Enabled, n
		}
	}
	return public
}

// Global is the global jwt block, and its use by buckets.
type Global struct {
	JWT  *JWT // nil: absent or disabled
	Used bool // a bucket relies on the block

	off bool // there, but disabled
}

// DecodeGlobal decodes the global jwt block.
func DecodeGlobal(d *file.Decoder, n *file.Node) Global {
	if n == nil {
		return Global{}
	}
	on := d.Within(n).Boolean("enabled", true)
	jwt := decodeJWT(d, n, on)
	if !on {
		return Global{off: true}
	}
	return Global{JWT: jwt, Used: n.Kind != file.Map} // else reported; the block is there all the same
}

// Decode decodes a bucket's auth block, and notes in global whether it relies on it.
func Decode(d *file.Decoder, n *file.Node, global *Global) Auth {
	var a Auth
	o := d.Fill(n, "buckets[].auth", &a)
	d.NeedEnabled(o)
	rules := decodeRules(d, o)

	if own := o.Get("jwt"); own != nil {
		if at := d.Within(own).Get("enabled"); at != nil {
			d.Fail(at, "is a key of the global jwt block alone", "remove it; auth.enabled switches the bucket")
		}
		a.JWT = decodeJWT(d, own, a.Enabled)
	} else if a.JWT = global.JWT; a.Enabled {
		global.Used = true
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
