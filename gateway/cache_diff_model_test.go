package gateway

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// diffBucket is a bucket and what the configuration says of its cache.
type diffBucket struct {
	name, prefix, things                    string // things: the bucket at the origin
	ttl, negative, whileRevalidate, onError time.Duration
	longest                                 time.Duration // max_ttl
	directives, fill                        bool
	versions                                bool // versionId reaches the origin
}

// diffLife is what the fields of an answer say of storing it: RFC 9111, RFC 5861.
type diffLife struct {
	storable                        bool
	fresh, whileRevalidate, onError time.Duration
	strict                          bool // it is never served stale
	received                        time.Duration
}

// life reads the fields h of an answer that came at now.
func (b *diffBucket) life(h http.Header, gone bool, now time.Time) diffLife {
	control := map[string]string{}
	for _, d := range strings.Split(strings.Join(h["Cache-Control"], ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(d), "=")
		name, value = strings.ToLower(name), strings.Trim(value, `"`)
		if other, ok := control[name]; ok && other != value {
			value = "two values"
		}
		control[name] = value
	}
	// A time that is none, or two, counts as 0, RFC 9111 section 4.2.1.
	seconds := func(name string) (time.Duration, bool) {
		v, ok := control[name]
		n, _ := strconv.Atoi(v)
		return time.Duration(n) * time.Second, ok
	}
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { _, ok := control[n]; return ok })
	}

	l := diffLife{storable: !has("no-store", "private") && h["Set-Cookie"] == nil}
	for _, name := range strings.Split(strings.Join(h["Vary"], ","), ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		l.storable = l.storable && (name == "" || name == "origin" || name == "accept-encoding")
	}
	named := true
	if d, ok := seconds("s-maxage"); ok {
		l.fresh = d
	} else if d, ok := seconds("max-age"); ok {
		l.fresh = d
	} else if h["Expires"] != nil {
		l.fresh = max(dateOf(h.Get("Expires")).Sub(now.Truncate(time.Second)), 0)
	} else {
		l.fresh, named = b.ttl, false
	}
	l.fresh = min(l.fresh, b.longest)
	l.whileRevalidate, l.onError = b.whileRevalidate, b.onError
	if named && l.fresh == 0 {
		l.whileRevalidate = 0 // the bucket's; the answer wants to be validated
	}
	if d, ok := seconds("stale-while-revalidate"); ok {
		l.whileRevalidate = d
	}
	if d, ok := seconds("stale-if-error"); ok {
		l.onError = d
	}
	if gone {
		l.storable = l.storable && b.negative > 0
		l.fresh, l.strict = b.negative, true
		if d, ok := seconds("max-age"); ok {
			l.fresh = min(l.fresh, d)
		}
	}
	if has("no-cache") {
		l.fresh = 0
	}
	// What is served stale is at most as old as max_ttl and the bucket's own time allow.
	l.whileRevalidate = min(l.whileRevalidate, b.longest+b.whileRevalidate-l.fresh)
	l.onError = min(l.onError, b.longest+b.onError-l.fresh)
	l.strict = l.strict || has("no-cache", "must-revalidate", "proxy-revalidate", "s-maxage")
	age, _ := strconv.Atoi(h.Get("Age"))
	l.received = time.Duration(age) * time.Second
	return l
}

// diffEntry is what the model thinks that the cache has of an object: a version, the
// lack of one, or a note that it is not for the cache.
type diffEntry struct {
	version *diffVersion // whose bytes it has; nil: a note
	head    http.Header  // as clients get it
	life    diffLife
	asked   time.Time // when the origin was, for it
	purged  time.Time // softly; zero: it was not
}

func (e *diffEntry) age(now time.Time) time.Duration {
	return e.life.received + max(now.Sub(e.asked), 0)
}

// forwarded returns why a request that e is not good enough for goes to the origin: fwd
// of Cache-Status, RFC 9211, 2.2.
func (e *diffEntry) forwarded(now time.Time) string {
	switch {
	case e == nil || e.version == nil:
		return "miss"
	case !e.purged.IsZero() || e.age(now) >= e.life.fresh:
		return "stale"
	}
	return "request"
}

// validator returns the field that the origin is sent for e.
func (e *diffEntry) validator() (name, value string) {
	if e == nil || e.version == nil || e.version.gone {
		return "", ""
	}
	if tag := e.head.Get("Etag"); tag != "" {
		return "If-None-Match", tag
	}
	if date := e.head.Get("Last-Modified"); date != "" {
		return "If-Modified-Since", date
	}
	return "", ""
}

// use is what an entry is good for.
type use string

const (
	useFresh   use = "fresh"
	useStale   use = "stale"    // while it is validated
	useOnError use = "on error" // only where the origin fails
	useNot     use = "not"
	useRefused use = "refused" // and the client does not want another
)

// useOf says what e, which may be nil, is good for to a client with wishes.
func useOf(e *diffEntry, w *diffWishes, now time.Time) use {
	u := useNot
	if e != nil {
		u = useOfEntry(e, w, now)
	}
	if w.onlyIfCached && u != useFresh && u != useStale {
		return useRefused
	}
	return u
}

func useOfEntry(e *diffEntry, w *diffWishes, now time.Time) use {
	l, age := e.life, e.age(now)
	if !e.purged.IsZero() { // stale from then on, also by a clock that was set back
		l.fresh = min(l.fresh, e.age(e.purged), age)
	}
	staleness := age - l.fresh // fresh below 0
	atMost := useNot
	if !l.strict && l.onError > 0 && staleness < l.onError {
		atMost = useOnError
	}
	after := func(seconds int) time.Duration { return time.Duration(seconds) * time.Second }
	switch {
	case w.noCache, w.maxAge >= 0 && age > after(w.maxAge), w.minFresh >= 0 && -staleness < after(w.minFresh):
		return atMost
	case staleness < 0:
		return useFresh
	case l.strict:
		return useNot
	case w.maxStale >= 0 && staleness <= after(w.maxStale):
		return useStale
	case w.maxStale >= 0, w.maxAge >= 0:
		return atMost
	case staleness < l.whileRevalidate:
		return useStale
	}
	return atMost
}

// diffModel is the naive cache.
type diffModel struct {
	origin  *diffOrigin
	entries map[string]*diffEntry // by the target at the origin: path and query
}

// current returns what the origin has: the same in all versions.
func (m *diffModel) current(target string) *diffVersion {
	path, _, _ := strings.Cut(target, "?")
	return m.origin.objects[path]
}

// get returns the entry of an object; a note that is no longer good counts as none.
func (m *diffModel) get(target string, w *diffWishes, now time.Time) *diffEntry {
	e := m.entries[target]
	if e != nil && e.version == nil && useOf(e, w, now) != useFresh {
		return nil
	}
	return e
}

// purge forgets the bucket's entries that match, or makes them stale.
func (m *diffModel) purge(b *diffBucket, soft bool, now time.Time, match func(key string, e *diffEntry) bool) {
	for target, e := range m.entries {
		path, _, _ := strings.Cut(target, "?")
		key, in := strings.CutPrefix(path, b.things+"/")
		switch {
		case !in || !match(collapsed(key), e):
		case soft && e.purged.IsZero():
			e.purged = now
		case soft:
		default:
			delete(m.entries, target)
		}
	}
}

// collapsed returns a key without its empty segments: docs/RESILIENCE.md, "Spellings of a key".
func collapsed(key string) string {
	segments := strings.SplitAfter(key, "/")
	return strings.Join(slices.DeleteFunc(segments, func(s string) bool { return s == "/" }), "")
}

// tags returns the tags by which e can be purged.
func (e *diffEntry) tags() []string {
	list := e.head.Get("X-Amz-Meta-Surrogate-Key") + "," + e.head.Get("X-Amz-Meta-Cache-Tag")
	return strings.FieldsFunc(list, func(r rune) bool { return r == ' ' || r == ',' })
}

// brought is what came of asking the origin for a whole object.
type brought string

const (
	broughtObject    brought = "object"
	broughtUnchanged brought = "unchanged"
	broughtPassed    brought = "passed" // an object that is not for the cache
	broughtNone      brought = "none"   // there is no object
	broughtFailure   brought = "failure"
)

// refresh asks the origin for the whole object, as a cache does: with the validator of
// what it has. It returns what clients are to be answered with.
func (m *diffModel) refresh(b *diffBucket, target string, now time.Time) (*diffEntry, brought) {
	v, e := m.current(target), m.entries[target]
	_, validator := e.validator()
	switch {
	case m.origin.fault != "" && m.origin.fault != "cut":
		return nil, broughtFailure
	case v.gone:
		delete(m.entries, target)
		if l := b.life(v.head, true, now); l.storable && collapsed(target) == target {
			m.entries[target] = &diffEntry{version: v, head: http.Header{}, life: l, asked: now}
		}
		return m.entries[target], broughtNone
	case validator != "" && m.validated(v, e):
		return m.update(b, target, e, v, now)
	}
	n := &diffEntry{version: v, head: clientHead(v.head), life: b.life(v.head, false, now), asked: now}
	switch {
	case !n.life.storable || len(v.body) > diffMaxObject:
		m.pass(target, now)
		return n, broughtPassed
	case m.origin.fault == "cut" && len(v.body) > 0:
		return n, broughtFailure
	}
	m.entries[target] = n
	return n, broughtObject
}

// validated tells whether the origin says, of the object that e has, that it is
// current: RFC 9111, 4.3.4. A 304 for another one does not count.
func (m *diffModel) validated(v *diffVersion, e *diffEntry) bool {
	if m.origin.quirks.noConditions {
		return false
	}
	if tag := e.head.Get("Etag"); tag != "" {
		return unweak(tag) == unweak(v.etag())
	}
	return v.etag() == "" && v.head.Get("Last-Modified") == e.head.Get("Last-Modified")
}

// update renews e by a 304: RFC 9111, 3.2. Fields that say how to read the bytes stay.
func (m *diffModel) update(b *diffBucket, target string, e *diffEntry, v *diffVersion, now time.Time) (*diffEntry, brought) {
	head304 := m.origin.head304(v)
	n := &diffEntry{version: e.version, head: e.head.Clone(), asked: now}
	for name, values := range clientHead(head304) {
		if name != "Content-Type" && name != "Content-Encoding" && head304[name] != nil {
			n.head[name] = values
		}
	}
	all := n.head.Clone()
	for _, name := range []string{"Age", "Vary", "Set-Cookie"} {
		if head304[name] != nil {
			all[name] = head304[name]
		}
	}
	n.life = b.life(all, false, now)
	m.entries[target] = n
	if !n.life.storable {
		n.life.fresh, n.life.strict = 0, true
		m.pass(target, now)
	}
	return n, broughtUnchanged
}

// pass notes that the object is not for the cache: docs/CACHE.md says for how long.
func (m *diffModel) pass(target string, now time.Time) {
	m.entries[target] = &diffEntry{asked: now, life: diffLife{fresh: 2 * time.Minute, strict: true}}
}

// clientHead returns those fields of an origin's answer that clients get: DESIGN.md,
// "Object responses".
func clientHead(h http.Header) http.Header {
	c := maps.Clone(h)
	for name := range c {
		switch name {
		case "Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control", "Expires", "Etag", "Last-Modified", "X-Amz-Version-Id", "X-Amz-Website-Redirect-Location":
		default:
			if !strings.HasPrefix(name, "X-Amz-Meta-") && !strings.HasPrefix(name, "X-Amz-Checksum-") {
				delete(c, name)
			}
		}
	}
	switch h.Get("Content-Encoding") {
	case "aws-chunked":
		delete(c, "Content-Encoding")
	case "gzip, aws-chunked":
		c["Content-Encoding"] = []string{"gzip"}
	}
	if c == nil {
		c = http.Header{}
	}
	c["Accept-Ranges"] = []string{"bytes"}
	return c
}

// String is for the story of a failure.
func (e *diffEntry) String() string {
	switch {
	case e == nil:
		return "nothing"
	case e.version == nil:
		return "a note"
	}
	return fmt.Sprintf("%s (%+v)", e.version.name, e.life)
}
