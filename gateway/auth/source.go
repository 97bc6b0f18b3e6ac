package auth

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/config/access"
)

// presence is the result of looking for a token in a source.
type presence uint8

const (
	absent presence = iota
	present
	malformed // a text in the place of a token
	twice     // more than one token
)

// source is one place of a request that may carry the token.
type source struct {
	access.TokenSource
	find   func(s *source, q *Request) ([]byte, presence)
	scheme string // Prefix without the spaces at its end
	spaces int    // number of those spaces
	single bool   // the request's head was refused with a second such header
}

// sourceTypes has the function of each type of source. A new type is a row here
// and its name in the configuration.
var sourceTypes = map[string]func(s *source, q *Request) ([]byte, presence){
	access.SourceBearer: fromHeader, // compiled to the header it is
	access.SourceHeader: fromHeader,
	access.SourceQuery:  fromQuery,
	access.SourceCookie: fromCookie,
}

func newSource(c access.TokenSource) source {
	s := source{TokenSource: c, find: sourceTypes[c.Type]}
	if s.find == nil {
		panic("BUG: token source type was not validated: " + c.Type)
	}
	if c.Type == access.SourceBearer {
		s.Name, s.Prefix = fasthttp.HeaderAuthorization, "Bearer "
	}
	s.single = strings.EqualFold(s.Name, fasthttp.HeaderAuthorization)
	s.scheme = strings.TrimRight(s.Prefix, " ")
	s.spaces = len(s.Prefix) - len(s.scheme)
	return s
}

// String describes s for people.
func (s *source) String() string {
	switch s.Type {
	case access.SourceBearer:
		return "bearer (Authorization: Bearer TOKEN)"
	case access.SourceHeader:
		return "header (" + s.Name + ": " + s.Prefix + "TOKEN)"
	}
	return s.Type + " (" + s.Name + "=TOKEN)"
}

// fromHeader finds a token in a header. With another scheme, in whatever case, the
// token is absent: the header has another purpose. With the right scheme and no token
// in the right form behind it, the token is malformed. In an empty header it is absent,
// as in an empty parameter or cookie.
func fromHeader(s *source, q *Request) ([]byte, presence) {
	// An empty one counts: another server may look at the last one of several.
	if !s.single && len(q.Header.PeekAll(s.Name)) > 1 {
		return nil, twice
	}
	v := q.Header.Peek(s.Name)
	if len(v) == 0 {
		return nil, absent
	}
	if len(v) < len(s.scheme) || !bytes.EqualFold(v[:len(s.scheme)], []byte(s.scheme)) {
		return nil, absent
	}
	v = v[len(s.scheme):]
	if s.spaces == 0 {
		return v, present
	}
	switch {
	case len(v) == 0:
		return nil, absent // the scheme alone
	case isTokenByte(v[0]):
		return nil, absent // a longer scheme
	case len(v) <= s.spaces:
		return nil, malformed
	}
	v, ok := bytes.CutPrefix(v, []byte(s.Prefix[len(s.scheme):]))
	if !ok {
		return nil, malformed
	}
	return v, present
}

// isTokenByte reports whether c may be in a scheme (RFC 9110, 5.6.2).
func isTokenByte(c byte) bool {
	return c > ' ' && c < 0x7f && bytes.IndexByte([]byte(`"(),/:;<=>?@[\]{}`), c) < 0
}

// fromQuery finds a token in the raw query. Neither name nor value is decoded:
// nothing in a token needs to be escaped.
func fromQuery(s *source, q *Request) ([]byte, presence) {
	return s.fromPairs([][]byte{q.Query}, "&", "")
}

// fromCookie finds a token in the Cookie header (RFC 6265, 4.2).
func fromCookie(s *source, q *Request) ([]byte, presence) {
	value, p := s.fromPairs(q.Header.PeekAll(fasthttp.HeaderCookie), ";", " \t")
	if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	if len(value) == 0 && p == present {
		p = absent
	}
	return value, p
}

// fromPairs finds a token in pairs of name and value, after separator and among bytes
// of around. An empty one counts, as in fromHeader.
func (s *source) fromPairs(texts [][]byte, separator, around string) (value []byte, p presence) {
	for _, rest := range texts {
		for len(rest) > 0 {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte(separator))
			name, v, _ := bytes.Cut(bytes.Trim(pair, around), []byte("="))
			switch {
			case string(name) != s.Name:
			case p != absent:
				return nil, twice
			default:
				value, p = v, present
			}
		}
	}
	if len(value) == 0 {
		return nil, absent
	}
	return value, p
}

// findToken returns the token of the first source with one, and the index of that source;
// -1 if there is none.
func findToken(sources []source, q *Request) (token []byte, r Reason, at int) {
	for i := range sources {
		token, p := sources[i].find(&sources[i], q)
		switch p {
		case present:
			return token, Allowed, i
		case malformed:
			return nil, TokenMalformed, i
		case twice:
			return nil, TokenTwice, i
		}
	}
	return nil, TokenMissing, -1
}
