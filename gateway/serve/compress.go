package serve

import (
	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/coding"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/request"
)

// negotiate returns the form of a stored body that the client wants most; nil: as it is stored. A
// part is cut from the body as it is stored, unless the client does not take that. f is the
// flight by which the body still arrives; nil: it is there.
func (x *Exchange) negotiate(h *fasthttp.RequestHeader, o *cache.Object, f *cache.Flight, kind request.RangeKind) []byte {
	z := x.bucket.Compressed
	if x.varies = z.Covers(o.Header); !x.varies || f != nil {
		return nil
	}
	if x.conditional && len(h.Peek(fasthttp.HeaderIfMatch)) > 0 {
		return nil // which only the tag of the body as it is can meet
	}
	accepted := coding.Accept(h.PeekAll(fasthttp.HeaderAcceptEncoding))
	best := accepted.Best(z.Codings)
	if best == coding.Identity || kind != request.RangeNone && accepted.Identity {
		return nil
	}
	if x.CacheOutcome != observe.Hit && x.bucket.Cached.Cache.Peek(o.Key) != o {
		return nil // it is not stored: nobody else would get the form
	}
	form := z.Form(o, best)
	if form != nil {
		x.coding = best
	}
	return form
}
