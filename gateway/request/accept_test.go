package request

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestPrefersPlain(t *testing.T) {
	for _, tc := range []struct {
		name, accept string
		want         bool
	}{
		{"absent", "", false},
		{"anything", "*/*", false},
		{"plain", "text/plain", true},
		{"plain in another case", "Text/PLAIN", true},
		{"JSON", "application/json", false},
		{"both, plain first", "text/plain, application/json", false},
		{"axios", "application/json, text/plain, */*", false},
		{"plain weighs more", "application/json;q=0.5, text/plain;q=0.501", true},
		{"JSON weighs more", "application/json ; q=1.000,text/plain; Q=0.9", false},
		{"plain, else anything", "text/plain, */*;q=0.1", true},
		{"plain only if nothing else", "text/plain;q=0.1, */*", false},
		{"any text", "text/*", true},
		{"any text but plain", "text/*, text/plain;q=0", false},
		{"any text but plain, the other way round", "text/plain;q=0, text/*", false},
		{"any application", "text/plain;q=0.5, application/*", false},
		{"browser", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false},
		{"HTML alone", "text/html", false},
		{"plain with a charset", "text/plain; charset=utf-8; q=0.7, application/json;q=0.6", true},
		{"plain refused", "text/plain;q=0", false},
		{"plain with two weights: the first counts", "text/plain;q=0.2;q=1, application/json;q=0.5", false},
		{"plain twice: the first counts", "text/plain;q=0.2, text/plain, application/json;q=0.5", false},
		{"empty elements", ", ,text/plain,", true},
		{"tail on the type", "text/plainx", false},
		{"weight that is none", "text/plain;q=x", false},
		{"empty weight", "text/plain;q=", false},
		{"weight above 1", "text/plain;q=1.001", false},
		{"weight of two", "text/plain;q=2", false},
		{"weight of four decimals", "text/plain;q=0.1234", false},
		{"weight with a comma", "text/plain;q=0,5", false},
		{"weight without a point", "text/plain;q=05", false},
		{"weight with a bad decimal", "text/plain;q=0.5x", false},
		{"weight with a point alone", "text/plain;q=1., application/json;q=0.", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := PrefersPlain([]byte(tc.accept)); got != tc.want {
				t.Errorf("prefersPlain(%q) = %v", tc.accept, got)
			}
		})
	}
}

// prefersPlainNaive is the model: for each of the two types the most precise
// range that covers it, the first of several.
func prefersPlainNaive(accept string) bool {
	weight := func(ranges ...string) float64 {
		for _, r := range ranges {
			for _, element := range strings.Split(accept, ",") {
				parts := strings.Split(element, ";")
				if !strings.EqualFold(strings.Trim(parts[0], " \t"), r) {
					continue
				}
				q, ok := 1.0, true
				for _, p := range parts[1:] {
					if name, value, _ := strings.Cut(strings.Trim(p, " \t"), "="); name == "q" || name == "Q" {
						ok = qvalue.MatchString(value)
						q, _ = strconv.ParseFloat(value, 64)
						break
					}
				}
				if ok {
					return q
				}
			}
		}
		return 0
	}
	return weight("text/plain", "text/*", "*/*") > weight("application/json", "application/*", "*/*")
}

var qvalue = regexp.MustCompile(`^(0(\.[0-9]{0,3})?|1(\.0{0,3})?)$`) // RFC 9110 section 12.4.2

func FuzzPrefersPlain(f *testing.F) {
	for _, v := range []string{"", "text/plain", "text/*;q=0.5, application/json;q=0.4", "*/*, text/plain;level=1;Q=1.000", "application/*;q=0.123, TEXT/plain ;q=0.124", "text/plain;q=1.001"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		if got, want := PrefersPlain([]byte(accept)), prefersPlainNaive(accept); got != want {
			t.Fatalf("prefersPlain(%q) = %t, the model says %t", accept, got, want)
		}
	})
}
