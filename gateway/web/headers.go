package web

import (
	"bytes"
	"math/bits"
	"slices"
	"strings"

	"yatagarasu/gateway/config/site"
	"yatagarasu/gateway/request"
)

// Headers are the header rules of a bucket, compiled. Safe for concurrent use.
type Headers struct {
	rules []rule
	names []name
}

// rule says which answers one of the rules is for.
type rule struct {
	path        *pattern // nil: any
	contentType string   // "image/" for all of them; empty: any
	always      bool
}

// name is a header that rules change.
type name struct {
	lower     string
	rules     Matched  // those that change it
	lines     []string // what each rule makes of it; empty: removed
	inObjects bool     // objects may have it
	secure    bool     // only for answers over TLS (RFC 6797, 7.2)
	referrer  bool     // Referrer-Policy, which the gateway sets where a query may have a token
}

// Matched is the set of rules that are for an answer, by number. The zero value: none.
type Matched uint64

func newHeaders(rules []site.HeaderRule, objectHas func(name []byte) bool) *Headers {
	if len(rules) == 0 {
		return nil
	}
	h := new(Headers)
	change := func(i int, text, value string) {
		lower := strings.ToLower(text)
		at := slices.IndexFunc(h.names, func(n name) bool { return n.lower == lower })
		if at < 0 {
			at = len(h.names)
			h.names = append(h.names, name{
				lower: lower, lines: make([]string, len(rules)), inObjects: objectHas([]byte(canonical(lower))),
				secure: lower == "strict-transport-security", referrer: lower == "referrer-policy",
			})
		}
		n := &h.names[at]
		if n.rules |= 1 << i; value == "" {
			return
		}
		if n.inObjects {
			text = canonical(lower) // as what reads heads expects it
		}
		n.lines[i] = text + ": " + value + "\r\n"
	}
	for i, c := range rules {
		r := rule{contentType: strings.TrimSuffix(c.Match.ContentType, "*"), always: c.When == "always"}
		if c.Match.Path != "" {
			p := newPattern(c.Match.Path)
			r.path = &p
		}
		h.rules = append(h.rules, r)
		for _, text := range c.Remove {
			change(i, text, "")
		}
		for _, p := range c.Set {
			change(i, p.Name, p.Value)
		}
	}
	return h
}

// canonical returns a header's name, given in lower case, in the form that origins' heads have.
func canonical(name string) string {
	b := []byte(name)
	for i := range b {
		if (i == 0 || b[i-1] == '-') && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 0x20
		}
	}
	return string(b)
}

// Match returns the rules for the answer about a key: with an object of a type, or, where
// success is false, an error.
//
// Hot path: zero allocations, guarded by TestHitAllocs.
func (h *Headers) Match(key, contentType []byte, success bool) (m Matched) {
	for i := range h.rules {
		if r := &h.rules[i]; (success || r.always) && (r.path == nil || r.path.matches(key)) && (r.contentType == "" || r.isFor(contentType)) {
			m |= 1 << i
		}
	}
	return m
}

// isFor tells whether a rule for some type is for that of an object.
func (r *rule) isFor(contentType []byte) bool {
	n := len(r.contentType)
	if len(contentType) < n || !request.NameIs(contentType[:n], r.contentType) {
		return false
	}
	return r.contentType[n-1] == '/' || len(contentType) == n || contentType[n] == ';' || contentType[n] == ' '
}

// Append changes a head as the rules m say, of which the last one counts for each header, and
// returns it. secure says that the answer goes out over TLS; queried that the request has a
// query, for which the gateway has set Referrer-Policy.
//
// Hot path: zero allocations if head has room, guarded by TestHitAllocs.
func (h *Headers) Append(head []byte, m Matched, secure, queried bool) []byte {
	for i := range h.names {
		n := &h.names[i]
		changing := n.rules & m
		if changing == 0 || n.secure && !secure || n.referrer && queried {
			continue
		}
		if n.inObjects {
			head = WithoutLines(head, n.lower)
		}
		head = append(head, n.lines[bits.Len64(uint64(changing))-1]...)
	}
	return head
}

// WithoutLines removes the lines with a name, given in lower case, from a head, in place.
func WithoutLines(head []byte, name string) []byte {
	kept := 0
	for at := 0; at < len(head); {
		end := at + bytes.IndexByte(head[at:], '\n') + 1
		if line := head[at:end]; len(line) <= len(name) || line[len(name)] != ':' || !request.NameIs(line[:len(name)], name) {
			if kept < at {
				copy(head[kept:], line)
			}
			kept += len(line)
		}
		at = end
	}
	return head[:kept]
}

// pattern is a text in which one "*" may stand for anything.
type pattern struct {
	before, after string
	wild          bool
}

func newPattern(s string) (p pattern) {
	p.before, p.after, p.wild = strings.Cut(s, "*")
	return p
}

// matches tells whether p stands for a path: "/" and key.
func (p *pattern) matches(key []byte) bool {
	before := p.before
	if before != "" {
		before = before[1:] // the slash, which the key does not have
	}
	if !p.wild {
		return string(key) == before
	}
	return len(key) >= len(before)+len(p.after) && string(key[:len(before)]) == before && string(key[len(key)-len(p.after):]) == p.after
}

// matchesName tells whether p stands for a name, which is no path.
func (p *pattern) matchesName(name string) bool {
	if !p.wild {
		return name == p.before
	}
	return len(name) >= len(p.before)+len(p.after) && strings.HasPrefix(name, p.before) && strings.HasSuffix(name, p.after)
}
