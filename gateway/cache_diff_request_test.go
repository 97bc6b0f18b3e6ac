package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// diffTag is an entity tag of a list.
type diffTag struct {
	weak   bool
	opaque string // with its quotes
}

func (t diffTag) String() string {
	if t.weak {
		return "W/" + t.opaque
	}
	return t.opaque
}

// diffTags is an If-Match or If-None-Match.
type diffTags struct {
	lines     []string // none: absent
	any, junk bool     // "*"; no list of tags
	tags      []diffTag
}

// match tells whether the list has an entity tag, which is empty where there is none
// (RFC 9110, 8.8.3.2, 13.1.1, 13.1.2). What is no list matches nothing.
func (l *diffTags) match(etag string, strongly bool) bool {
	if l.any || l.junk {
		return l.any
	}
	return slices.ContainsFunc(l.tags, func(t diffTag) bool {
		if strongly {
			return t.String() == etag && !t.weak
		}
		return t.opaque == unweak(etag)
	})
}

// single returns the only tag of the list.
func (l *diffTags) single() (t diffTag, ok bool) {
	if len(l.tags) != 1 {
		return t, false
	}
	return l.tags[0], true
}

// diffDate is an If-Modified-Since or If-Unmodified-Since.
type diffDate struct {
	text string
	at   time.Time // zero: text is no date
}

// diffRange is one element of a Range: first to last, from first on, or a suffix.
type diffRange struct {
	first, last int // last is -1: to the end
	suffix      int // with first -1
}

func (p diffRange) String() string {
	switch {
	case p.first < 0:
		return fmt.Sprintf("-%d", p.suffix)
	case p.last < 0:
		return fmt.Sprintf("%d-", p.first)
	}
	return fmt.Sprintf("%d-%d", p.first, p.last)
}

// within returns what of size bytes is meant, and whether that is anything.
func (p diffRange) within(size int) (first, last int, ok bool) {
	first, last = p.first, size-1
	if p.first < 0 {
		first = max(size-p.suffix, 0)
	} else if p.last >= 0 {
		last = min(p.last, last)
	}
	return first, last, first <= last
}

// diffWishes is a request's Cache-Control; -1: absent.
type diffWishes struct {
	line                       string
	noCache, noStore           bool
	onlyIfCached               bool
	maxAge, minFresh, maxStale int
}

// noWishes are those of a request without, or one whose wishes do not count.
var noWishes = diffWishes{maxAge: -1, minFresh: -1, maxStale: -1}

var someWishes = []diffWishes{
	{"Cache-Control: no-cache", true, false, false, -1, -1, -1},
	{"Pragma: no-cache", true, false, false, -1, -1, -1},
	{"Cache-Control: no-store", false, true, false, -1, -1, -1},
	{"Cache-Control: max-age=0", false, false, false, 0, -1, -1},
	{"Cache-Control: max-age=30", false, false, false, 30, -1, -1},
	{"Cache-Control: min-fresh=10", false, false, false, -1, 10, -1},
	{"Cache-Control: max-stale", false, false, false, -1, -1, 1 << 31},
	{"Cache-Control: max-stale=10", false, false, false, -1, -1, 10},
	{"Cache-Control: max-age=30, max-stale=10", false, false, false, 30, -1, 10},
	{"Cache-Control: only-if-cached", false, false, true, -1, -1, -1},
	{"Cache-Control: only-if-cached, max-stale=10", false, false, true, -1, -1, 10},
	{"Cache-Control: only-if-cached, no-store", false, true, true, -1, -1, -1},
}

// diffRequest is one request.
type diffRequest struct {
	method               string
	match, noneMatch     diffTags
	modified, unmodified diffDate

	rangeLine string // empty: absent
	ranges    []diffRange
	ifRange   string
	rangeTag  diffTag   // of ifRange, if it is a tag
	rangeDate time.Time // of ifRange, if it is a date

	wishes diffWishes
	lines  []string // all of its header
}

// newDiffRequest makes up a request, of which some conditions hold for some versions.
func newDiffRequest(r *rand.Rand, versions []*diffVersion) *diffRequest {
	q := &diffRequest{method: pick(r, "GET", "GET", "GET", "HEAD"), wishes: noWishes}
	tags := []diffTag{{false, `"other"`}, {true, `"a,b"`}, {false, `""`}}
	dates := []time.Time{time.Date(2006, 1, 2, 15, 4, 5, 0, time.UTC), time.Date(2060, 1, 2, 15, 4, 5, 0, time.UTC)}
	size := 100
	for _, v := range versions {
		if v == nil || v.gone {
			continue
		}
		size = len(v.body)
		if t := v.etag(); t != "" {
			tags = append(tags, diffTag{false, unweak(t)}, diffTag{false, unweak(t)}, diffTag{true, unweak(t)})
		}
		if d := v.modified(); !d.IsZero() {
			dates = append(dates, d, d, d.Add(-time.Second), d.Add(time.Second))
		}
	}
	one := func(chance int) bool { return r.IntN(chance) == 0 }
	date := func() diffDate {
		if one(8) {
			return diffDate{text: "yesterday"}
		}
		at := pick(r, dates...)
		return diffDate{at.Format(pick(r, http.TimeFormat, http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC)), at}
	}
	if one(8) {
		q.match = newDiffTags(r, tags)
	}
	if one(6) {
		q.noneMatch = newDiffTags(r, tags)
	}
	if one(8) {
		q.modified = date()
	}
	if one(8) {
		q.unmodified = date()
	}
	if one(3) {
		q.makeRange(r, size)
	}
	if one(8) || q.rangeLine != "" && one(2) {
		if one(2) {
			q.rangeTag = pick(r, tags...)
			q.ifRange = q.rangeTag.String()
		} else {
			d := date()
			q.ifRange, q.rangeDate = d.text, d.at
		}
	}
	if one(6) {
		q.wishes = pick(r, someWishes...)
	}
	q.join(r)
	return q
}

func newDiffTags(r *rand.Rand, tags []diffTag) (l diffTags) {
	switch r.IntN(8) {
	case 0:
		return diffTags{lines: []string{"*"}, any: true}
	case 1:
		return diffTags{lines: []string{pick(r, "v1", `"v1`, `W/v1, "v2"`)}, junk: true}
	}
	l.lines = []string{""}
	for i := range 1 + r.IntN(3) {
		t := pick(r, tags...)
		l.tags = append(l.tags, t)
		last := &l.lines[len(l.lines)-1]
		switch {
		case i == 0:
			*last = t.String()
		case r.IntN(4) == 0: // several lines are one list
			l.lines = append(l.lines, t.String())
		default:
			*last += pick(r, ",", ", ", " ,, ") + t.String()
		}
	}
	return l
}

// makeRange makes up a Range for an object of about size bytes.
func (q *diffRequest) makeRange(r *rand.Rand, size int) {
	if r.IntN(10) == 0 {
		q.rangeLine = pick(r, "lines=0-1", "bytes=5-2", "bytes=0-1,x", "bytes=", "bytes", "bytes=1-2;3", "bytes=--1")
		return
	}
	count := 1
	if r.IntN(3) == 0 {
		count += r.IntN(4) + r.IntN(2)*r.IntN(16)
	}
	from, step := 0, size/count+1
	var texts []string
	for range count {
		p := diffRange{first: from + r.IntN(step), last: -1}
		switch r.IntN(10) {
		case 0:
			p = diffRange{first: -1, suffix: pick(r, 0, 1, 5, size, size+1, 1_000_000)}
		case 1: // to the end
		case 2:
			p = diffRange{first: pick(r, size, size+5, 1_000_000), last: pick(r, -1, 2_000_000)}
		case 3:
			p = diffRange{first: 0, last: pick(r, 0, max(size-1, 0), size)}
		default:
			p.last = p.first + r.IntN(step)
		}
		if r.IntN(6) > 0 {
			from += step // else they overlap
		}
		q.ranges = append(q.ranges, p)
		texts = append(texts, p.String())
	}
	q.rangeLine = pick(r, "bytes=", "bytes=", "Bytes=") + strings.Join(texts, pick(r, ",", ", ", " , ,"))
}

// join writes the request's header, with fields that mean nothing to an origin.
func (q *diffRequest) join(r *rand.Rand) {
	for name, lines := range map[string][]string{
		"If-Match": q.match.lines, "If-None-Match": q.noneMatch.lines, "If-Modified-Since": {q.modified.text}, "If-Unmodified-Since": {q.unmodified.text}, "Range": {q.rangeLine}, "If-Range": {q.ifRange},
	} {
		for _, l := range lines {
			if l != "" {
				q.lines = append(q.lines, name+": "+l)
			}
		}
	}
	slices.SortStableFunc(q.lines, func(a, b string) int { return strings.Compare(a[:6], b[:6]) })
	if q.wishes.line != "" {
		q.lines = append(q.lines, q.wishes.line)
	}
	for _, l := range []string{"Accept-Encoding: gzip", "Cookie: a=b", "X-Amz-Meta-Version: x", "Origin: https://site.test"} {
		if r.IntN(8) == 0 {
			q.lines = append(q.lines, l)
		}
	}
}

// precondition returns 304 or 412, or 0 where the request is to proceed: RFC 9110,
// 13.2.2.
func (q *diffRequest) precondition(etag string, modified time.Time) int {
	known := !modified.IsZero()
	switch {
	case q.match.lines != nil:
		if !q.match.match(etag, true) {
			return 412
		}
	case !q.unmodified.at.IsZero() && known && modified.After(q.unmodified.at):
		return 412
	}
	switch {
	case q.noneMatch.lines != nil:
		if q.noneMatch.match(etag, false) {
			return 304
		}
	case !q.modified.at.IsZero() && known && !modified.After(q.modified.at):
		return 304
	}
	return 0
}

// ranged tells whether Range counts: it does for GET alone, and where If-Range holds,
// RFC 9110, 13.1.5 and 14.2.
func (q *diffRequest) ranged(etag string, modified time.Time) bool {
	switch {
	case q.method != "GET" || len(q.ranges) == 0:
		return false
	case q.ifRange == "":
		return true
	case q.rangeTag.opaque != "":
		return !q.rangeTag.weak && q.rangeTag.opaque == etag
	}
	return !q.rangeDate.IsZero() && q.rangeDate.Equal(modified)
}

// wantsPart tells whether one part is asked for, and nothing says beforehand that the
// whole object is the answer.
func (q *diffRequest) wantsPart() bool {
	if q.method != "GET" || len(q.ranges) != 1 {
		return false
	}
	return q.ifRange == "" || q.rangeTag.opaque != "" && !q.rangeTag.weak || !q.rangeDate.IsZero() || q.ranges[0].first < 0 && q.ranges[0].suffix == 0
}
