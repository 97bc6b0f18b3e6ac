package serve

import (
	"strconv"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/coding"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/gateway/web"
)

// substitution is how far a request has come in the chain of objects that stand in for the one
// that it names. The zero value: that one is looked for.
type substitution struct {
	step    web.Step
	asked   []byte           // key that the request names, within its target
	own     []byte           // memory of the key of a substitute
	demands bool             // the request has a precondition or a range
	instead *problem.Problem // error whose document is looked for, or sent; nil: none is
	why     string           // reason of that error, for log and metrics
}

// answerHere answers what the configuration itself has an answer to: a text, or a redirect. bare
// says that the path is the bucket's prefix, without a slash. It reports whether it has answered.
func (x *Exchange) answerHere(ctx *fasthttp.RequestCtx, w *web.Website, bare bool) bool {
	if f := w.File(x.key); f != nil {
		x.sendFile(ctx, f)
		return true
	}
	if w.Redirects != nil {
		if rule, status, ok := w.Redirects.Match(x.key); ok && x.redirect(ctx, status, func(dst []byte) ([]byte, bool) {
			return w.Redirects.AppendLocation(dst, rule, x.asked, x.Target.Query)
		}) {
			return true
		}
	}
	if bare && w.RedirectsFolders() {
		x.redirectToFolder(ctx)
		return true
	}
	return false
}

// serveWebsite answers with the first object of the chain that a request's key begins.
func (x *Exchange) serveWebsite(ctx *fasthttp.RequestCtx, w *web.Website) {
	if x.own, x.step = w.First(x.own[:0], x.asked); x.step == web.Itself {
		x.lookUp(ctx)
		return
	}
	if request.CheckKey(x.own, x.bucket.Keys) != nil && !x.advance(w) {
		x.failAbout(ctx, &s3error.NoSuchKey.Problem)
		return
	}
	x.standIn(ctx)
}

// failAbout answers for an error that is about the object, or about who may read it. Where the
// bucket is a website, the next object stands in for one that is missing, or a listing for an
// index, and the document of the error goes before its problem.
func (x *Exchange) failAbout(ctx *fasthttp.RequestCtx, p *problem.Problem) {
	w := x.bucket.Website
	switch {
	case w == nil || x.instead != nil:
		x.Fail(ctx, p)
	case isAbsent(p) && x.step == web.Index && x.bucket.Pages.Offers(x.asked):
		x.forget()
		x.step, x.key = web.Listed, x.asked
		x.serveFolder(ctx)
	case isAbsent(p) && x.advance(w):
		x.standIn(ctx)
	case !x.sendDocument(ctx, w, p):
		x.Fail(ctx, p)
	}
}

// isAbsent tells whether a problem is that there is no such object, and nothing in a folder.
func isAbsent(p *problem.Problem) bool {
	return p == &s3error.NoSuchKey.Problem || p == problem.NoFolder
}

// advance takes the next step of the chain for the key that is asked for. It reports whether
// there is one; else the key is the one that is asked for again.
func (x *Exchange) advance(w *web.Website) bool {
	for {
		if x.own, x.step = w.Next(x.own[:0], x.asked, x.step); x.step == web.NoStep {
			x.key = x.asked
			return false
		}
		if request.CheckKey(x.own, x.bucket.Keys) == nil {
			return true
		}
	}
}

// standIn answers with the object of the step that was taken, if the client may read it.
//
// Hot path: zero allocations, guarded by TestWebHitAllocs.
func (x *Exchange) standIn(ctx *fasthttp.RequestCtx) {
	x.forget()
	x.conditional = x.demands && !x.looksForFolder()
	x.key = x.own
	if x.step > web.Index {
		x.Query = x.Query[:0] // it asks for a version of another object
	}
	if x.bucket.Policy == nil || x.authorizeAgain(ctx) {
		x.lookUp(ctx)
	}
}

// lookUp answers with the object of the key, or with the text that the configuration has in its
// place.
func (x *Exchange) lookUp(ctx *fasthttp.RequestCtx) {
	switch f := x.bucket.Website.File(x.key); {
	case f != nil && x.looksForFolder():
		x.redirectToFolder(ctx)
	case f != nil:
		x.sendFile(ctx, f)
	case x.bucket.Cached != nil:
		x.serveCached(ctx)
	default:
		x.serveOrigin(ctx)
	}
}

// forget clears what belongs to the look-up of the object before.
func (x *Exchange) forget() {
	if x.fetch != nil {
		x.fetch.Release()
		x.fetch = nil
	}
	if x.conditionsRead {
		x.conditions.Reset()
		x.conditionsRead = false
	}
	x.cacheKey, x.part = x.cacheKey[:0], fill.Part{}
	x.coding, x.varies = coding.Identity, false
	x.CacheOutcome, x.Reason, x.Cause = observe.Bypass, "", nil
	x.Upstream.Tries, x.Upstream.Failed, x.Upstream.Corrected = 0, 0, false
}

// looksForFolder tells whether the object that is looked for is not to be sent: that it is there
// means that the path is a folder's.
func (x *Exchange) looksForFolder() bool {
	return x.step == web.Folder && x.instead == nil && x.bucket.Website.RedirectsFolders()
}

// authorizeAgain decides whether the client may read the key of a substitute. If not, it has
// answered. An answer that depends on what the client may read is private, whatever it is made of.
//
// Hot path: zero allocations for a token seen before, guarded by TestWebHitAllocs.
func (x *Exchange) authorizeAgain(ctx *fasthttp.RequestCtx) bool {
	v := x.bucket.Policy.Authorize(x.accessTo(ctx, x.key))
	x.private = x.private || !v.Public
	if v.Reason == auth.Allowed && (v.Public || !x.verdict.Public) {
		return true // nothing that is not known of the client
	}
	x.verdict = v
	x.noteVerdict()
	if v.Reason != auth.Allowed {
		x.answerRefused(ctx)
		return false
	}
	if wait := x.admitSubject(); wait > 0 {
		x.Refuse(ctx, observe.LimitSubjectRate, wait)
		return false
	}
	return true
}

// sendDocument answers an error with its document. It reports whether there is one that the client
// may read. Whatever goes wrong with it later, the error is answered without it, see Fail.
func (x *Exchange) sendDocument(ctx *fasthttp.RequestCtx, w *web.Website, p *problem.Problem) bool {
	x.key = x.asked
	x.own = w.AppendDocument(x.own[:0], p.Status)
	if len(x.own) == 0 || request.CheckKey(x.own, x.bucket.Keys) != nil {
		return false
	}
	if x.bucket.Policy != nil {
		v := x.bucket.Policy.Authorize(x.accessTo(ctx, x.own))
		if x.private = x.private || !v.Public; v.Reason != auth.Allowed {
			return false
		}
	}
	x.key = x.own
	why := x.Reason
	if why == "" {
		why = p.LogReason()
	}
	x.forget()
	x.conditional, x.Query = false, x.Query[:0]
	x.instead, x.why, x.Reason = p, why, why
	if p.Challenge != "" {
		ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, p.Challenge)
	}
	x.lookUp(ctx)
	return true
}

// leadsElsewhere answers with a redirect where the object that was found says so, or stands for
// a folder that lacks its slash. o is stored; nil: the object is in the origin's answer. It reports
// whether it has answered.
func (x *Exchange) leadsElsewhere(ctx *fasthttp.RequestCtx, o *cache.Object) bool {
	switch {
	case x.instead != nil:
		return false
	case x.looksForFolder():
		x.redirectToFolder(ctx)
		return true
	case !x.bucket.Website.ObjectRedirects:
		return false
	}
	var location []byte
	if o != nil {
		location = fill.LineValue(o.Header, headerObjectRedirect)
	} else {
		location = x.fetch.Answer.Header.PeekBytes(headerObjectRedirect)
	}
	if len(location) == 0 {
		return false
	}
	if x.redirect(ctx, fasthttp.StatusMovedPermanently, func(dst []byte) ([]byte, bool) {
		return web.AppendObjectRedirect(dst, x.bucket.Prefix, location)
	}) {
		return true
	}
	x.Reason = "object_redirect" // in the log, with the object's path
	return false
}

var headerObjectRedirect = []byte("X-Amz-Website-Redirect-Location")

// redirectToFolder answers with a redirect to the request's own path with a slash behind it.
func (x *Exchange) redirectToFolder(ctx *fasthttp.RequestCtx) {
	x.redirect(ctx, fasthttp.StatusFound, func(dst []byte) ([]byte, bool) {
		return web.AppendFolder(dst, x.Path, x.Target.Query), true
	})
}

// redirect answers with a redirect to what appendLocation appends. If that is not ok, it has not
// answered.
func (x *Exchange) redirect(ctx *fasthttp.RequestCtx, status int, appendLocation func(dst []byte) ([]byte, bool)) bool {
	b, ok := appendLocation(append(fill.WithDate(x.scratch[:0]), "Location: "...))
	if !ok {
		return false
	}
	x.key, x.cacheKey = x.asked, x.cacheKey[:0] // the cache has no part in the answer itself
	x.LetIn = true
	x.setLines(&ctx.Response.Header, x.appendOwn(append(b, "\r\n"...), x.rulesFor(nil, false)))
	x.Status = status
	ctx.SetStatusCode(status)
	return true
}

// sendFile answers with a text of the configuration.
func (x *Exchange) sendFile(ctx *fasthttp.RequestCtx, f *web.File) {
	x.LetIn = x.LetIn || x.instead == nil
	b := fill.AppendLine(fill.WithDate(x.scratch[:0]), headerETag, f.ETag)
	if len(f.Type) > 0 {
		b = fill.AppendLine(b, fill.HeaderContentType, f.Type)
	}
	switch x.readConditions(ctx).Evaluate(f.ETag, 0) {
	case request.PreconditionFailed:
		x.Fail(ctx, problem.PreconditionFailed)
	case request.NotModified:
		b = x.adapt(b)
		rules := x.rulesFor(b, true)
		x.setLines(&ctx.Response.Header, x.appendOwn(fill.NotModifiedHead(b), rules))
		x.setStatus(ctx, fasthttp.StatusNotModified)
	default:
		x.setLines(&ctx.Response.Header, x.appendSite(b, b))
		x.setStatus(ctx, fasthttp.StatusOK)
		ctx.Response.SetBodyRaw(f.Text)
		if x.Method != observe.MethodHead {
			x.Bytes = int64(len(f.Text))
		}
	}
}

// adapt changes the head of an object, or of a text, that is sent in a site. The head of an error's
// document says what its bytes are, and no more: the rest is about the object at its own address.
//
// Hot path: zero allocations if b has room, guarded by TestWebHitAllocs.
func (x *Exchange) adapt(b []byte) []byte {
	if x.instead != nil {
		return web.DocumentHead(b)
	}
	if x.step == web.Fallback && !fill.HasLine(b, headerCacheControl) && !fill.HasLine(b, headerExpires) {
		b = fill.AppendLine(b, headerCacheControl, noCache) // the next release must not run in the pages of this one
	}
	return b
}

// appendDownload has browsers save what is sent, if the query asks for that. What rules say comes
// second.
//
// Hot path: zero allocations if b has room, guarded by TestWebHitAllocs.
func (x *Exchange) appendDownload(b []byte) []byte {
	if name, ok := web.DownloadName(x.Target.Query); ok && x.instead == nil {
		b = web.AppendDisposition(web.WithoutLines(b, "content-disposition"), name, x.key)
	}
	return b
}

var (
	headerETag         = []byte("ETag")
	headerCacheControl = []byte(fasthttp.HeaderCacheControl)
	headerExpires      = []byte(fasthttp.HeaderExpires)
	noCache            = []byte("no-cache")
	noStore            = []byte("no-store")
)

// serveMaintenance answers for a bucket that is not served for now.
func (x *Exchange) serveMaintenance(ctx *fasthttp.RequestCtx, m *web.Maintenance) {
	x.Fail(ctx, problem.Maintenance)
	h := &ctx.Response.Header
	x.scratch = strconv.AppendInt(x.scratch[:0], int64(m.RetryAfter), 10)
	h.SetCanonical(headerRetryAfter, x.scratch)
	x.noStore = true
	if p := m.Page; p != nil {
		h.SetContentTypeBytes(p.Type)
		ctx.Response.SetBodyRaw(p.Text)
		if x.Method != observe.MethodHead {
			x.Bytes = int64(len(p.Text))
		}
	}
}
