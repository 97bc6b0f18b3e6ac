package fill

import (
	"bytes"
	"iter"
	"slices"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/request"
)

// The headers of an object that clients get, in the form in which fasthttp stores them; and
// x-amz-meta-* and x-amz-checksum-*.
var (
	headerETagSent     = []byte("ETag")
	HeaderContentType  = []byte(fasthttp.HeaderContentType)
	headerAcceptRanges = []byte("Accept-Ranges")
	headerBytes        = []byte("bytes")
	awsChunked         = []byte("aws-chunked")
	prefixMeta         = []byte("X-Amz-Meta-")
	prefixChecksum     = []byte("X-Amz-Checksum-")
	headerDate         = []byte("Date")
	headerCacheControl = []byte("Cache-Control")

	private    = []byte("private")
	privateAnd = []byte("private, ")
)

// assess returns the freshness of the response at hand, and whether it may be stored.
func (t *Task) assess(sent time.Time) (cache.Freshness, cache.Reason) {
	var r cache.Response
	h := &t.Fetch.Answer.Header
	r.Reset(h.StatusCode())
	for name, value := range h.All() {
		t.addField(&r, name, value)
	}
	return t.Cache.policy.Assess(&r, sent)
}

// addField adds a header to what a response says about its freshness, unless the bucket's cache
// ignores it. Names are as origins' heads have them.
func (t *Task) addField(r *cache.Response, name, value []byte) {
	switch string(name) {
	case "Cache-Control", "Pragma":
		if t.Cache.ignored.CacheControl {
			return
		}
	case "Expires":
		if t.Cache.ignored.Expires {
			return
		}
	}
	r.AddField(name, value)
}

// newObject returns an object of the task's key, without head and body.
func (t *Task) newObject(status int, freshness cache.Freshness) *cache.Object {
	return &cache.Object{Key: bytes.Clone(t.Key), Group: t.Cache.bucket.Name, Status: status, Freshness: freshness}
}

// takeHead gives o the head of the response at hand.
func (t *Task) takeHead(o *cache.Object) {
	t.Scratch = AppendObject(t.Scratch[:0], t.Fetch, true)
	setHead(o, t.Scratch)
}

// setHead gives o a copy of head, and sets from it what o says of it.
func setHead(o *cache.Object, head []byte) {
	o.Header = bytes.Clone(head)
	// The strings share the copy: a full cache holds very many of them.
	o.ETag = asString(LineValue(o.Header, headerETagSent))
	modified := LineValue(o.Header, []byte(fasthttp.HeaderLastModified))
	o.LastModified = asString(modified)
	o.Modified, _ = cache.ParseDate(modified)
	o.Tags = tagsOf(o.Header)
	o.Audience, _ = audienceOf(o.Header)
}

// tagsOf returns the tags that a stored head gives its object.
func tagsOf(head []byte) (tags []string) {
	for name, value := range Lines(head) {
		if string(name) == "X-Amz-Meta-Surrogate-Key" || string(name) == "X-Amz-Meta-Cache-Tag" {
			for tag := range bytes.FieldsFuncSeq(value, func(r rune) bool { return r == ' ' || r == ',' }) {
				tags = append(tags, string(tag))
			}
		}
	}
	return tags
}

// AppendObject appends the lines of f's answer that are about the object. With whole, it leaves
// out those about a part of it, or about this response alone. dst has none of them yet.
func AppendObject(dst []byte, f *origin.Fetch, whole bool) []byte {
	typed := f.Bucket.Types != nil
	ofPart := f.Answer.Header.StatusCode() == fasthttp.StatusPartialContent && !f.Part()
	lines := objectLines{text: dst}
	for name, value := range f.Answer.Header.All() {
		bit, about := objectHeader(name)
		if !about || ofPart && describesWhole(name) {
			continue
		}
		switch string(name) {
		case "Etag":
			name = headerETagSent
		case "Content-Range", "Age":
			if whole {
				continue
			}
		case "Content-Type":
			if typed {
				value = f.ContentType()
			}
		case "Content-Encoding":
			value = withoutAWSChunked(value)
		}
		lines.add(bit, name, value)
	}
	if typed && lines.has&bitContentType == 0 {
		lines.add(bitContentType, HeaderContentType, f.ContentType())
	}
	lines.add(bitAcceptRanges, headerAcceptRanges, headerBytes)
	return lines.dated()
}

// AppendLine appends a line of a head.
func AppendLine(dst, name, value []byte) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), "\r\n"...)
}

// Lines yields the lines of a stored head, as AppendLine has made them.
func Lines(head []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for len(head) > 0 {
			end, colon := bytes.IndexByte(head, '\n')+1, bytes.IndexByte(head, ':')
			if !yield(head[:colon], head[colon+len(": "):end-len("\r\n")]) {
				return
			}
			head = head[end:]
		}
	}
}

// LineValue returns the value of the first line of a name in a stored head; nil if there is
// none.
func LineValue(head, name []byte) []byte {
	for len(head) > 0 {
		end := bytes.IndexByte(head, '\n') + 1
		if end > len(name) && head[len(name)] == ':' && bytes.HasPrefix(head, name) {
			return head[len(name)+len(": ") : end-len("\r\n")]
		}
		head = head[end:]
	}
	return nil
}

// HasLine tells whether a stored head has a line of a name.
func HasLine(head, name []byte) bool { return LineValue(head, name) != nil }

// AppendPartHead appends the lines of a stored head that an answer with a part has. With several
// parts, Content-Type is in the head of each.
func AppendPartHead(dst, head []byte, several bool) []byte {
	for name, value := range Lines(head) {
		if !describesWhole(name) && !(several && bytes.Equal(name, HeaderContentType)) {
			dst = AppendLine(dst, name, value)
		}
	}
	return dst
}

// updated returns a copy of stale, updated by the 304 at hand (RFC 9111, 4.3.4), and whether it
// may be stored.
func (t *Task) updated(stale *cache.Object, sent time.Time) (*cache.Object, cache.Reason) {
	o := stale.Clone()
	h := &t.Fetch.Answer.Header
	lines := objectLines{text: t.Scratch[:0]}
	for name, value := range Lines(stale.Header) {
		if string(name) != "Date" && (!updates(name) || len(h.PeekBytes(name)) == 0) { // the Date is the 304's
			bit, _ := objectHeader(name)
			lines.has |= bit // also where the second line that the 304 has of it says something
			lines.text = AppendLine(lines.text, name, value)
		}
	}
	for name, value := range h.All() {
		if updates(name) {
			bit, _ := objectHeader(name)
			lines.add(bit, name, value)
		}
	}
	t.Scratch = lines.dated()
	setHead(o, t.Scratch)

	var r cache.Response
	r.Reset(fasthttp.StatusOK)
	for name, value := range Lines(o.Header) {
		if string(name) != "Date" { // which may be ours
			t.addField(&r, name, value)
		}
	}
	for name, value := range h.All() {
		switch string(name) {
		case "Date", "Age", "Vary", "Set-Cookie": // the 304's alone count
			r.AddField(name, value)
		}
	}
	f, reason := t.Cache.policy.Assess(&r, sent)
	if reason != cache.Storable {
		age, _ := request.ParseDigits(h.Peek(fasthttp.HeaderAge))
		f = cache.Freshness{Sent: sent, Received: time.Duration(min(age, cache.MaxSeconds)) * time.Second, NeverStale: true}
	}
	o.Freshness = f
	return o, reason
}

// updates tells whether a header of a 304 replaces the stored one. A header that describes the
// body does not: some origins get it wrong in a 304.
func updates(name []byte) bool {
	switch string(name) {
	case "Cache-Control", "Expires", "Date", "Last-Modified", "Content-Language", "Content-Disposition", "X-Amz-Version-Id", "X-Amz-Website-Redirect-Location":
		return true
	}
	return bytes.HasPrefix(name, prefixMeta)
}

// InObjects tells whether a header of the origin's answer is about the object. The others are
// about the origin: its Vary, HSTS, rate limits and ids are not ours to repeat. Content-Length
// is set with the body.
func InObjects(name []byte) bool {
	_, about := objectHeader(name)
	return about
}

// Bits of the headers that an answer has in any case.
const (
	bitContentType = 1 << iota
	bitDate
	bitAcceptRanges
	bitOther // the first that is free
)

// objectHeader is InObjects, and returns the bit of a header that has one of its own, by which
// objectLines know it again; 0: of those that begin alike.
func objectHeader(name []byte) (bit uint32, about bool) {
	switch string(name) {
	case "Content-Type":
		return bitContentType, true
	case "Date":
		return bitDate, true
	case "Accept-Ranges":
		return bitAcceptRanges, true
	case "Etag":
		return bitOther, true
	case "Last-Modified":
		return bitOther << 1, true
	case "Cache-Control":
		return bitOther << 2, true
	case "Expires":
		return bitOther << 3, true
	case "Age":
		return bitOther << 4, true
	case "Content-Encoding":
		return bitOther << 5, true
	case "Content-Language":
		return bitOther << 6, true
	case "Content-Disposition":
		return bitOther << 7, true
	case "Content-Range":
		return bitOther << 8, true
	case "X-Amz-Version-Id":
		return bitOther << 9, true
	case "X-Amz-Website-Redirect-Location":
		return bitOther << 10, true
	case "X-Amz-Mp-Parts-Count":
		return bitOther << 11, true
	}
	return 0, bytes.HasPrefix(name, prefixMeta) || describesWhole(name)
}

// describesWhole tells whether a header is about all bytes of an object. An SDK refuses a part
// that comes with such a header.
func describesWhole(name []byte) bool { return bytes.HasPrefix(name, prefixChecksum) }

// NotModifiedHead returns the lines of head that a 304 has (RFC 9110 section 15.4.5). It
// overwrites head.
func NotModifiedHead(head []byte) []byte {
	kept := head[:0]
	for name, value := range Lines(head) {
		switch string(name) {
		case "ETag", "Last-Modified", "Cache-Control", "Expires", "Date":
			kept = AppendLine(kept, name, value)
		}
	}
	return kept
}

// AppendPrivate says in a head that shared caches must not keep the answer, unless the object
// settles that itself. The word goes before the object's own, where no quote can hide it. known is
// what the head says of that; nil: it is to be read.
func AppendPrivate(head []byte, known *cache.Audience) []byte {
	var says cache.Audience
	first := 0
	if known != nil && (known.Settled() || !known.Given) {
		says = *known
	} else {
		says, first = audienceOf(head)
	}
	switch {
	case says.Settled():
		return head
	case !says.Given:
		return AppendLine(head, headerCacheControl, private)
	}
	return slices.Insert(head, first, privateAnd...)
}

// audienceOf returns what a head says of who may keep the answer, and where its first value of
// Cache-Control begins.
func audienceOf(head []byte) (says cache.Audience, first int) {
	for rest := head; ; {
		value := LineValue(rest, headerCacheControl)
		if value == nil {
			return says, first
		}
		at := cap(head) - cap(value)
		if !says.Given {
			first = at
		}
		says.Add(value)
		rest = head[at+len(value):]
	}
}

// withoutAWSChunked drops aws-chunked from a Content-Encoding. It is the framing
// of an upload, see "Signature calculations for the authorization header:
// transferring payload in multiple chunks" in the Amazon S3 API Reference; some
// servers store it with the object, which no client could then decode.
func withoutAWSChunked(v []byte) []byte {
	if len(v) < len(awsChunked) || !bytes.Contains(bytes.ToLower(v), awsChunked) {
		return v
	}
	var kept [][]byte
	for coding := range bytes.SplitSeq(v, []byte(",")) {
		if coding = bytes.Trim(coding, " \t"); len(coding) > 0 && !bytes.EqualFold(coding, awsChunked) {
			kept = append(kept, coding)
		}
	}
	return bytes.Join(kept, []byte(", "))
}

// objectLines are the lines of an object's head while they are put together.
type objectLines struct {
	text []byte
	has  uint32 // bits of the headers that are in it, see objectHeader
}

// add appends a line, unless it says nothing: only S3's own metadata may be empty, and a Date
// must be one. A list may come in several lines, of which none must get lost; of any other
// header the first line counts, by which the gateway decides, too. With two lines of what an
// object is, none gets here: pool refuses them.
func (l *objectLines) add(bit uint32, name, value []byte) {
	if len(value) == 0 && !bytes.HasPrefix(name, prefixMeta) {
		return
	}
	switch string(name) {
	case "Cache-Control", "Content-Language":
		l.text = AppendLine(l.text, name, value)
		return
	case "Date":
		if _, ok := cache.ParseDate(value); !ok {
			return
		}
	}
	if l.has&bit != 0 || bit == 0 && HasLine(l.text, name) {
		return
	}
	l.has |= bit
	l.text = AppendLine(l.text, name, value)
}

// dated returns the lines with a Date, see WithDate.
func (l *objectLines) dated() []byte {
	if l.has&bitDate != 0 {
		return l.text
	}
	return appendDateNow(l.text)
}

// WithDate returns the head of an answer that was just received with a Date: its own, else
// the time now (RFC 9110 section 6.6.1).
func WithDate(head []byte) []byte {
	if HasLine(head, headerDate) {
		return head
	}
	return appendDateNow(head)
}

func appendDateNow(head []byte) []byte {
	return append(cache.AppendDate(append(head, "Date: "...), time.Now().Unix()), "\r\n"...)
}

// asString returns b, which must not change any more, as a string.
func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
