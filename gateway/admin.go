package gateway

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

	"github.com/valyala/fasthttp"
)

// maxAdminBody bounds the body of an administrative call, in bytes.
const maxAdminBody = 1 << 20

// adminCalls are the administrative calls: a row is all it takes to add one. In a
// path, {name} stands for one segment and {name...} for the rest. The more precise
// rows come first.
var adminCalls = []adminCall{
	{fasthttp.MethodGet, "/admin/status", (*adminRequest).status},
	{fasthttp.MethodGet, "/admin/config", (*adminRequest).config},
	{fasthttp.MethodPost, "/admin/reload", (*adminRequest).reloadConfig},
	{fasthttp.MethodPost, "/admin/cache/purge", (*adminRequest).purge},
	{fasthttp.MethodPost, "/admin/cache/purge/{bucket}", (*adminRequest).purgeBucket},
	{fasthttp.MethodPost, "/admin/cache/purge/{bucket}/{key...}", (*adminRequest).purgeKey},
	{fasthttp.MethodGet, "/admin/cache/stats", (*adminRequest).cacheStats},
	{fasthttp.MethodGet, "/admin/cache/stats/{bucket}", (*adminRequest).cacheStats},
	{fasthttp.MethodGet, "/admin/cache/entry", (*adminRequest).cacheEntry},
	{fasthttp.MethodPost, "/admin/cache/prewarm", (*adminRequest).beginPrewarm},
	{fasthttp.MethodGet, "/admin/cache/prewarm", (*adminRequest).prewarms},
	{fasthttp.MethodGet, "/admin/cache/prewarm/{id}", (*adminRequest).prewarm},
	{fasthttp.MethodDelete, "/admin/cache/prewarm/{id}", (*adminRequest).cancelPrewarm},
}

// adminCall is what answers one method of one path.
type adminCall struct {
	method, path string
	// serve returns the reply, which is encoded as JSON, or an error: a *problem
	// for what is wrong with the call.
	serve func(*adminRequest) (any, error)
}

// adminRequest is one administrative call under way.
type adminRequest struct {
	a    *admin
	x    *exchange
	args []string // what the braces of the path stand for
	body []byte
}

// serveAdmin answers a path of /admin. metrics tells that it came by the metrics
// listener.
func (a *admin) serveAdmin(ctx *fasthttp.RequestCtx, x *exchange, metrics bool) {
	h := &ctx.Request.Header
	method := string(h.Method())
	if p := a.mayAdminister(h, &x.target, metrics); p != nil {
		if p.status != fasthttp.StatusNotFound {
			a.log.Warn().Bytes("request_id", x.id).Stringer("client", x.client).Str("method", method).Bytes("path", x.path).Str("reason", p.code).Msg("an administrative call is refused")
		}
		x.fail(ctx, p)
		return
	}
	call, args, allow := findAdminCall(method, string(x.target.path))
	if call == nil {
		p := problemNoCall
		if allow != "" {
			p = problemAdminMethod
		}
		x.fail(ctx, p)
		if allow != "" {
			ctx.Response.Header.Set(fasthttp.HeaderAllow, allow)
		}
		return
	}
	if x.unread {
		x.fail(ctx, headBody.problem()) // a GET with a body, or one that got its token just now
		return
	}
	reply, err := call.serve(&adminRequest{a: a, x: x, args: args, body: ctx.Request.Body()})
	event := a.log.Info()
	if call.method == fasthttp.MethodGet {
		event = a.log.Debug()
	}
	event.Bytes("request_id", x.id).Stringer("client", x.client).Str("method", method).Bytes("path", x.path).AnErr("error", err).Msg("administrative call")
	if err != nil {
		var bad *badReload
		if errors.As(err, &bad) {
			x.replyJSON(ctx, fasthttp.StatusBadRequest, bad)
			return
		}
		var p *problem
		if !errors.As(err, &p) {
			p = &problem{status: fasthttp.StatusInternalServerError, code: "admin_failed", message: err.Error()}
		}
		x.fail(ctx, p)
		return
	}
	x.replyJSON(ctx, fasthttp.StatusOK, reply)
}

// mayAdminister returns nil if the request with the head h and the target t may make
// administrative calls, else the answer to it. With a token in the configuration,
// whoever presents it may. Without one, who reaches a metrics listener that is bound to
// loopback may; not a web page there, though, that somebody's browser has open.
func (a *admin) mayAdminister(h *fasthttp.RequestHeader, t *target, metrics bool) *problem {
	token := a.generation.Load().config.Admin.Token
	if token.Empty() {
		switch {
		case !metrics:
			return problemNoRoute
		case !a.loopback.Load():
			return problemAdminOff
		case !fromHere(h, t):
			return problemForeign
		}
		return nil
	}
	scheme, given, _ := bytes.Cut(h.Peek(fasthttp.HeaderAuthorization), []byte(" "))
	// Of hashes, because the comparison of texts tells their lengths.
	got, want := sha256.Sum256(given), sha256.Sum256([]byte(token.Reveal()))
	if !bytes.EqualFold(scheme, []byte("bearer")) || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return problemAdminToken
	}
	return nil
}

// fromHere tells whether a request to a loopback listener was meant for it: not for
// a name that somebody else's DNS leads here, and not by another site's page.
func fromHere(h *fasthttp.RequestHeader, t *target) bool {
	host := string(t.host(h))
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

// findAdminCall returns the call for a method and a path, and what its braces stand
// for; if the path has others alone, their methods.
func findAdminCall(method, path string) (call *adminCall, args []string, allow string) {
	if method == fasthttp.MethodHead {
		method = fasthttp.MethodGet
	}
	var methods []string
	for i := range adminCalls {
		c := &adminCalls[i]
		a, ok := matchAdminPath(c.path, path)
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

// matchAdminPath matches path with a pattern of adminCalls.
func matchAdminPath(pattern, path string) (args []string, ok bool) {
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
func (r *adminRequest) decode(v any) error {
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
func (r *adminRequest) query(names ...string) (url.Values, error) {
	q, err := url.ParseQuery(string(r.x.target.query))
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
func (r *adminRequest) bucket(name string) (*bucket, error) {
	if b := r.a.generation.Load().bucket(name); b != nil {
		return b, nil
	}
	return nil, &problem{status: fasthttp.StatusNotFound, code: "no_such_bucket", message: fmt.Sprintf("no bucket of the configuration has the name %q", name)}
}

// badCall is the answer to a call that makes no sense.
func badCall(format string, args ...any) error {
	return &problem{status: fasthttp.StatusBadRequest, code: "bad_call", message: fmt.Sprintf(format, args...)}
}
