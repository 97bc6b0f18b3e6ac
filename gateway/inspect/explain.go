// Package inspect has the commands that serve nothing: check, explain, doctor and token. All
// but token look into a generation that was made and not started.
package inspect

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/route"
	"yatagarasu/gateway/serve"
	"yatagarasu/gateway/web"
)

// Explain writes what a gateway of gen would do with a GET request for rawURL: the
// route, bucket, object key and the address it would ask the origin for, or why
// it would refuse. Nothing is sent. It reports whether the request would certainly reach the
// origin: not if it depends on a signature that Explain cannot check.
//
// rawURL is an absolute URL, or a request target that begins with a slash. It is escaped as a
// client would send it.
//
// token is what the client would present to a private bucket; empty: the client presents what
// the query has, which no issuer is asked about.
func Explain(gen *serve.Generation, w io.Writer, rawURL, token string) bool {
	raw := []byte(rawURL)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-10s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	refuse := func(p *problem.Problem) bool {
		line("answer", "%d: %s", p.Status, p.Message)
		return false
	}
	line("target", "%s", request.RawPath(raw))
	var t request.Target
	if e := t.Parse(raw); e != nil {
		return refuse(e)
	}
	if route.IsProbe(t.Path) {
		line("answer", "200 or 503: the gateway's own %s", t.Path)
		return false
	}
	if route.IsReserved(t.Path) {
		line("answer", "%d: the path is reserved for the gateway", problem.NoRoute.Status)
		return false
	}
	if server := &gen.Config.Server; bytes.HasPrefix(raw, []byte("http:")) && (server.HTTPS.Enabled || server.RequireHTTPS) {
		line("by http", "308: to the same URL by https; what follows is for that")
	}
	b, prefixLen := gen.Table.Lookup(t.Authority, t.Path)
	if b == nil {
		var mounted []string
		for _, b := range gen.Buckets {
			mounted = append(mounted, b.Prefix)
		}
		line("answer", "%d: no bucket's path_prefix matches, on segment boundaries and by case; mounted are %s", problem.NoRoute.Status, strings.Join(mounted, ", "))
		return false
	}
	line("route", "%s", b.Prefix)
	line("bucket", "%s", b.Name)
	if b.Maintenance != nil {
		line("answer", "%d: maintenance is enabled, but for the clients in its allow", problem.Maintenance.Status)
	}
	key, e := t.Key(prefixLen, b.Keys)
	if e != nil {
		return refuse(e)
	}
	if len(key) > 0 {
		line("key", "%q", key)
	}
	unchecked := false
	judge := func(key []byte) *problem.Problem {
		switch {
		case b.Policy != nil:
			q := auth.Request{Header: new(fasthttp.RequestHeader), Query: t.Query, Key: key, Method: fasthttp.MethodGet, Now: time.Now()}
			r, unsure := b.Policy.Explain(&q, token, func(name, text string) { line(name, "%s", text) })
			unchecked = unchecked || unsure
			return serve.ProblemOfVerdict(r)
		case token != "":
			line("auth", "not asked for: the bucket is public")
		}
		return nil
	}
	if p := judge(key); p != nil {
		return refuse(p)
	}
	asked, step, path := key, web.Itself, request.RawPath(raw)
	if b.Website != nil {
		if answer := answeredHere(b, key, path, t.Query, prefixLen == len(t.Path)); answer != "" {
			line("answer", "%s", answer)
			return false
		}
	}
	if web.MeansFolder(key) && (b.Website == nil || !b.Website.HasIndex()) && b.Pages.Offers(key) {
		return explainListing(b, raw, &t, key, line, refuse) && !unchecked
	}
	if len(key) == 0 && (b.Website == nil || !b.Website.AnswersRoot()) {
		return refuse(problem.NoKey)
	}
	if b.Website != nil {
		var own []byte
		if own, step = b.Website.First(nil, asked); step != web.Itself {
			line("object", "%q, %s", own, meanings[step])
			if key = own; b.Policy != nil {
				if p := judge(key); p != nil {
					return refuse(p)
				}
			}
			if f := b.Website.File(key); f != nil {
				line("answer", "%s", textAnswer(f))
				return false
			}
		}
	}
	query, e := t.AllowedQuery(nil, b.AllowQuery)
	if e != nil {
		return refuse(e)
	}
	if kind, whatever := b.Origin.Types.Explain(key); whatever {
		line("type", "%s", kind)
	} else if kind != nil {
		line("type", "%s, if the origin has none", kind)
	}
	if z := b.Compressed; z != nil {
		kind, _ := b.Origin.Types.Explain(key)
		line("encoding", "%s", z.Explain(kind))
	}
	if c := &gen.Config.Cluster; c.Enabled && b.Cached != nil {
		line("purges", "%s", explainPurges(c))
	}
	b.Site.Explain(key, func(name, text string) { line(name, "%s", text) })
	explainReplicas(b, line, func(r *origin.Replica) string { return r.Address.URL(r.Address.AppendKeyPath(nil, key), query) })
	if b.Website != nil {
		explainChain(b, asked, path, t.Query, step, line)
	}
	if len(t.Query) > 0 {
		explainQuery(query, line)
	}
	return !unchecked && b.Maintenance == nil
}

// explainQuery writes what of a request's query the origin gets.
func explainQuery(query []byte, line func(name, format string, args ...any)) {
	sent := "nothing"
	if len(query) > 0 {
		sent = string(query)
	}
	line("query", "the origin gets %s; s3.allow_query of the bucket names what may pass", sent)
}

// explainListing writes that a request for a folder gets its listing, and reports whether it
// reaches the origin.
func explainListing(b *serve.Bucket, raw []byte, t *request.Target, folder []byte, line func(name, format string, args ...any), refuse func(*problem.Problem) bool) bool {
	if !request.EndsInSlash(raw) {
		line("answer", "302: to the same address with a slash at its end, where there is a listing")
		return false
	}
	after, p := t.StartAfter(folder, b.Keys)
	if p != nil {
		return refuse(p)
	}
	text, p := t.Continue()
	if p != nil {
		return refuse(p)
	}
	if text != nil {
		line("continue", "goes on where the page before has ended; only the process that wrote that knows where")
	}
	line("answer", "a listing of the folder, from S3 or a few seconds old")
	b.Site.Explain(folder, func(name, text string) { line(name, "%s", text) })
	explainReplicas(b, line, func(r *origin.Replica) string { return r.ListURL(folder, after, b.Pages.ListSize()) })
	return true
}

// explainReplicas writes what each replica of a bucket would be asked for.
func explainReplicas(b *serve.Bucket, line func(name, format string, args ...any), url func(r *origin.Replica) string) {
	for _, r := range b.Origin.Replicas {
		if len(b.Origin.Replicas) > 1 {
			line("replica", "%s, priority %d", r.Name, r.Priority)
		}
		line("upstream", "GET %s", url(r))
		line("s3 bucket", "%s", r.S3.Bucket)
		line("dials", "%s", r.Address.HostPort)
		if r.Proxy != nil {
			line("by proxy", "%s", r.Proxy.Host)
		}
	}
}

// Check writes that the configuration of gen, from the file at path, is valid, and what it
// has that is hardly meant.
func Check(gen *serve.Generation, path string, w io.Writer) {
	for _, warning := range gen.Config.Warnings {
		fmt.Fprintln(w, "warning:", warning)
	}
	fmt.Fprintf(w, "%s: valid, %d bucket(s)\n", path, len(gen.Config.Buckets))
}
