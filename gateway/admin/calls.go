package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/serve"

	"github.com/valyala/fasthttp"
)

// maxBody bounds the body of an administrative call, in bytes.
const maxBody = 1 << 20

// routes are the administrative calls: a row is all it takes to add one. In a
// path, {name} stands for one segment and {name...} for the rest. The more precise
// rows come first.
var routes = []route{
	{fasthttp.MethodGet, "/admin/status", (*call).status},
	{fasthttp.MethodGet, "/admin/config", (*call).config},
	{fasthttp.MethodPost, "/admin/reload", (*call).reloadConfig},
	{fasthttp.MethodPost, "/admin/cache/purge", (*call).purge},
	{fasthttp.MethodPost, "/admin/cache/purge/{bucket}", (*call).purgeBucket},
	{fasthttp.MethodPost, "/admin/cache/purge/{bucket}/{key...}", (*call).purgeKey},
	{fasthttp.MethodGet, "/admin/cache/stats", (*call).cacheStats},
	{fasthttp.MethodGet, "/admin/cache/stats/{bucket}", (*call).cacheStats},
	{fasthttp.MethodGet, "/admin/cache/entry", (*call).cacheEntry},
	{fasthttp.MethodPost, "/admin/cache/prewarm", (*call).beginPrewarm},
	{fasthttp.MethodGet, "/admin/cache/prewarm", (*call).prewarms},
	{fasthttp.MethodGet, "/admin/cache/prewarm/{id}", (*call).prewarm},
	{fasthttp.MethodDelete, "/admin/cache/prewarm/{id}", (*call).cancelPrewarm},
}

// route is what answers one method of one path.
type route struct {
	method, path string
	// serve returns the reply, which is encoded as JSON, or an error: a *problem
	// for what is wrong with the call.
	serve func(*call) (any, error)
}

// call is one administrative call under way.
type call struct {
	a    *Server
	x    *serve.Exchange
	args []string // what the braces of the path stand for
	body []byte
}

// serveAdmin answers a path of /admin. metrics tells that it came by the metrics
// listener.
func (a *Server) serveAdmin(ctx *fasthttp.RequestCtx, x *serve.Exchange, metrics bool) {
	h := &ctx.Request.Header
	method := string(h.Method())
	if p := a.mayAdminister(h, &x.Target, metrics); p != nil {
		if p.Status != fasthttp.StatusNotFound {
			a.Log.Warn().Bytes("request_id", x.ID).Stringer("client", x.Client).Str("method", method).Bytes("path", x.Path).Str("reason", p.Code).Msg("an administrative call is refused")
		}
		x.Fail(ctx, p)
		return
	}
	found, args, allow := findRoute(method, string(x.Target.Path))
	if found == nil {
		p := problem.NoCall
		if allow != "" {
			p = problem.AdminMethod
		}
		x.Fail(ctx, p)
		if allow != "" {
			ctx.Response.Header.Set(fasthttp.HeaderAllow, allow)
		}
		return
	}
	if x.Unread {
		x.Fail(ctx, request.BodyNotAllowed) // a GET with a body, or one that got its token just now
		return
	}
	reply, err := found.serve(&call{a: a, x: x, args: args, body: ctx.Request.Body()})
	event := a.Log.Info()
	if found.method == fasthttp.MethodGet {
		event = a.Log.Debug()
	}
	event.Bytes("request_id", x.ID).Stringer("client", x.Client).Str("method", method).Bytes("path", x.Path).AnErr("error", err).Msg("administrative call")
	if err != nil {
		var bad *badReload
		if errors.As(err, &bad) {
			x.ReplyJSON(ctx, fasthttp.StatusBadRequest, bad)
			return
		}
		var p *problem.Problem
		if !errors.As(err, &p) {
			p = &problem.Problem{Status: fasthttp.StatusInternalServerError, Code: "admin_failed", Message: err.Error()}
		}
		x.Fail(ctx, p)
		return
	}
	x.ReplyJSON(ctx, fasthttp.StatusOK, reply)
}

// mayAdminister returns nil if the request with the head h and the target t may make
// administrative calls, else the answer to it. With a token in the configuration,
// whoever presents it may. Without one, who reaches a metrics listener that is bound to
// loopback may; not a web page there, though, that somebody's browser has open.
func (a *Server) mayAdminister(h *fasthttp.RequestHeader, t *request.Target, metrics bool) *problem.Problem {
	token := a.Generation.Load().Config.Admin.Token
	if token.Empty() {
		switch {
		case !metrics:
			return problem.NoRoute
		case !a.loopback.Load():
			return problem.AdminOff
		case !fromHere(h, t):
			return problem.Foreign
		}
		return nil
	}
	scheme, given, _ := bytes.Cut(h.Peek(fasthttp.HeaderAuthorization), []byte(" "))
	// Of hashes, because the comparison of texts tells their lengths.
	got, want := sha256.Sum256(given), sha256.Sum256([]byte(token.Reveal()))
	if !bytes.EqualFold(scheme, []byte("bearer")) || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return problem.AdminToken
	}
	return nil
}

// fromHere tells whether a request to a loopback listener was meant for it: not for
// a name that somebody else's DNS leads here, and not by another site's page.
func fromHere(h *fasthttp.RequestHeader, t *request.Target) bool {
	host := string(t.Host(h))
	name := host
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
		name = name[:i]
	}
	name = strings.Trim(name, "[]")
	if a, err := netip.ParseAddr(name); !strings.EqualFold(name, "localhost") && (err != nil || !a.IsLoopback()) {
		return false
	}
	if site := string(h.Peek("Sec-Fetch-Site")); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	origin := string(h.Peek(fasthttp.HeaderOrigin))
	return origin == "" || strings.EqualFold(origin, "http://"+host)
}

// findRoute returns the call for a method and a path, and what its braces stand
// for; if the path has others alone, their methods.
func findRoute(method, path string) (call *route, args []string, allow string) {
	if method == fasthttp.MethodHead {
		method = fasthttp.MethodGet
	}
	var methods []string
	for i := range routes {
		c := &routes[i]
		a, ok := matchPath(c.path, path)
		if !ok {
			continue
		}
		if c.method == method {
			return c, a, ""
		}
		methods = append(methods, c.method)
	}
	return nil, nil, strings.Join(methods, ", ")
}

// matchPath matches path with a pattern of routes.
func matchPath(pattern, path string) (args []string, ok bool) {
	for {
		var want, got string
		var moreWant, moreGot bool
		if strings.HasSuffix(pattern, "...}") && !strings.Contains(pattern, "/") {
			return append(args, path), path != ""
		}
		want, pattern, moreWant = strings.Cut(pattern, "/")
		got, path, moreGot = strings.Cut(path, "/")
		switch {
		case strings.HasPrefix(want, "{") && got != "":
			args = append(args, got)
		case want != got:
			return nil, false
		}
		if !moreWant || !moreGot {
			return args, moreWant == moreGot
		}
	}
}

// decode fills v from the call's body, in which it allows no other keys.
func (r *call) decode(v any) error {
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badCall("the body is not the JSON that this call takes: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return badCall("the body has more than one JSON value")
	}
	return nil
}

// query returns the call's query parameters, which must be among names.
func (r *call) query(names ...string) (url.Values, error) {
	q, err := url.ParseQuery(string(r.x.Target.Query))
	if err != nil {
		return nil, badCall("the query cannot be read")
	}
	for name, values := range q {
		if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+name+" ") || len(values) > 1 {
			return nil, badCall("the query has %q twice, or where this call takes it not; it takes: %s", name, strings.Join(names, ", "))
		}
	}
	return q, nil
}

// bucket returns the bucket of a name.
func (r *call) bucket(name string) (*serve.Bucket, error) {
	if b := r.a.Generation.Load().Bucket(name); b != nil {
		return b, nil
	}
	return nil, &problem.Problem{Status: fasthttp.StatusNotFound, Code: "no_such_bucket", Message: fmt.Sprintf("no bucket of the configuration has the name %q", name)}
}

// badCall is the answer to a call that makes no sense.
func badCall(format string, args ...any) error {
	return &problem.Problem{Status: fasthttp.StatusBadRequest, Code: "bad_call", Message: fmt.Sprintf(format, args...)}
}
