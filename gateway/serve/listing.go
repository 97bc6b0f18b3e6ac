package serve

import (
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/listing"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/request"
)

// serveFolder answers with a page of the listing of the folder that the key names. It reports
// whether there is one.
func (x *Exchange) serveFolder(ctx *fasthttp.RequestCtx) bool {
	pages := x.bucket.Pages
	if !pages.Offers(x.key) {
		return false
	}
	x.LetIn = true
	if raw := ctx.Request.Header.RequestURI(); !request.EndsInSlash(raw) { // the links of the page would lead elsewhere
		x.Status = fasthttp.StatusFound
		ctx.SetStatusCode(x.Status)
		ctx.Response.Header.SetBytesV(fasthttp.HeaderLocation, request.FolderLocation(raw))
		return true
	}
	after, p := pages.Place(&x.Target, x.key)
	if p != nil {
		x.Fail(ctx, p)
		return true
	}
	q := &listing.Query{
		Folder: x.key, After: after, Accept: ctx.Request.Header.Peek(fasthttp.HeaderAccept), Client: limit.AddressKey(x.Client),
		Notes: &x.Upstream, ID: x.ID, Trace: x.trace,
	}
	if x.bucket.Policy != nil {
		access := x.access
		reader := x.bucket.Policy.NewReader(&access)
		// Before anything is held for the page. A page from which is missing what the client may read
		// would be no answer.
		if v := reader.LookUp(); v.Reason != auth.Allowed {
			x.verdict, x.Auth = v, observe.Auth{Outcome: "denied", Reason: v.Reason.String()}
			x.answerRefused(ctx)
			return true
		}
		q.Reads = reader.Reads
	}
	page, err := pages.Write(q)
	if err == nil && x.Method != observe.MethodHead {
		if err = page.Body.Begin(limit.AddressKey(x.Client)); err == nil {
			x.listed = page.Body // which ends with the exchange
		}
	}
	if err != nil {
		x.failFolder(ctx, err)
	} else {
		x.answerPage(ctx, &page)
	}
	return true
}

// failFolder answers for a page that was not brought.
func (x *Exchange) failFolder(ctx *fasthttp.RequestCtx, err error) {
	e, ok := errors.AsType[*origin.Error](err)
	if !ok {
		panic("BUG: a page fails with another error than those of origins: " + err.Error())
	}
	x.Cause, x.Reason = e.Cause, e.Reason
	x.failAbout(ctx, e.Problem)
}

// answerPage answers with a page.
func (x *Exchange) answerPage(ctx *fasthttp.RequestCtx, page *listing.Page) {
	body := page.Body.Bytes
	h := &ctx.Response.Header
	h.SetContentType(page.Format.ContentType())
	b := fill.WithDate(x.scratch[:0])
	if rules := x.bucket.Site.Headers; rules != nil { // those for any answer: it is no object
		b = rules.Append(b, rules.Match(x.key, nil, false), x.secure, len(x.Target.Query) > 0)
	}
	b = x.bucket.Site.Listing.AppendLines(b, page.Fresh, x.bucket.Policy != nil)
	x.setLines(h, x.appendOwn(b, 0))
	x.Status = fasthttp.StatusOK
	ctx.SetStatusCode(x.Status)
	if x.Method == observe.MethodHead {
		ctx.Response.SkipBody = true
		h.SetContentLength(len(body))
		return
	}
	x.conn = ctx.Conn()
	x.sending.Begin(x.conn, x.s.Origins.Pace, page.Body.Claim(limit.AddressKey(x.Client)))
	if len(body) <= max(MaxAtOnce, x.s.StreamBuffer) {
		ctx.Response.SetBodyRaw(body)
		x.Bytes = int64(len(body))
		x.handOver(ctx, time.Since(x.Start))
		return
	}
	x.segments = append(x.segments[:0], body)
	x.handOverStream(ctx, time.Since(x.Start), len(body))
}
