package request

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The object of the tests in this file.
const (
	objectTag  = `"v2"`
	objectDate = "Sun, 06 Nov 1994 08:49:37 GMT"
	objectUnix = 784111777
	dateBefore = "Sun, 06 Nov 1994 08:49:36 GMT"
	dateAfter  = "Sun, 06 Nov 1994 08:49:38 GMT"
)

// optional returns nil for "-", which stands for an absent header here.
func optional(v string) []byte {
	if v == "-" {
		return nil
	}
	return []byte(v)
}

func TestPreconditions(t *testing.T) {
	const match, none, modified, unmodified = 0, 1, 2, 3
	type headers map[int]string
	for _, tc := range []struct {
		name    string
		headers headers
		want    Verdict
	}{
		{"none", headers{}, proceed},

		{"If-Match: the tag", headers{match: `"v2"`}, proceed},
		{"If-Match: another tag", headers{match: `"v1"`}, PreconditionFailed},
		{"If-Match: in a list", headers{match: `"v1", "v2"`}, proceed},
		{"If-Match: in a list with empty elements", headers{match: `, "v1" ,,	"v2",`}, proceed},
		{"If-Match: not in a list", headers{match: `"v1", "v3"`}, PreconditionFailed},
		{"If-Match: any", headers{match: `*`}, proceed},
		{"If-Match: any, with whitespace", headers{match: " *\t"}, proceed},
		{"If-Match: a weak tag is never strongly equal", headers{match: `W/"v2"`}, PreconditionFailed},
		{"If-Match: comma within a tag", headers{match: `"v1,"v2"`}, PreconditionFailed},
		{"If-Match: empty", headers{match: ``}, PreconditionFailed},
		{"If-Match: malformed", headers{match: `v2`}, PreconditionFailed},
		{"If-Match: malformed behind the tag", headers{match: `"v2", v3`}, PreconditionFailed},
		{"If-Match: no comma", headers{match: `"v1" "v2"`}, PreconditionFailed},
		{"If-Match: any in a list", headers{match: `"v1", *`}, PreconditionFailed},
		{"If-Match: tag without end", headers{match: `"v2`}, PreconditionFailed},
		{"If-Match: lower-case weak prefix", headers{match: `w/"v2"`}, PreconditionFailed},
		{"If-Match: space in a tag", headers{match: `"v 2", "v2"`}, PreconditionFailed},

		{"If-None-Match: the tag", headers{none: `"v2"`}, NotModified},
		{"If-None-Match: weakly equal", headers{none: `W/"v2"`}, NotModified},
		{"If-None-Match: another tag", headers{none: `"v1"`}, proceed},
		{"If-None-Match: in a list", headers{none: `W/"v1", "v2", "v3"`}, NotModified},
		{"If-None-Match: any", headers{none: `*`}, NotModified},
		{"If-None-Match: empty", headers{none: ``}, proceed},
		{"If-None-Match: malformed", headers{none: `v2`}, proceed},
		{"If-None-Match: malformed behind the tag", headers{none: `"v2", v3`}, proceed},

		{"If-Modified-Since: older", headers{modified: dateBefore}, proceed},
		{"If-Modified-Since: equal", headers{modified: objectDate}, NotModified},
		{"If-Modified-Since: newer", headers{modified: dateAfter}, NotModified},
		{"If-Modified-Since: RFC 850", headers{modified: "Sunday, 06-Nov-94 08:49:37 GMT"}, NotModified},
		{"If-Modified-Since: asctime", headers{modified: "Sun Nov  6 08:49:37 1994"}, NotModified},
		{"If-Modified-Since: invalid", headers{modified: "yesterday"}, proceed},
		{"If-Modified-Since is ignored beside If-None-Match", headers{none: `"v1"`, modified: objectDate}, proceed},
		{"If-Modified-Since is ignored beside a malformed If-None-Match", headers{none: `v1`, modified: objectDate}, proceed},
		{"If-None-Match decides alone", headers{none: `"v2"`, modified: dateBefore}, NotModified},

		{"If-Unmodified-Since: older", headers{unmodified: dateBefore}, PreconditionFailed},
		{"If-Unmodified-Since: equal", headers{unmodified: objectDate}, proceed},
		{"If-Unmodified-Since: newer", headers{unmodified: dateAfter}, proceed},
		{"If-Unmodified-Since: invalid", headers{unmodified: "1994-11-06"}, proceed},
		{"If-Unmodified-Since is ignored beside If-Match", headers{match: `"v2"`, unmodified: dateBefore}, proceed},

		{"412 comes before 304", headers{match: `"v1"`, none: `"v2"`}, PreconditionFailed},
		{"412 by date comes before 304", headers{unmodified: dateBefore, none: `"v2"`}, PreconditionFailed},
		{"304 after If-Match held", headers{match: `"v2"`, none: `"v2"`}, NotModified},
		{"304 by date after If-Unmodified-Since held", headers{unmodified: objectDate, modified: objectDate}, NotModified},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var p Conditions
			for h, v := range tc.headers {
				*[]*[]byte{&p.ifMatch, &p.ifNoneMatch, &p.ifModifiedSince, &p.ifUnmodifiedSince}[h] = []byte(v)
			}
			if got := p.Evaluate([]byte(objectTag), objectUnix); got != tc.want {
				t.Errorf("verdict %d, want %d", got, tc.want)
			}
			if p.Empty() != (len(tc.headers) == 0) {
				t.Errorf("empty: %v", p.Empty())
			}
		})
	}
	if p := (Conditions{IfRange: []byte(`"v2"`)}); !p.Empty() || p.Evaluate([]byte(objectTag), objectUnix) != proceed {
		t.Error("If-Range counts as a precondition")
	}
}

func TestPreconditionsWithoutValidators(t *testing.T) {
	for _, tc := range []struct {
		name     string
		p        Conditions
		etag     string
		modified int64
		want     Verdict
	}{
		{"no tag: If-Match fails", Conditions{ifMatch: []byte(`"v2"`)}, "", objectUnix, PreconditionFailed},
		{"no tag: the object exists all the same", Conditions{ifMatch: []byte(`*`)}, "", 0, proceed},
		{"no tag: If-None-Match matches nothing", Conditions{ifNoneMatch: []byte(`"", "v2"`)}, "", objectUnix, proceed},
		{"no date: If-Modified-Since is ignored", Conditions{ifModifiedSince: []byte(objectDate)}, objectTag, 0, proceed},
		{"no date: If-Unmodified-Since is ignored", Conditions{ifUnmodifiedSince: []byte("Thu, 01 Jan 1970 00:00:00 GMT")}, objectTag, 0, proceed},
		{"date before 1970 counts as none", Conditions{ifUnmodifiedSince: []byte("Thu, 01 Jan 1903 00:00:00 GMT")}, objectTag, -1, proceed},
		{"weak tag of the object: If-Match fails", Conditions{ifMatch: []byte(`"v2"`)}, `W/"v2"`, 0, PreconditionFailed},
		{"weak tag of the object: both weak fails too", Conditions{ifMatch: []byte(`W/"v2"`)}, `W/"v2"`, 0, PreconditionFailed},
		{"weak tag of the object: If-None-Match matches", Conditions{ifNoneMatch: []byte(`"v2"`)}, `W/"v2"`, 0, NotModified},
		{"empty tag is a tag", Conditions{ifNoneMatch: []byte(`""`)}, `""`, 0, NotModified},
		{"bytes beyond ASCII in a tag", Conditions{ifNoneMatch: []byte("\"\xe9\"")}, "\"\xe9\"", 0, NotModified},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.p.Evaluate([]byte(tc.etag), tc.modified); got != tc.want {
				t.Errorf("verdict %d, want %d", got, tc.want)
			}
		})
	}
}

func TestIfRange(t *testing.T) {
	for _, tc := range []struct {
		name, value, etag string
		modified          int64
		want              bool
	}{
		{"the tag", `"v2"`, objectTag, objectUnix, true},
		{"another tag", `"v1"`, objectTag, objectUnix, false},
		{"weak tag", `W/"v2"`, objectTag, objectUnix, false},
		{"weak tag of the object", `"v2"`, `W/"v2"`, objectUnix, false},
		{"both weak", `W/"v2"`, `W/"v2"`, objectUnix, false},
		{"two tags", `"v2", "v2"`, objectTag, objectUnix, false},
		{"any", `*`, objectTag, objectUnix, false},
		{"tag of an object without one", `"v2"`, "", objectUnix, false},
		{"the date", objectDate, objectTag, objectUnix, true},
		{"the date in another form", "Sun Nov  6 08:49:37 1994", objectTag, objectUnix, true},
		{"earlier date", dateBefore, objectTag, objectUnix, false},
		{"later date is not exact", dateAfter, objectTag, objectUnix, false},
		{"date of an object without one", "Thu, 01 Jan 1970 00:00:00 GMT", objectTag, 0, false},
		{"neither", "v2", objectTag, objectUnix, false},
		{"empty", "", objectTag, objectUnix, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := IfRangeHolds([]byte(tc.value), []byte(tc.etag), tc.modified); got != tc.want {
				t.Errorf("%q against %s and %d: %v", tc.value, tc.etag, tc.modified, got)
			}
		})
	}
}

func TestSingleTag(t *testing.T) {
	for _, tc := range []struct {
		value, tag string
		weak, ok   bool
	}{
		{`"a"`, `"a"`, false, true},
		{` "a"	`, `"a"`, false, true},
		{`W/"a"`, `"a"`, true, true},
		{`""`, `""`, false, true},
		{`"a", "b"`, "", false, false},
		{`"a",`, "", false, false},
		{`W/"a" x`, "", false, false},
		{`*`, "", false, false},
		{`W/`, "", false, false},
		{`"`, "", false, false},
		{`a`, "", false, false},
		{``, "", false, false},
		{"\"a\x7f\"", "", false, false},
	} {
		tag, weak, ok := singleTag([]byte(tc.value))
		if string(tag) != tc.tag || weak != tc.weak || ok != tc.ok {
			t.Errorf("singleTag(%q) = %q, weak %v, %v", tc.value, tag, weak, ok)
		}
	}
}

// conditional is a GET or HEAD request for the object of this file; "-" stands for
// an absent header.
type conditional struct {
	method, match, none, modified, unmodified, ifRange, rangeV string
}

// answer is the status that the gateway answers with.
func (r *conditional) answer(etag string, modified int64) int {
	p := Conditions{ifMatch: optional(r.match), ifNoneMatch: optional(r.none), ifModifiedSince: optional(r.modified), ifUnmodifiedSince: optional(r.unmodified)}
	switch p.Evaluate([]byte(etag), modified) {
	case NotModified:
		return 304
	case PreconditionFailed:
		return 412
	}
	if r.rangeV == "-" || r.ifRange != "-" && !IfRangeHolds([]byte(r.ifRange), []byte(etag), modified) {
		return 200
	}
	return answerRange(r.rangeV, 10).status
}

// answerHTTP is the status that net/http answers with.
func (r *conditional) answerHTTP(etag string, modified int64) int {
	q := httptest.NewRequest(r.method, "/", nil)
	for name, v := range map[string]string{
		"If-Match": r.match, "If-None-Match": r.none, "If-Modified-Since": r.modified,
		"If-Unmodified-Since": r.unmodified, "If-Range": r.ifRange, "Range": r.rangeV,
	} {
		if v != "-" {
			q.Header.Set(name, v)
		}
	}
	w := httptest.NewRecorder()
	if etag != "" {
		w.Header().Set("Etag", etag)
	}
	http.ServeContent(w, q, "x.bin", time.Unix(modified, 0), bytes.NewReader(make([]byte, 10)))
	return w.Code
}

// preconditionDifferences are the deliberate differences from net/http, each
// with an example that shows it still exists.
var preconditionDifferences = []struct {
	name    string
	example conditional
	in      func(r *conditional) bool
}{
	{"a malformed If-Match holds for nothing, not for what precedes the error", conditional{"GET", `"v2", v3`, "-", "-", "-", "-", "-"},
		func(r *conditional) bool { return malformedTags(r.match) }},
	{"a malformed If-None-Match matches nothing, not what precedes the error", conditional{"GET", "-", `"v2" "v3"`, "-", "-", "-", "-"},
		func(r *conditional) bool { return malformedTags(r.none) }},
	{"an empty If-Match holds for nothing, not for anything", conditional{"GET", "", "-", "-", "-", "-", "-"},
		func(r *conditional) bool { return r.match == "" }},
	{"an empty If-None-Match still outdoes If-Modified-Since", conditional{"GET", "-", "", objectDate, "-", "-", "-"},
		func(r *conditional) bool { return r.none == "" }},
	{"an empty If-Range holds for nothing, not for anything", conditional{"GET", "-", "-", "-", "-", "", "bytes=0-1"},
		func(r *conditional) bool { return r.ifRange == "" }},
	{"an If-Range of more than one tag never holds, not for the first", conditional{"GET", "-", "-", "-", "-", `"v2", "v3"`, "bytes=0-1"},
		func(r *conditional) bool { return severalTags.MatchString(r.ifRange) }},
}

var severalTags = regexp.MustCompile(`^(W/)?"[^"]*".`)

var tagList = regexp.MustCompile(`^[ \t,]*((W/)?"[!#-~\x80-\x{10FFFF}]*"[ \t]*(,[ \t,]*|$))*$`)

func malformedTags(list string) bool {
	return strings.Trim(list, " \t") != "*" && list != "-" && !tagList.MatchString(list)
}

func TestPreconditionsAgainstHTTP(t *testing.T) {
	for _, d := range preconditionDifferences {
		if ours, theirs := d.example.answer(objectTag, objectUnix), d.example.answerHTTP(objectTag, objectUnix); ours == theirs || !d.in(&d.example) {
			t.Errorf("%s: %+v is no difference: %d, net/http %d", d.name, d.example, ours, theirs)
		}
	}
	tags := []string{"-", "-", objectTag, `"v1"`, `W/"v2"`, `"v1", "v2"`, `W/"v1",, W/"v2" ,`, "*", "", "v2", `"v1" "v2"`, `"v2", v3`, `"v1", *`}
	dates := []string{"-", "-", objectDate, dateBefore, dateAfter, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:38 1994", "", "0", objectTag}
	ranges := []string{"-", "bytes=0-4", "bytes=-3", "bytes=10-", "bytes=2-"}

	rng := rand.New(rand.NewPCG(5, 6))
	pick := func(s []string) string { return s[rng.IntN(len(s))] }
	compared := make(map[int]int)
cases:
	for range 20000 {
		r := conditional{pick([]string{"GET", "GET", "HEAD"}), pick(tags), pick(tags), pick(dates), pick(dates), pick(append(tags, dates...)), pick(ranges)}
		if rng.IntN(2) == 0 {
			r.match = "-"
		}
		if rng.IntN(2) == 0 {
			r.none = "-"
		}
		etag := pick([]string{objectTag, objectTag, `W/"v2"`, ""})
		modified := []int64{objectUnix, objectUnix, 0}[rng.IntN(3)]
		for _, d := range preconditionDifferences {
			if d.in(&r) {
				continue cases
			}
		}
		ours, theirs := r.answer(etag, modified), r.answerHTTP(etag, modified)
		if ours != theirs {
			t.Fatalf("%+v of %s at %d: %d, net/http says %d", r, etag, modified, ours, theirs)
		}
		compared[ours]++
	}
	for _, status := range []int{200, 206, 304, 412, 416} {
		if compared[status] < 100 {
			t.Errorf("only %d answers with status %d were compared: %v", compared[status], status, compared)
		}
	}
}
