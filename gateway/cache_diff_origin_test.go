package gateway

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// diffVersion is one version of an object, or the lack of one.
type diffVersion struct {
	name string
	gone bool
	body []byte
	head http.Header // as the origin sends it with a 200, or with the 404
}

func (v *diffVersion) etag() string        { return v.head.Get("Etag") }
func (v *diffVersion) modified() time.Time { return dateOf(v.head.Get("Last-Modified")) }

// dateOf returns the zero time for what is no date.
func dateOf(s string) time.Time {
	t, err := http.ParseTime(s)
	if err != nil {
		return time.Time{}
	}
	return t
}

func unweak(tag string) string { return strings.TrimPrefix(tag, "W/") }

// diffQuirks are ways in which real origins differ.
type diffQuirks struct {
	noConditions bool // preconditions are ignored
	noRanges     bool // so is Range
	bare304      bool // a 304 has no fields
	full304      bool // a 304 has all fields, those of the body wrong
	noSize       bool // the document of a 416 does not tell the size
	noDate       bool
}

// diffOrigin is an origin whose objects, faults and clock the test changes.
type diffOrigin struct {
	quirks diffQuirks
	clock  *clock
	base   time.Time

	mu      sync.Mutex // guards the following fields
	objects map[string]*diffVersion
	fault   string        // "503", "500", "403", "abort", "cut"; empty: none
	delay   time.Duration // what an answer takes
	asked   []*http.Request
}

func (o *diffOrigin) now() time.Time { return o.base.Add(time.Duration(o.clock.offset.Load())) }

// take returns the requests since the last call.
func (o *diffOrigin) take() []*http.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	asked := o.asked
	o.asked = nil
	return asked
}

func (o *diffOrigin) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

// ServeHTTP implements http.Handler.
func (o *diffOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked = append(o.asked, r.Clone(context.Background()))
	h, date := w.Header(), o.now()
	o.clock.advance(o.delay)
	fault, v := o.fault, o.objects[strings.TrimPrefix(r.URL.Path, "/")]
	o.mu.Unlock()

	h["Date"] = nil // no field
	if !o.quirks.noDate {
		h.Set("Date", date.UTC().Format(http.TimeFormat))
	}
	switch fault {
	case "503":
		s3Answer(503, "SlowDown")(w, r)
		return
	case "500":
		s3Answer(500, "InternalError")(w, r)
		return
	case "403":
		s3Answer(403, "AccessDenied")(w, r)
		return
	case "abort":
		panic(http.ErrAbortHandler)
	}
	status, head, body := o.answer(v, r)
	maps.Copy(h, head)
	if status != 304 {
		h.Set("Content-Length", fmt.Sprint(len(body)))
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead || status == 304 {
		return
	}
	if fault == "cut" && status < 300 && len(body) > 0 {
		w.Write(body[:len(body)/2])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	w.Write(body)
}

// answer is what the origin says of v: of several preconditions it would heed each.
func (o *diffOrigin) answer(v *diffVersion, r *http.Request) (status int, head http.Header, body []byte) {
	if v.gone {
		return 404, v.head, []byte("<Error><Code>NoSuchKey</Code></Error>")
	}
	if !o.quirks.noConditions {
		if tag := r.Header.Get("If-Match"); tag != "" && (tag != v.etag() || tag != unweak(tag)) {
			return 412, nil, []byte("<Error><Code>PreconditionFailed</Code></Error>")
		}
		if o.unchanged(v, r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since")) {
			return 304, o.head304(v), nil
		}
	}
	head = v.head.Clone()
	rng := r.Header.Get("Range")
	if rng == "" || r.Method == http.MethodHead || o.quirks.noRanges {
		return 200, head, v.body
	}
	size, first, last := len(v.body), 0, 0
	if suffix, ok := strings.CutPrefix(rng, "bytes=-"); ok {
		fmt.Sscan(suffix, &last)
		first, last = max(size-last, 0), size-1
	} else if n, _ := fmt.Sscanf(rng, "bytes=%d-%d", &first, &last); n < 2 || last >= size {
		last = size - 1
	}
	if first >= size {
		doc := "<Error><Code>InvalidRange</Code></Error>"
		if !o.quirks.noSize {
			doc = fmt.Sprintf("<Error><Code>InvalidRange</Code><ActualObjectSize>%d</ActualObjectSize></Error>", size)
		}
		return 416, nil, []byte(doc)
	}
	head.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size))
	return 206, head, v.body[first : last+1]
}

// unchanged tells whether v is answered by 304 to a request with these validators.
func (o *diffOrigin) unchanged(v *diffVersion, tag, since string) bool {
	if tag != "" {
		return unweak(tag) == unweak(v.etag()) && v.etag() != ""
	}
	return since != "" && !v.modified().IsZero() && !v.modified().After(dateOf(since))
}

// head304 returns the fields of a 304 for v.
func (o *diffOrigin) head304(v *diffVersion) http.Header {
	if o.quirks.bare304 {
		return nil
	}
	h := v.head.Clone()
	for name := range h {
		if strings.HasPrefix(name, "Content-") {
			h.Del(name)
		}
	}
	if o.quirks.full304 {
		h.Set("Content-Type", "application/xml")
		h.Set("Content-Encoding", "br")
		for _, name := range []string{"Content-Language", "Content-Disposition"} {
			if v.head[name] != nil {
				h[name] = v.head[name]
			}
		}
	}
	return h
}

// diffMaker makes up versions.
type diffMaker struct {
	r      *rand.Rand
	base   time.Time // from which Expires counts
	tagged bool      // every version has an entity tag
	made   int
}

// The sizes that matter.
const (
	diffBuffer    = 16 << 10 // -stream.buffer-size, the least
	diffMaxObject = 40 << 10
)

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// version makes a new version of an object.
func (d *diffMaker) version() *diffVersion {
	d.made++
	r := d.r
	v := &diffVersion{name: fmt.Sprintf("v%d", d.made), head: http.Header{}}
	v.body = make([]byte, pick(r, 0, 1, 10, 300, 2000, 2000, 5000, diffBuffer, diffBuffer+1, 30_000, diffMaxObject, diffMaxObject+1, 60_000))
	for i := range v.body {
		v.body[i] = byte(r.Uint32())
	}
	d.describe(v)
	h := v.head
	h.Set("Content-Type", pick(r, "text/plain", "application/x-test", "text/html; charset=utf-8"))
	d.fill(h,
		diffField{"Content-Encoding", []string{"", "", "gzip", "br", "aws-chunked", "gzip, aws-chunked"}},
		diffField{"X-Amz-Checksum-Sha1", []string{"", v.name + "="}},
		diffField{"X-Amz-Storage-Class", []string{"", "STANDARD_IA"}})
	tag := pick(r, `"`+v.name+`"`, `"`+v.name+`"`, `"`+v.name+`,x"`, `W/"`+v.name+`"`, "")
	if tag == "" && d.tagged {
		tag = `"` + v.name + `"`
	}
	d.fill(h, diffField{"Etag", []string{tag}})
	d.date(v)
	return v
}

// diffField is a field and the values that it may have; empty: it stays absent.
type diffField struct {
	name   string
	values []string
}

func (d *diffMaker) fill(h http.Header, fields ...diffField) {
	for _, f := range fields {
		if v := pick(d.r, f.values...); v != "" {
			h.Set(f.name, v)
		}
	}
}

// date gives v a Last-Modified. Where nothing else tells versions apart, each is newer
// than those before; else many have the same.
func (d *diffMaker) date(v *diffVersion) {
	at := time.Date(2026, 1, 2, 3, 4, d.r.IntN(5), 0, time.UTC)
	if v.etag() == "" {
		at = time.Date(2026, 2, 3, 4, 5, d.made, 0, time.UTC)
	}
	if d.r.IntN(10) > 0 {
		v.head.Set("Last-Modified", at.Format(http.TimeFormat))
	}
}

// describe gives v fields that do not depend on its body.
func (d *diffMaker) describe(v *diffVersion) {
	r, h := d.r, v.head
	seconds := func() int { return pick(r, 0, 5, 20, 20, 100, 1000) }
	var control []string
	for _, c := range []struct {
		in   int
		text string
	}{
		{2, fmt.Sprintf("max-age=%d", seconds())}, {8, fmt.Sprintf("s-maxage=%d", seconds())}, {40, "Max-Age=soon"},
		{6, fmt.Sprintf("stale-while-revalidate=%d", seconds())}, {6, fmt.Sprintf(`stale-if-error="%d"`, seconds())},
		{25, "no-store"}, {25, "private"}, {60, `private="X-Name"`}, {14, "no-cache"}, {14, "must-revalidate"}, {25, "proxy-revalidate"}, {8, "public"}, {8, "Immutable"}, {20, "x-unknown=1"},
	} {
		if r.IntN(c.in) == 0 {
			control = append(control, c.text)
		}
	}
	r.Shuffle(len(control), func(i, j int) { control[i], control[j] = control[j], control[i] })
	if n := len(control); n > 1 && r.IntN(3) == 0 {
		h["Cache-Control"] = []string{control[0], strings.Join(control[1:], ",")}
	} else if n > 0 {
		h.Set("Cache-Control", strings.Join(control, ", "))
	}
	d.fill(h,
		diffField{"Expires", []string{"", "", "", "", "0", d.base.Add(time.Duration(r.IntN(4000)) * time.Second).UTC().Format(http.TimeFormat)}},
		diffField{"Age", []string{"", "", "", "7"}},
		diffField{"Vary", append(make([]string, 18), "Origin", "accept-encoding, ORIGIN", "Accept-Encoding", "Cookie", "*")},
		diffField{"Set-Cookie", append(make([]string, 25), "a=b")},
		diffField{"Content-Disposition", []string{"", "inline; filename=" + v.name}},
		diffField{"X-Amz-Version-Id", []string{"", fmt.Sprint(v.name, ".", d.made)}},
		diffField{"X-Amz-Website-Redirect-Location", []string{"", "", "/" + v.name}},
		diffField{"X-Amz-Meta-Made", []string{fmt.Sprint(d.made)}},
		diffField{"X-Amz-Meta-Some", []string{"", "", fmt.Sprint(d.made)}},
		diffField{"X-Amz-Request-Id", []string{"of the origin"}},
		diffField{"Server", []string{"", "MinIO"}},
		diffField{"X-Amz-Meta-Surrogate-Key", []string{"", "red", "red green", "green,blue"}},
		diffField{"X-Amz-Meta-Cache-Tag", []string{"", "", "blue"}})
	if languages := pick(r, nil, []string{"de"}, []string{"de", "en"}); languages != nil {
		h["Content-Language"] = languages
	}
}

// touched makes v as it is after its metadata were replaced: the bytes and the
// entity tag stay.
func (d *diffMaker) touched(v *diffVersion) *diffVersion {
	d.made++
	n := &diffVersion{name: v.name, body: v.body, head: http.Header{}}
	d.describe(n)
	for _, name := range []string{"Content-Type", "Content-Encoding", "X-Amz-Checksum-Sha1", "X-Amz-Storage-Class", "Etag"} {
		if v.head[name] != nil {
			n.head[name] = v.head[name]
		}
	}
	d.date(n)
	return n
}

// absent makes the lack of an object.
func (d *diffMaker) absent() *diffVersion {
	v := &diffVersion{name: "none", gone: true, head: http.Header{}}
	d.fill(v.head, diffField{"Cache-Control", []string{"", "", "max-age=3", "no-store", "no-cache"}})
	return v
}
