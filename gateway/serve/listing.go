package serve

import (
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/web"
	"yatagarasu/pool"
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
	after, p := x.Target.StartAfter(x.key, b.Keys)
	if p != nil {
		x.Fail(ctx, p)
		return true
	}
	page, err := b.Pages.Page(x.key, after, limit.AddressKey(x.Client), func() (*origin.Folder, error) { return x.askFolder(after) })
	if err != nil {
		x.failFolder(ctx, err)
		return true
	}
	x.answerFolder(ctx, page, len(after) > 0)
	return true
}

// askFolder asks the origin for a page of the folder.
func (x *Exchange) askFolder(after []byte) (*origin.Folder, error) {
	b := x.bucket
	f := b.Origin.NewList(&x.Upstream, x.key, after, b.Site.Listing.PageSize, x.ID, x.trace)
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

// answerFolder answers with what of a page the client may see. continued says that the page is
// not the first.
func (x *Exchange) answerFolder(ctx *fasthttp.RequestCtx, page *fill.Page, continued bool) {
	l := x.bucket.Site.Listing
	shown := web.Page{Bucket: x.bucket.Prefix, Folder: string(x.key), Continued: continued, Entries: make([]web.Entry, 0, len(page.Entries))}
	seer := x.newSeer()
	all := true // who may read all of them gets what others get
	upTo := 0   // the last of those shown that a link can name
	for i := range page.Entries {
		e := &page.Entries[i]
		if l.Hides(strings.TrimSuffix(e.Key[len(x.key):], "/")) {
			continue
		}
		if !seer.sees(e.Key) {
			all = false
			continue
		}
		shown.Entries = append(shown.Entries, web.Entry{Key: e.Key, Folder: e.Folder, Size: e.Size, Modified: e.Modified, Linked: request.IsTarget(e.Key, x.bucket.Keys)})
		if utf8.ValidString(e.Key) {
			upTo = len(shown.Entries)
		}
	}
	if page.More {
		shown.Next = continueBehind(page.Entries, shown.Entries[:upTo])
		if shown.More = shown.Next != ""; upTo > 0 {
			shown.Entries = shown.Entries[:upTo] // the next page has the others
		}
	}
	if len(shown.Entries) == 0 && !shown.More && !page.Marked && !continued {
		x.failAbout(ctx, problem.NoFolder) // as if what the client may not see were not there
		return
	}
	accept := ctx.Request.Header.Peek(fasthttp.HeaderAccept)
	format := l.Format(func(first, second string) bool { return request.Prefers(accept, first, second) })
	write := func() []byte { return l.Write(format, &shown) }
	if all {
		x.answerPage(ctx, format, page.Body(int(format), write))
		return
	}
	body := write()
	if err := x.bucket.Pages.Hold(len(body)); err != nil {
		x.failFolder(ctx, err)
		return
	}
	x.held = len(body)
	x.answerPage(ctx, format, body)
}

// continueBehind returns the key that the next page begins behind: that of the last of those that
// the client sees and a link can name. Empty: no link can name any.
//
// What the client may not see must not be named either. Where it sees nothing of a page, the next
// begins in the midst of it: behind as little of a name as makes sure that there is an end.
func continueBehind(entries []origin.Entry, seen []web.Entry) string {
	if len(seen) > 0 {
		return seen[len(seen)-1].Key
	}
	begin, end := entries[0].Key, entries[len(entries)-1].Key
	for i := range end {
		if part := end[:i]; part > begin && utf8.ValidString(part) {
			return part
		}
	}
	if !utf8.ValidString(end) {
		return ""
	}
	return end
}

// seer judges which entries of a page the client sees: those that it may read.
type seer struct {
	policy  *auth.Policy // nil: all
	request auth.Request // of the client
	nobody  bool         // the token is no good, whatever it is for
}

// newSeer returns a seer for the client of x.
func (x *Exchange) newSeer() *seer { return &seer{policy: x.bucket.Policy, request: x.access} }

// sees tells whether the client may read what has a key. A token is judged once: verifying it
// may take long.
func (s *seer) sees(key string) bool {
	if s.policy == nil {
		return true
	}
	s.request.Key = request.StringBytes(key)
	if s.policy.Public(s.request.Key) {
		return true
	}
	if s.nobody {
		return false
	}
	switch s.policy.Authorize(&s.request).Reason {
	case auth.Allowed:
		return true
	case auth.ClaimRefused, auth.PathClaimRefused:
		return false
	}
	s.nobody = true
	return false
}

// answerPage answers with a page that nobody changes any more.
func (x *Exchange) answerPage(ctx *fasthttp.RequestCtx, format web.Format, body []byte) {
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
		b = append(b, "Cache-Control: max-age=5\r\n"...)
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
	if len(body) <= max(MaxAtOnce, x.s.StreamBuffer) {
		ctx.Response.SetBodyRaw(body)
		x.Bytes = int64(len(body))
		if x.held > 0 { // until it is written
			x.handOver(ctx, time.Since(x.Start))
		}
		return
	}
	x.conn = ctx.Conn()
	x.segments = append(x.segments[:0], body)
	x.sending.Begin(x.conn, x.s.Origins.Pace, pool.Claim{})
	x.handOverStream(ctx, time.Since(x.Start), len(body))
}
