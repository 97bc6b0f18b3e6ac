package serve

import (
	"iter"
	"time"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/listing"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/route"
	"yatagarasu/gateway/web"
)

// Generation is one configuration, compiled for requests. It never changes, so it is safe for
// concurrent use; a request uses one generation from start to end. Package generation makes it, and
// ends it.
type Generation struct {
	Number  int64 // from 1
	Loaded  time.Time
	Config  *config.Config // the file's, with flags and fixed settings applied
	Table   *route.Table[Bucket]
	Buckets []*Bucket
	ByName  map[string]*Bucket
	Budgets fill.Budgets
	Trusted request.TrustedProxies
	HTTPS   bool         // some clients may have to come again by https
	Limits  *limit.Scope // of all buckets

	Verifiers map[*access.JWT]*auth.Verifier // one for each jwt block in use
	Guard     *auth.Guard                    // of all private buckets
}

// Bucket is a mounted bucket. It does not change, and is safe for concurrent use.
type Bucket struct {
	Name        string
	Prefix      string
	Origin      *origin.Bucket
	Keys        request.Keys
	AllowQuery  []string
	Policy      *auth.Policy      // nil: public
	Cached      *fill.Cache       // nil: nothing is kept
	Site        *web.Site         // nil: it adds nothing to its answers
	Website     *web.Website      // of Site; nil: objects alone are served
	Maintenance *web.Maintenance  // of Site; nil: it is served
	Compressed  *fill.Compression // nil: nothing is
	Pages       *listing.Pages    // of folders; nil: they have no listings
	Limits      *limit.Scope
	Metrics     *observe.BucketMetrics
}

// Origins yields the origins of all buckets.
func (gen *Generation) Origins() iter.Seq[*origin.Bucket] {
	return func(yield func(*origin.Bucket) bool) {
		for _, b := range gen.Buckets {
			if !yield(b.Origin) {
				return
			}
		}
	}
}
