package admin

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/serve"
)

// maxBody bounds the body of an administrative call, in bytes.
const maxBody = 1 << 20

// routes are the administrative calls. In a path, {name} stands for one segment and
// {name...} for the rest.
var routes = []row{
	{fasthttp.MethodGet, "/admin/status", func(r *call) (any, error) { return r.a.StatusAt(time.Now()), nil }},
	{fasthttp.MethodGet, "/admin/config", (*call).config},
	{fasthttp.MethodPost, "/admin/reload", (*call).reloadConfig},
	{fasthttp.MethodPost, "/admin/cache/purge", (*call).purge},
	{fasthttp.MethodPost, "/admin/cache/purge/{bucket}", (*call).purge},
	{fasthttp.MethodPost, "/admin/cache/purge/{bucket}/{key...}", (*call).purge},
	{fasthttp.MethodGet, "/admin/cache/stats", (*call).cacheStats},
	{fasthttp.MethodGet, "/admin/cache/stats/{bucket}", (*call).cacheStats},
	{fasthttp.MethodGet, "/admin/cache/entry", (*call).cacheEntry},
	{fasthttp.MethodPost, "/admin/cache/prewarm", (*call).beginPrewarm},
	{fasthttp.MethodGet, "/admin/cache/prewarm", (*call).prewarms},
	{fasthttp.MethodGet, "/admin/cache/prewarm/{id}", (*call).prewarm},
	{fasthttp.MethodDelete, "/admin/cache/prewarm/{id}", (*call).prewarm},
}

// row is one administrative call.
type row struct {
	method, path string
	// serve returns the reply, which is encoded as JSON, or an error: a *problem.Problem
	// for what is wrong with the call.
	serve func(*call) (any, error)
}

// call is one administrative call under way.
type call struct {
	a      *Server
	x      *serve.Exchange
	method string   // of the route
	args   []string // values of the path's braces
	body   []byte
}

// serveAdmin answers a request under /admin. metrics says that the metrics listener received
// it.
func (a *Server) serveAdmin(ctx *fasthttp.RequestCtx, x *serve.Exchange, metrics bool) {
	h := &ctx.Request.Header
	p := problem.AdminToken
	if !request.IsGuess(h) {
		p = a.mayAdminister(h, &x.Target, x.Client, metrics)
	}
	if p != nil {
		if p.Status != fasthttp.StatusNotFound && a.LogsRefusal(zerolog.WarnLevel) {
			method := observe.AppendClipped(nil, h.Method(), 16)
			a.Log.Warn().Bytes("request_id", x.ID).Stringer("client", x.Client).Bytes("method", method).Bytes("path", x.Path).Str("reason", cmp.Or(p.Reason, p.Code)).Msg("an administrative call is refused")
		}
		if p == problem.AdminGuesses {
			x.Refuse(ctx, observe.LimitAdminGuesses, time.Second)
		} else {
			x.Fail(ctx, p)
		}
		return
	}
	x.LetIn = true
	method := string(h.Method())
	found, args, allow := findRoute(method, string(x.Target.Path))
	switch {
	case found == nil && allow == "":
		x.Fail(ctx, problem.NoCall)
		return
	case found == nil:
		x.Fail(ctx, problem.AdminMethod)
		ctx.Response.Header.Set(fasthttp.HeaderAllow, allow)
		return
	case x.Unread:
		x.Fail(ctx, request.BodyNotAllowed) // the route takes no body, or the client was let in after its head was judged
		return
	}
	reply, err := found.serve(&call{a: a, x: x, method: found.method, args: args, body: ctx.Request.Body()})
	event := a.Log.Info()
	if found.method == fasthttp.MethodGet {
		event = a.Log.Debug()
	}
	event.Bytes("request_id", x.ID).Stringer("client", x.Client).Str("method", method).Bytes("path", x.Path).AnErr("error", err).Msg("administrative call")
	if err != nil {
		if bad, ok := errors.AsType[*badReload](err); ok {
			replyJSON(ctx, x, fasthttp.StatusBadRequest, bad)
			return
		}
		p, ok := errors.AsType[*problem.Problem](err)
		if !ok {
			p = &problem.Problem{Status: fasthttp.StatusInternalServerError, Code: "admin_failed", Message: err.Error()}
		}
		x.Fail(ctx, p)
		return
	}
	replyJSON(ctx, x, fasthttp.StatusOK, reply)
}

// replyJSON answers with a JSON document.
func replyJSON(ctx *fasthttp.RequestCtx, x *serve.Exchange, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("BUG: status cannot be encoded: " + err.Error())
	}
	h := &ctx.Response.Header
	h.SetContentType("application/json")
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetStatusCode(code)
	ctx.SetBody(append(body, '\n'))
	x.Status, x.Bytes = code, int64(len(body)+1)
	if x.Method == observe.MethodHead {
		x.Bytes = 0
	}
}

// mayAdminister returns nil if the client of a request may make administrative calls, else
// the answer. With admin.token in the configuration, whoever presents it may. Without it,
// programs on this machine may, by a metrics listener that is bound to loopback; but not a
// web page that is open in a browser here. A wrong token is charged to client; see Guesses.
func (a *Server) mayAdminister(h *fasthttp.RequestHeader, t *request.Target, client netip.Addr, metrics bool) *problem.Problem {
	token := a.Generation.Load().Config.Admin.Token
	if token.Empty() {
		switch {
		case !metrics:
			return problem.NoRoute
		case !a.loopback.Load():
			return problem.AdminOff
		case !isLocal(h, t):
			return problem.Foreign
		}
		return nil
	}
	scheme, given, _ := bytes.Cut(h.Peek(fasthttp.HeaderAuthorization), []byte(" "))
	if !bytes.EqualFold(scheme, []byte("bearer")) {
		return problem.AdminToken // no guess: there is no token
	}
	guesses, key, now := a.Guesses.of(metrics), limit.AddressKey(client), time.Since(a.Started)
	if guesses.Wait(key, now) > 0 {
		return problem.AdminGuesses
	}
	// Compare hashes: the time that texts of different lengths take tells the length.
	got, want := sha256.Sum256(given), sha256.Sum256([]byte(token.Reveal()))
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		guesses.Take(key, now)
		return problem.AdminToken
	}
	return nil
}

// isLocal tells whether a request to a loopback listener was meant for it: it has no foreign
// host name, which somebody's DNS may resolve to loopback, and does not come from a page of
// another site.
func isLocal(h *fasthttp.RequestHeader, t *request.Target) bool {
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

// findRoute returns the route of a method and a path, and the values of its braces. Where the
// path has routes for other methods alone, allow lists those.
func findRoute(method, path string) (found *row, args []string, allow string) {
	if method == fasthttp.MethodHead {
		method = fasthttp.MethodGet
	}
	var methods []string
	for i := range routes {
		r := &routes[i]
		args, ok := matchPath(r.path, path)
		if ok && r.method == method {
			return r, args, ""
		}
		if ok {
			methods = append(methods, r.method)
		}
	}
	return nil, nil, strings.Join(methods, ", ")
}

// matchPath returns the values of the braces in pattern, a path of routes, if path matches it.
func matchPath(pattern, path string) (args []string, ok bool) {
	segments := strings.Split(pattern, "/")
	values := strings.SplitN(path, "/", len(segments)) // the last one is the rest
	if len(values) < len(segments) {
		return nil, false
	}
	for i, s := range segments {
		switch v := values[i]; {
		case !strings.HasPrefix(s, "{"):
			if v != s {
				return nil, false
			}
		case v == "", strings.Contains(v, "/") && !strings.HasSuffix(s, "...}"):
			return nil, false
		default:
			args = append(args, v)
		}
	}
	return args, true
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
		if !slices.Contains(names, name) || len(values) > 1 {
			return nil, badCall("the query has %q twice, or where this call takes it not; it takes: %s", name, strings.Join(names, ", "))
		}
	}
	return q, nil
}

// bucket returns the bucket of a name.
func (r *call) bucket(name string) (*serve.Bucket, error) {
	if b := r.a.Generation.Load().ByName[name]; b != nil {
		return b, nil
	}
	return nil, &problem.Problem{Status: fasthttp.StatusNotFound, Code: "no_such_bucket", Message: fmt.Sprintf("no bucket of the configuration has the name %q", name)}
}

// buckets returns the bucket of a name, or all buckets for the empty one.
func (r *call) buckets(name string) ([]*serve.Bucket, error) {
	if name == "" {
		return r.a.Generation.Load().Buckets, nil
	}
	b, err := r.bucket(name)
	return []*serve.Bucket{b}, err
}

// badCall is the answer to a call that makes no sense.
func badCall(format string, args ...any) error {
	return &problem.Problem{Status: fasthttp.StatusBadRequest, Code: "bad_call", Message: fmt.Sprintf(format, args...)}
}
