package gateway

import (
	"regexp"
	"strings"
	"testing"
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
