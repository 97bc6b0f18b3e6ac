package web

import (
	"strings"

	"yatagarasu/gateway/config/site"
)

// Redirects are the rules of a bucket for paths that have moved. Safe for concurrent use.
type Redirects struct {
	prefix string // of the bucket, encoded; empty for the root
	rules  []redirect
	exact  map[string]int // by key: the rules without "*", by number
	wild   []int          // the numbers of the others
}

type redirect struct {
	from   pattern
	to     pattern
	url    bool // to is one
	status int
}

func newRedirects(rules []site.Redirect, prefix string) *Redirects {
	if len(rules) == 0 {
		return nil
	}
	r := &Redirects{exact: make(map[string]int)}
	if prefix != "/" {
		r.prefix = string(appendEscaped(nil, prefix, byteUnquoted))
	}
	for i, c := range rules {
		one := redirect{from: newPattern(c.From), to: newPattern(c.To), url: c.To[0] != '/', status: c.Status}
		class := uint8(byteUnquoted)
		if one.url {
			class = byteURL
		}
		one.to.before = string(appendEscaped(nil, one.to.before, class))
		one.to.after = string(appendEscaped(nil, one.to.after, class))
		if r.rules = append(r.rules, one); one.from.wild {
			r.wild = append(r.wild, i)
		} else {
			r.exact[c.From[1:]] = i
		}
	}
	return r
}

// Match returns the number of the rule for a key, and its status. ok is false if there is none.
//
// Hot path: zero allocations, guarded by TestLocationAllocs.
func (r *Redirects) Match(key []byte) (rule, status int, ok bool) {
	rule, ok = r.exact[string(key)]
	for _, i := range r.wild {
		if ok && i > rule {
			break
		}
		if r.rules[i].from.matches(key) {
			rule, ok = i, true
			break
		}
	}
	if !ok {
		return 0, 0, false
	}
	return rule, r.rules[rule].status, true
}

// AppendLocation appends where a rule sends the requests for a key. The query goes along to a
// path of the bucket, but not to another site, which need not see the token that it may have. It
// is not ok for a path that leads out of the bucket.
func (r *Redirects) AppendLocation(dst []byte, rule int, key, query []byte) (_ []byte, ok bool) {
	one := &r.rules[rule]
	write := func(dst []byte) []byte {
		dst = append(dst, one.to.before...)
		if one.to.wild {
			dst = appendEscaped(dst, one.from.standsFor(key), byteUnquoted)
		}
		return append(dst, one.to.after...)
	}
	if one.url {
		return write(dst), true
	}
	start := len(dst)
	dst = appendPath(dst, func(dst []byte) []byte { return write(append(dst, r.prefix...)) })
	return appendQuery(dst, query), !leadsUp(dst[start:])
}

// standsFor returns what the "*" of p, which matches a path, stands for in it.
func (p *pattern) standsFor(key []byte) []byte {
	return key[len(strings.TrimPrefix(p.before, "/")) : len(key)-len(p.after)]
}
