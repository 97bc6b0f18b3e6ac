package gateway

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
)

// newObject returns the object of the response at hand, without a body, and whether
// it may be stored.
func (x *exchange) newObject(sent time.Time) (*cache.Object, cache.Reason) {
	var r cache.Response
	h := &x.up.Header
	r.Reset(h.StatusCode())
	for name, value := range h.All() {
		r.AddField(name, value)
	}
	o := &cache.Object{Key: bytes.Clone(x.cacheKey), Group: x.bucket.name, Status: h.StatusCode()}
	var reason cache.Reason
	o.Freshness, reason = x.bucket.cached.policy.Assess(&r, sent)
	x.scratch = x.appendObject(x.scratch[:0], true)
	setHead(o, x.scratch)
	return o, reason
}

// setHead makes a copy of head the stored head of o, and sets what of o it says.
func setHead(o *cache.Object, head []byte) {
	o.Header = bytes.Clone(head)
	// One allocation for all, of which a full cache holds very many.
	o.ETag = bytesString(storedValue(o.Header, headerETagSent))
	modified := storedValue(o.Header, []byte(fasthttp.HeaderLastModified))
	o.LastModified = bytesString(modified)
	o.Modified, _ = cache.ParseDate(modified)
	o.Tags = tagsOf(o.Header)
}

// storedValue returns the value of the first line of that name in a stored head; nil
// where it has none.
func storedValue(head, name []byte) (value []byte) {
	storedLines(head, func(n, v []byte) bool {
		if !bytes.Equal(n, name) {
			return true
		}
		value = v
		return false
	})
	return value
}

// tagsOf returns the tags that a stored head gives its object.
func tagsOf(head []byte) (tags []string) {
	storedLines(head, func(name, value []byte) bool {
		if string(name) == "X-Amz-Meta-Surrogate-Key" || string(name) == "X-Amz-Meta-Cache-Tag" {
			for _, tag := range bytes.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == ',' }) {
				tags = append(tags, string(tag))
			}
		}
		return true
	})
	return tags
}

// appendObject appends the lines of the response's head that tell about the object, those
// of a part and of this response among them if whole is false.
func (x *exchange) appendObject(dst []byte, whole bool) []byte {
	ofPart := x.up.Header.StatusCode() == fasthttp.StatusPartialContent && !x.part()
	for name, value := range x.up.Header.All() {
		if !passes(name) || ofPart && describesWhole(name) {
			continue
		}
		switch string(name) {
		case "Etag":
			name = headerETagSent
		case "Content-Range", "Age":
			if whole {
				continue
			}
		case "Content-Encoding":
			value = withoutAWSChunked(value)
		}
		dst = appendObjectLine(dst, name, value)
	}
	if !hasStored(dst, headerAcceptRanges) {
		dst = appendLineTo(dst, headerAcceptRanges, headerBytes)
	}
	return withDate(dst)
}

func appendLineTo(dst, name, value []byte) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), "\r\n"...)
}

// storedLines iterates over the lines of a stored head.
func storedLines(head []byte, yield func(name, value []byte) bool) {
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(": "))
		if !yield(name, value) {
			return
		}
	}
}

// hasStored tells whether a stored head has a line of that name.
func hasStored(head, name []byte) bool {
	for len(head) > 0 {
		end := bytes.IndexByte(head, '\n') + 1
		if end > len(name) && head[len(name)] == ':' && bytes.HasPrefix(head, name) {
			return true
		}
		head = head[end:]
	}
	return false
}

// appendPartHead appends a stored head without what parts of the object do not have. Of
// several, each has the Content-Type itself.
func appendPartHead(dst, head []byte, several bool) []byte {
	for len(head) > 0 {
		end := bytes.IndexByte(head, '\n') + 1
		line := head[:end]
		head = head[end:]
		name := line[:bytes.IndexByte(line, ':')]
		if describesWhole(name) || several && bytes.Equal(name, headerContentType) {
			continue
		}
		dst = append(dst, line...)
	}
	return dst
}

// updated returns stale as the 304 at hand updates it (RFC 9111, 4.3.4), and whether
// it may stay stored.
func (x *exchange) updated(stale *cache.Object, sent time.Time) (*cache.Object, cache.Reason) {
	o := stale.Clone()
	h := &x.up.Header
	x.scratch = x.scratch[:0]
	storedLines(stale.Header, func(name, value []byte) bool {
		if string(name) != "Date" && (!updates(name) || len(h.PeekBytes(name)) == 0) { // whose Date is the 304's
			x.scratch = appendLineTo(x.scratch, name, value)
		}
		return true
	})
	for name, value := range h.All() {
		if updates(name) {
			x.scratch = appendObjectLine(x.scratch, name, value)
		}
	}
	x.scratch = withDate(x.scratch)
	setHead(o, x.scratch)

	var r cache.Response
	r.Reset(fasthttp.StatusOK)
	storedLines(o.Header, func(name, value []byte) bool {
		if string(name) != "Date" { // which may be ours
			r.AddField(name, value)
		}
		return true
	})
	for name, value := range h.All() {
		switch string(name) {
		case "Date", "Age", "Vary", "Set-Cookie": // of which only this one's count
			r.AddField(name, value)
		}
	}
	f, reason := x.bucket.cached.policy.Assess(&r, sent)
	if reason != cache.Storable {
		age, _ := parseDigits(h.Peek(fasthttp.HeaderAge))
		f = cache.Freshness{Sent: sent, Received: time.Duration(min(age, cache.MaxSeconds)) * time.Second, NeverStale: true}
	}
	o.Freshness = f
	return o, reason
}

// updates tells whether a 304's field replaces the stored one. Those that describe
// the body do not: some origins get them wrong there.
func updates(name []byte) bool {
	switch string(name) {
	case "Cache-Control", "Expires", "Date", "Last-Modified", "Content-Language", "Content-Disposition", "X-Amz-Version-Id", "X-Amz-Website-Redirect-Location":
		return true
	}
	return bytes.HasPrefix(name, prefixMeta)
}
