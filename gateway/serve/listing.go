package serve

import (
	"errors"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/listing"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/web"
)

// Lists tells whether the bucket has a listing of a folder, by its key.
func (b *Bucket) Lists(folder []byte) bool {
	return b.Pages != nil && b.Site.Listing.Offers(string(folder))
}

// serveFolder answers with a page of the listing of the folder that the key names. It reports
// whether there is one.
func (x *Exchange) serveFolder(ctx *fasthttp.RequestCtx) bool {
	b := x.bucket
	if !b.Lists(x.key) {
		return false
	}
	x.LetIn = true
	if raw := ctx.Request.Header.RequestURI(); !request.EndsInSlash(raw) { // the links of the page would lead elsewhere
		x.Status = fasthttp.StatusFound
		ctx.SetStatusCode(x.Status)
		ctx.Response.Header.SetBytesV(fasthttp.HeaderLocation, request.FolderLocation(raw))
		return true
	}
	after, p := x.placeInFolder()
	if p != nil {
		x.Fail(ctx, p)
		return true
	}
	v, err := x.viewFolder(after)
	if err != nil {
		x.failFolder(ctx, err)
		return true
	}
	x.answerFolder(ctx, v, len(after) > 0)
	return true
}

// placeInFolder returns the key behind which the client wants the page to begin.
func (x *Exchange) placeInFolder() ([]byte, *problem.Problem) {
	after, p := x.Target.StartAfter(x.key, x.bucket.Keys)
	if p != nil {
		return nil, p
	}
	text, p := x.Target.Continue()
	if p != nil || text == nil {
		return after, p
	}
	place, ok := x.bucket.Pages.Room.Place(x.key, text)
	if !ok || after != nil {
		return nil, request.UnknownPlace
	}
	return place, nil
}

// askFolder asks the origin for a page of the folder.
func (x *Exchange) askFolder(after []byte) (*origin.Folder, error) {
	b := x.bucket
	f := b.Origin.NewList(&x.Upstream, x.key, after, b.ListSize(), x.ID, x.trace)
	defer f.Release()
	f.Client = limit.AddressKey(x.Client)
	folder, err := f.List()
	switch {
	case err != nil:
		return nil, origin.NewError(err)
	case folder != nil:
		return folder, nil
	}
	denied := f.MayNotList()
	kind := f.NoteOriginError()
	if !denied {
		return nil, &origin.Error{Problem: &kind.Problem, Reason: kind.Reason}
	}
	if b.Pages.Complains() {
		x.s.Log.Warn().Bytes("request_id", x.ID).Str("bucket", b.Name).
			Msg("the origin does not let the gateway list a folder: the credential needs s3:ListBucket on the bucket")
	}
	return nil, &origin.Error{Problem: problem.ListingDenied, Reason: problem.ListingDenied.Code}
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

// answerFolder answers with the client's view of the folder. continued says that its page is not
// the first.
func (x *Exchange) answerFolder(ctx *fasthttp.RequestCtx, v *view, continued bool) {
	b, client := x.bucket, limit.AddressKey(x.Client)
	place, secret := v.end()
	if len(v.entries) == 0 && !v.more && !v.marked && !continued {
		x.failAbout(ctx, problem.NoFolder) // as if what the client may not see were not there
		return
	}
	l, shown := b.Site.Listing, v.page(b.Prefix, continued, place)
	accept := ctx.Request.Header.Peek(fasthttp.HeaderAccept)
	format := l.Format(func(first, second string) bool { return request.Prefers(accept, first, second) })
	size := l.Size(format, shown, len(v.entries), v.keyBytes())
	write := func() []byte {
		if v.fill(shown, b.Keys); v.more && secret {
			shown.Place = b.Pages.Room.Hide(x.key, []byte(place))
		}
		return l.Write(format, shown)
	}
	var body *listing.Body
	var err error
	if v.alike() {
		body, err = v.first.Body(int(format), client, size, write)
	} else {
		body, err = b.Pages.Room.Write(client, size, write)
	}
	if err == nil && x.Method != observe.MethodHead {
		if err = body.Begin(client); err == nil {
			x.listed = body // which ends with the exchange
		}
	}
	if err != nil {
		x.failFolder(ctx, err)
		return
	}
	x.answerPage(ctx, format, body, v.fresh)
}

// answerPage answers with a page, which is fresh for so long.
func (x *Exchange) answerPage(ctx *fasthttp.RequestCtx, format web.Format, page *listing.Body, fresh time.Duration) {
	body := page.Bytes
	h := &ctx.Response.Header
	h.SetContentType(format.ContentType())
	b := fill.WithDate(x.scratch[:0])
	if rules := x.bucket.Site.Headers; rules != nil { // those for any answer: it is no object
		b = rules.Append(b, rules.Match(x.key, nil, false), x.secure, len(x.Target.Query) > 0)
		for _, name := range web.ListingHeaders { // a rule for a site's pages would break this one, or give it to others
			b = web.WithoutLines(b, name)
		}
	}
	if x.bucket.Policy != nil {
		b = append(b, "Cache-Control: no-store\r\n"...)
	} else {
		b = append(strconv.AppendInt(append(b, "Cache-Control: max-age="...), int64(fresh/time.Second), 10), "\r\n"...)
	}
	if x.bucket.Site.Listing.Negotiates() {
		b = append(b, "Vary: Accept\r\n"...)
	}
	b = append(append(append(b, "Content-Security-Policy: "...), web.ListingPolicy()...), "\r\nX-Content-Type-Options: nosniff\r\nX-Robots-Tag: noindex\r\n"...)
	x.setLines(h, x.appendOwn(b, 0))
	x.Status = fasthttp.StatusOK
	ctx.SetStatusCode(x.Status)
	if x.Method == observe.MethodHead {
		ctx.Response.SkipBody = true
		h.SetContentLength(len(body))
		return
	}
	x.conn = ctx.Conn()
	x.sending.Begin(x.conn, x.s.Origins.Pace, page.Claim(limit.AddressKey(x.Client)))
	if len(body) <= max(MaxAtOnce, x.s.StreamBuffer) {
		ctx.Response.SetBodyRaw(body)
		x.Bytes = int64(len(body))
		x.handOver(ctx, time.Since(x.Start))
		return
	}
	x.segments = append(x.segments[:0], body)
	x.handOverStream(ctx, time.Since(x.Start), len(body))
}
