package gateway

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/auth"
)

// Explain writes what a gateway of gen would do with a GET request for rawURL: the
// route, bucket, object key and the address it would ask the origin for, or why
// it would refuse. Nothing is sent. It reports whether the request would reach
// the origin, which a token whose signature is not checked may not.
//
// rawURL is an absolute URL or a request target that begins with a slash; it is
// taken as it is, like a client would send it.
//
// token is what the client would present to a bucket that asks for one; empty: it
// presents what the query has.
func Explain(gen *generation, w io.Writer, rawURL, token string) bool {
	raw := []byte(rawURL)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-10s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	refuse := func(status int, why string) bool {
		line("answer", "%d: %s", status, why)
		return false
	}
	line("target", "%s", rawPath(raw))
	var t target
	if e := t.parse(raw); e != targetOK {
		return refuse(e.status(), e.text())
	}
	if path := string(t.path); path == "/health" || path == "/ready" {
		line("answer", "200 or 503: the gateway's own %s", path)
		return false
	}
	if isReserved(t.path) {
		return refuse(problemNoRoute.status, "the path is reserved for the gateway")
	}
	b, prefixLen := gen.table.Lookup(t.authority, t.path)
	if b == nil {
		return refuse(problemNoRoute.status, "no bucket's path_prefix matches, on segment boundaries and by case; mounted are "+mounted(gen))
	}
	line("route", "%s", b.prefix)
	line("bucket", "%s", b.name)
	key, e := t.key(prefixLen)
	if e != targetOK {
		return refuse(e.status(), e.text())
	}
	if len(key) > 0 {
		line("key", "%q", key)
	}
	unchecked := false
	switch {
	case b.policy != nil:
		q := auth.Request{Header: new(fasthttp.RequestHeader), Query: t.query, Key: key, Method: fasthttp.MethodGet, Now: time.Now()}
		var r auth.Reason
		r, unchecked = b.policy.Explain(&q, token, func(name, text string) { line(name, "%s", text) })
		if p := problemOfVerdict(r); p != nil {
			return refuse(p.status, p.message)
		}
	case token != "":
		line("auth", "not asked for: the bucket is public")
	}
	if len(key) == 0 {
		return refuse(problemNoKey.status, problemNoKey.message)
	}
	query, e := t.allowedQuery(nil, b.allowQuery)
	if e != targetOK {
		return refuse(e.status(), e.text())
	}
	for _, r := range b.origin.replicas {
		if len(b.origin.replicas) > 1 {
			line("replica", "%s, priority %d", r.name, r.priority)
		}
		line("upstream", "GET %s", r.origin.url(r.origin.appendKeyPath(nil, key), query))
		line("s3 bucket", "%s", r.s3.Bucket)
		line("dials", "%s", r.origin.address)
		if r.proxy != nil {
			line("by proxy", "%s", r.proxy.Host)
		}
	}
	if len(t.query) > 0 {
		sent := "nothing"
		if len(query) > 0 {
			sent = string(query)
		}
		line("query", "the origin gets %s; s3.allow_query of the bucket names what may pass", sent)
	}
	return !unchecked
}

func mounted(gen *generation) string {
	var names []string
	for _, b := range gen.buckets {
		names = append(names, b.prefix)
	}
	return strings.Join(names, ", ")
}
