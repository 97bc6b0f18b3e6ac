package access

import (
	"slices"
	"strings"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// The types of a TokenSource.
const (
	SourceBearer = "bearer" // Authorization: Bearer TOKEN
	SourceHeader = "header" // a header, after an optional prefix
	SourceQuery  = "query"  // a query parameter
	SourceCookie = "cookie" // a cookie
)

// TokenSource is one place of a request that may carry the token.
type TokenSource struct {
	// Type is one of the Source constants.
	Type string `of:"bearer, header, query, cookie"`

	// Name is the header, parameter or cookie; empty for SourceBearer.
	Name string

	// Prefix precedes the token in a header, such as "Token ". Empty: none.
	Prefix string
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
