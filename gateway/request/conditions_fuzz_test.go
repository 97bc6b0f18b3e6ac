package request

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"yatagarasu/cache"
)

// matchesTagNaive is the model of matchesTag for lists of valid UTF-8.
func matchesTagNaive(list, etag string, strong bool) bool {
	if strings.Trim(list, " \t") == "*" {
		return true
	}
	if !tagList.MatchString(list) {
		return false
	}
	for _, tag := range regexp.MustCompile(`(W/)?"[^"]*"`).FindAllString(list, -1) {
		if strong && tag == etag && !strings.HasPrefix(tag, "W/") {
			return true
		}
		if !strong && strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(etag, "W/") {
			return true
		}
	}
	return false
}

func FuzzMatchesTag(f *testing.F) {
	for _, v := range []string{`"v2"`, `W/"v2"`, `*`, `"v1" , ,W/"v2",`, `"v1,v2"`, `"v2`, `v2`, "\"\u00e9\""} {
		f.Add(v, objectTag, true)
		f.Add(v, `W/"v2"`, false)
	}
	f.Fuzz(func(t *testing.T, list, etag string, strong bool) {
		got := matchesTag([]byte(list), []byte(etag), strong)
		_, _, single := singleTag([]byte(etag))
		if !single || strings.Trim(etag, " \t") != etag || strings.ToValidUTF8(list+etag, "") != list+etag {
			return // the model speaks of runes, and of an object's proper tag
		}
		if want := matchesTagNaive(list, etag, strong); got != want {
			t.Fatalf("matchesTag(%q, %q, %v) = %v, the model says %v", list, etag, strong, got, want)
		}
	})
}

// FuzzEvaluate holds the order of RFC 9110 section 13.2.2 against its words,
// over any values.
func FuzzEvaluate(f *testing.F) {
	f.Add(`"v1"`, "-", objectDate, dateBefore, objectTag, int64(objectUnix))
	f.Add("-", `W/"v2"`, dateAfter, "-", objectTag, int64(objectUnix))
	f.Add("-", "-", dateAfter, "Sunday, 06-Nov-94 08:49:37 GMT", "", int64(0))
	f.Add("*", "", "", "", `W/"v2"`, int64(-1))
	f.Fuzz(func(t *testing.T, match, none, modifiedSince, unmodifiedSince, etag string, modified int64) {
		p := Conditions{ifMatch: optional(match), ifNoneMatch: optional(none), ifModifiedSince: optional(modifiedSince), ifUnmodifiedSince: optional(unmodifiedSince)}
		if got, want := p.Evaluate([]byte(etag), modified), evaluateNaive(&p, etag, modified); got != want {
			t.Fatalf("%q of %q at %d: verdict %d, the model says %d", fmt.Sprint(p), etag, modified, got, want)
		}
	})
}

// evaluateNaive follows the steps of RFC 9110 section 13.2.2 for GET and HEAD.
// Lists of tags and forms of dates have models of their own.
func evaluateNaive(p *Conditions, etag string, modified int64) Verdict {
	// since tells whether the object is later than the date v; known is false
	// where there is no telling.
	since := func(v []byte) (later, known bool) {
		date, err := http.ParseTime(string(v))
		if _, ours := cache.ParseDate(v); err != nil || !ours || modified <= 0 {
			return false, false
		}
		return time.Unix(modified, 0).After(date), true
	}
	held, changed := true, true // by steps 1 and 2; by steps 3 and 4
	if p.ifMatch != nil {
		held = matchesTag(p.ifMatch, []byte(etag), true)
	} else if later, known := since(p.ifUnmodifiedSince); known {
		held = !later
	}
	if p.ifNoneMatch != nil {
		changed = !matchesTag(p.ifNoneMatch, []byte(etag), false)
	} else if later, known := since(p.ifModifiedSince); known {
		changed = later
	}
	switch {
	case !held:
		return PreconditionFailed
	case !changed:
		return NotModified
	}
	return proceed
}
