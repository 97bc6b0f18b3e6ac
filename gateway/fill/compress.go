package fill

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
	"yatagarasu/gateway/coding"
	"yatagarasu/gateway/config/site"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/request"
)

// Compressor compresses objects in the background, for all buckets. Safe for concurrent use. Get
// one by NewCompressor.
type Compressor struct {
	background *origin.Background
	turns      chan struct{} // one for each object that is compressed
	fetches    atomic.Int32  // of siblings under way
}

// maxSiblings is the number of siblings that are fetched at once.
const maxSiblings = 4

// NewCompressor returns a compressor of at most so many objects at once.
func NewCompressor(background *origin.Background, most int) *Compressor {
	return &Compressor{background: background, turns: make(chan struct{}, most)}
}

// Compression is what a bucket compresses. Get one by NewCompression; it never changes, and is
// safe for concurrent use.
type Compression struct {
	Codings    []coding.Coding // the preferred ones first
	types      *coding.Types
	minSize    int
	siblings   []coding.Coding // of which the bucket may have a form beside the object
	stored     *Cache
	compressor *Compressor
}

// NewCompression returns what c says to compress of the objects in a cache; nil: nothing.
func NewCompression(c *site.Compress, stored *Cache, compressor *Compressor) *Compression {
	if !c.Enabled || stored == nil {
		return nil
	}
	z := &Compression{types: coding.NewTypes(c.Types), minSize: int(c.MinSize), stored: stored, compressor: compressor}
	z.Codings, z.siblings = codings(c.Encodings), codings(c.Precompressed)
	return z
}

// codings returns those of names in the configuration.
func codings(names []string) (list []coding.Coding) {
	for _, name := range names {
		one, ok := coding.Parse(name)
		if !ok {
			panic("BUG: the configuration has the encoding " + name)
		}
		list = append(list, one)
	}
	return list
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
	covered := false
	for name, value := range Lines(head) {
		switch string(name) {
		case "Content-Type":
			covered = z.types.Has(value)
		case "Content-Encoding":
			return false
		case "Cache-Control":
			if containsFold(value, "no-transform") { // RFC 9111, 5.2.2.6
				return false
			}
		}
	}
	return covered
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
	if len(o.Body) >= z.minSize && !o.FormBegun(c.Form()) && z.stored.Cache.AdmitsForm(o, int64(len(o.Body))/3) {
		z.make(o, c)
	}
	return nil
}

// make has a form made in the background, unless too many others are.
func (z *Compression) make(o *cache.Object, c coding.Coding) {
	m := z.compressor
	if slices.Contains(z.siblings, c) {
		if m.fetches.Add(1) > maxSiblings || !o.BeginForm(c.Form()) {
			m.fetches.Add(-1)
			return
		}
		m.background.Run(func() { // ends with the form
			form := z.sibling(o, c)
			if form == nil {
				m.turns <- struct{}{} // who waits has been among few
				defer func() { <-m.turns }()
				form = coding.Encode(c, o.Body)
			}
			z.keep(o, c, form)
		})
		return
	}
	select {
	case m.turns <- struct{}{}:
	default:
		return
	}
	if !o.BeginForm(c.Form()) {
		<-m.turns
		return
	}
	m.background.Run(func() { // ends with the form
		defer func() { <-m.turns }()
		z.keep(o, c, coding.Encode(c, o.Body))
	})
}

// keep keeps a form with its object; nil: there is none.
func (z *Compression) keep(o *cache.Object, c coding.Coding, form []byte) {
	if form != nil {
		z.stored.Cache.AddForm(o, c.Form(), form)
	}
}

// sibling fetches, as one of maxSiblings, the object that has o's body in a coding, under o's key with that coding's
// extension; nil if there is none. One that is anything else, such as the form of an earlier
// version, is none.
func (z *Compression) sibling(o *cache.Object, c coding.Coding) []byte {
	defer z.compressor.fetches.Add(-1)
	name := o.Name()
	if !bytes.Equal(o.Key, z.stored.AppendKey(nil, name, nil)) {
		return nil // a version of its own
	}
	f := z.stored.bucket.NewFetch(nil, append(bytes.Clone(name), coding.Extensions[c]...), nil, nil, nil)
	defer f.Release()
	if f.Send(request.Plan{}, false) != nil || f.Answer.Header.StatusCode() != fasthttp.StatusOK {
		return nil
	}
	size := f.Answer.Length()
	if size <= 0 || size >= int64(len(o.Body)) {
		return nil
	}
	form := make([]byte, size)
	if f.Answer.FitsBuffer() {
		body, err := f.Answer.Body()
		if err != nil || copy(form, body) < len(form) {
			return nil
		}
	} else if f.Answer.Await() != nil || f.Fill(form, func(int) {}) != nil {
		return nil
	}
	if !coding.Decodes(c, form, o.Body) {
		return nil
	}
	return form
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
