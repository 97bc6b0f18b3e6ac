package fill

import (
	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
)

// fromOthers lands the object that another gateway has stored for all, if it is fresh; nil: there is
// none. Of what is in memory already, it takes the freshness alone.
func (t *Task) fromOthers(f *cache.Flight, stale *cache.Object) *cache.Object {
	c := t.Cache
	known := stale != nil && stale.Status == fasthttp.StatusOK && stale.ETag != ""
	item, ok := c.shelf.Get(t.Key, known, tagsOf, c.Options.Now())
	if !ok || int64(len(item.Body)) > c.MaxObjectSize || item.Status != fasthttp.StatusOK && item.Status != fasthttp.StatusNotFound {
		return nil
	}
	o := t.newObject(item.Status, item.Freshness)
	setHead(o, item.Head)
	if now := c.Options.Now(); c.Cache.FreshnessAt(o, now).State(now) != cache.Fresh {
		return nil
	}
	if known {
		if o.Status != stale.Status || o.ETag != stale.ETag {
			return nil
		}
		renewed := stale.Clone()
		setHead(renewed, item.Head)
		renewed.Freshness = o.Freshness
		if !c.Cache.Replace(stale, renewed, f.Epoch()) && c.Cache.Peek(o.Key) == nil {
			t.keep(renewed, f) // it was evicted meanwhile
		}
		f.Land(renewed)
		return renewed
	}
	o.Body = item.Body
	t.keep(o, f)
	f.Land(o)
	return o
}
