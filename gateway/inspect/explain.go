package inspect

import (
	"fmt"
	"io"
	"strings"
	"time"
	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/serve"

	"github.com/valyala/fasthttp"
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
func Explain(gen *serve.Generation, w io.Writer, rawURL, token string) bool {
	raw := []byte(rawURL)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-10s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	refuse := func(status int, why string) bool {
		line("answer", "%d: %s", status, why)
		return false
	}
	line("target", "%s", request.RawPath(raw))
	var t request.Target
	if e := t.Parse(raw); e != nil {
		return refuse(e.Status, e.Message)
	}
	if path := string(t.Path); path == "/health" || path == "/ready" {
		line("answer", "200 or 503: the gateway's own %s", path)
		return false
	}
	if serve.IsReserved(t.Path) {
		return refuse(problem.NoRoute.Status, "the path is reserved for the gateway")
	}
	b, prefixLen := gen.Table.Lookup(t.Authority, t.Path)
	if b == nil {
		return refuse(problem.NoRoute.Status, "no bucket's path_prefix matches, on segment boundaries and by case; mounted are "+mounted(gen))
	}
	line("route", "%s", b.Prefix)
	line("bucket", "%s", b.Name)
	key, e := t.Key(prefixLen)
	if e != nil {
		return refuse(e.Status, e.Message)
	}
	if len(key) > 0 {
		line("key", "%q", key)
	}
	unchecked := false
	switch {
	case b.Policy != nil:
		q := auth.Request{Header: new(fasthttp.RequestHeader), Query: t.Query, Key: key, Method: fasthttp.MethodGet, Now: time.Now()}
		var r auth.Reason
		r, unchecked = b.Policy.Explain(&q, token, func(name, text string) { line(name, "%s", text) })
		if p := serve.ProblemOfVerdict(r); p != nil {
			return refuse(p.Status, p.Message)
		}
	case token != "":
		line("auth", "not asked for: the bucket is public")
	}
	if len(key) == 0 {
		return refuse(problem.NoKey.Status, problem.NoKey.Message)
	}
	query, e := t.AllowedQuery(nil, b.AllowQuery)
	if e != nil {
		return refuse(e.Status, e.Message)
	}
	for _, r := range b.Origin.Replicas {
		if len(b.Origin.Replicas) > 1 {
			line("replica", "%s, priority %d", r.Name, r.Priority)
		}
		line("upstream", "GET %s", r.Address.URL(r.Address.AppendKeyPath(nil, key), query))
		line("s3 bucket", "%s", r.S3.Bucket)
		line("dials", "%s", r.Address.HostPort)
		if r.Proxy != nil {
			line("by proxy", "%s", r.Proxy.Host)
		}
	}
	if len(t.Query) > 0 {
		sent := "nothing"
		if len(query) > 0 {
			sent = string(query)
		}
		line("query", "the origin gets %s; s3.allow_query of the bucket names what may pass", sent)
	}
	return !unchecked
}

func mounted(gen *serve.Generation) string {
	var names []string
	for _, b := range gen.Buckets {
		names = append(names, b.Prefix)
	}
	return strings.Join(names, ", ")
}
