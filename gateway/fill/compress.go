package fill

import (
	"bytes"
	"strings"
	"sync/atomic"

	"yatagarasu/cache"
	"yatagarasu/gateway/coding"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/origin"
)

// Compressor compresses objects in the background, for all buckets. The fields are set before
// the first request. Safe for concurrent use.
type Compressor struct {
	Background *origin.Background
	Most       int32 // objects that are compressed at once
	running    atomic.Int32
}

// Compression is what a bucket compresses. Get one by NewCompression; it never changes, and is
// safe for concurrent use.
type Compression struct {
	Codings    []coding.Coding // the preferred ones first
	types      *coding.Types
	minSize    int
	cache      *cache.Cache
	compressor *Compressor
}

// NewCompression returns what c says to compress of the objects in a cache; nil: nothing.
func NewCompression(c *config.Compress, stored *Cache, compressor *Compressor) *Compression {
	if !c.Enabled || stored == nil {
		return nil
	}
	z := &Compression{types: coding.NewTypes(c.Types), minSize: int(c.MinSize), cache: stored.Cache, compressor: compressor}
	for _, name := range c.Encodings {
		one, ok := coding.Parse(name)
		if !ok {
			panic("BUG: the configuration has the encoding " + name)
		}
		z.Codings = append(z.Codings, one)
	}
	return z
}

// Explain says what comes of an object of a type, which is nil where the origin says it.
func (z *Compression) Explain(kind []byte) string {
	if kind != nil && !z.types.Has(kind) {
		return "none: compress.types has no " + string(kind)
	}
	var names []string
	for _, c := range z.Codings {
		names = append(names, coding.Names[c])
	}
	text := strings.Join(names, ", ") + ", once it is in memory"
	if kind == nil {
		text += ", if its type is in compress.types"
	}
	return text
}

// Covers tells whether an object with a head may be sent in several codings, so that answers
// depend on what the client accepts.
//
// Hot path: zero allocations, guarded by TestHitAllocs.
func (z *Compression) Covers(head []byte) bool {
	return z.types.Has(LineValue(head, HeaderContentType)) && !HasLine(head, headerContentEncoding) && !mustStay(head)
}

// mustStay tells whether a head has no-transform (RFC 9111, 5.2.2.6).
func mustStay(head []byte) bool {
	for len(head) > 0 {
		end := bytes.IndexByte(head, '\n') + 1
		if value := LineValue(head[:end], headerCacheControl); value != nil && containsFold(value, "no-transform") {
			return true
		}
		head = head[end:]
	}
	return false
}

// containsFold tells whether b contains a word, given in lower case, in any case.
func containsFold(b []byte, word string) bool {
	for ; len(b) >= len(word); b = b[1:] {
		i := 0
		for i < len(word) && b[i]|0x20 == word[i]|0x20 {
			i++
		}
		if i == len(word) {
			return true
		}
	}
	return false
}

// Form returns o's body in a coding; nil if there is none. The first who wants one, once o is
// stored, has it made for those who come later, unless too many others are being made.
//
// Hot path: zero allocations for a form that is there, guarded by TestHitAllocs.
func (z *Compression) Form(o *cache.Object, c coding.Coding) []byte {
	if form := o.Form(c.Form()); form != nil {
		return form
	}
	if len(o.Body) < z.minSize || o.FormBegun(c.Form()) || !z.cache.AdmitsForm(o, int64(len(o.Body))/3) {
		return nil
	}
	if z.compressor.running.Add(1) > z.compressor.Most || !o.BeginForm(c.Form()) {
		z.compressor.running.Add(-1)
		return nil
	}
	z.compressor.Background.Run(func() { // ends with the form
		defer z.compressor.running.Add(-1)
		if form := coding.Encode(c, o.Body); form != nil {
			z.cache.AddForm(o, c.Form(), form)
		}
	})
	return nil
}

// AppendCodedHead appends the lines of a stored head that an answer with a form of the body in a
// coding has. Its tag is the object's, made weak (RFC 9110, 8.8.1): the bytes differ.
func AppendCodedHead(dst, head []byte, c coding.Coding) []byte {
	for name, value := range Lines(head) {
		switch {
		case describesWhole(name), bytes.Equal(name, headerAcceptRanges):
			continue
		case bytes.Equal(name, headerETagSent):
			dst = append(append(dst, "ETag: "...), weakPrefix(value)...)
			dst = append(append(dst, value...), "\r\n"...)
			continue
		}
		dst = AppendLine(dst, name, value)
	}
	return append(append(append(dst, "Content-Encoding: "...), coding.Names[c]...), "\r\n"...)
}

// AppendWeak appends a tag, made weak. No tag stays none.
func AppendWeak(dst []byte, tag string) []byte {
	if tag == "" {
		return dst
	}
	return append(append(dst, weakPrefix([]byte(tag))...), tag...)
}

// weakPrefix returns what a tag lacks to be weak.
func weakPrefix(tag []byte) string {
	if bytes.HasPrefix(tag, weak) {
		return ""
	}
	return "W/"
}
