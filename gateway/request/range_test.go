package request

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseRange(t *testing.T) {
	none, multi := ByteRange{}, ByteRange{Kind: RangeMulti}
	part := func(first, last int64) ByteRange { return ByteRange{Kind: RangeSingle, First: first, Last: last} }
	suffix := func(n int64) ByteRange { return ByteRange{Kind: RangeSingle, First: -n, Last: -1} }
	const most = math.MaxInt64

	for _, tc := range []struct {
		name, value string
		want        ByteRange
	}{
		{"absent", "", none},
		{"first and last", "bytes=0-499", part(0, 499)},
		{"one byte", "bytes=7-7", part(7, 7)},
		{"open end", "bytes=9500-", part(9500, -1)},
		{"suffix", "bytes=-500", suffix(500)},
		{"leading zeros", "bytes=007-0009", part(7, 9)},
		{"unit in another case", "ByTeS=0-1", part(0, 1)},
		{"other unit is ignored", "lines=0-1", none},
		{"unit prefix is another unit", "byte=0-1", none},
		{"unit with a tail is another unit", "bytesx=0-1", none},
		{"space before = is ignored", "bytes =0-1", none},
		{"no =", "bytes 0-1", none},
		{"no set", "bytes=", none},
		{"set of commas", "bytes= , ,\t,", none},
		{"empty elements do not count", "bytes=,0-5,", part(0, 5)},
		{"whitespace around an element", "bytes= \t0-5\t , ", part(0, 5)},
		{"whitespace inside an element", "bytes=0 -5", none},
		{"other whitespace", "bytes=0-5\v", none},
		{"several parts", "bytes=0-5,7-9", multi},
		{"several parts, one of them of no bytes", "bytes=-0,0-5", multi},
		{"a hundred parts", "bytes=" + strings.Repeat("0-,", 100), multi},
		{"last before first is invalid", "bytes=5-2", none},
		{"one invalid part spoils all", "bytes=0-5,5-2", none},
		{"one invalid part after several", "bytes=0-5,7-9,x", none},
		{"suffix of no bytes", "bytes=-0", ByteRange{Kind: RangeUnsatisfiable}},
		{"dash alone", "bytes=-", none},
		{"no dash", "bytes=5", none},
		{"two dashes", "bytes=1-2-3", none},
		{"negative suffix", "bytes=--5", none},
		{"sign", "bytes=+1-2", none},
		{"sign of the last byte", "bytes=1-+2", none},
		{"hexadecimal", "bytes=0x1-0x2", none},
		{"other digits", "bytes=٣-٤", none},
		{"largest", "bytes=9223372036854775806-9223372036854775807", part(most-1, most)},
		{"last saturates", "bytes=0-9223372036854775808", part(0, most)},
		{"both saturate", "bytes=99999999999999999999-99999999999999999998", part(most, most)},
		{"suffix saturates", "bytes=-99999999999999999999999", suffix(most)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := parseRange([]byte(tc.value)); got != tc.want {
				t.Errorf("parseRange(%q) = %+v, want %+v", tc.value, got, tc.want)
			}
		})
	}
}

func TestAppendRange(t *testing.T) {
	for value, want := range map[string]string{
		"bytes=0-9":                    "bytes=0-9",
		"BYTES=,5- ":                   "bytes=5-",
		"bytes=-007":                   "bytes=-7",
		"bytes=0-99999999999999999999": "bytes=0-9223372036854775807",
	} {
		if got := AppendRange([]byte("x"), parseRange([]byte(value))); string(got) != "x"+want {
			t.Errorf("%q became %q, want %q after the x", value, got, want)
		}
	}
}

func TestRangeResolve(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		size        int64
		first, last int64
		ok          bool
	}{
		{"inside", "bytes=2-5", 10, 2, 5, true},
		{"last is clamped", "bytes=2-99", 10, 2, 9, true},
		{"open end", "bytes=2-", 10, 2, 9, true},
		{"last byte", "bytes=9-", 10, 9, 9, true},
		{"first at the end", "bytes=10-", 10, 0, 0, false},
		{"first beyond the end", "bytes=11-20", 10, 0, 0, false},
		{"suffix", "bytes=-3", 10, 7, 9, true},
		{"suffix of the size", "bytes=-10", 10, 0, 9, true},
		{"suffix beyond the size", "bytes=-11", 10, 0, 9, true},
		{"saturated suffix", "bytes=-99999999999999999999", 10, 0, 9, true},
		{"suffix of no bytes", "bytes=-0", 10, 0, 0, false},
		{"empty object, first", "bytes=0-", 0, 0, 0, false},
		{"empty object, suffix", "bytes=-5", 0, 0, -1, false},
		{"no range", "", 10, 0, 0, false},
		{"several parts", "bytes=0-1,3-4", 10, 0, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			first, last, ok := parseRange([]byte(tc.value)).Resolve(tc.size)
			if ok != tc.ok || first != tc.first || last != tc.last {
				t.Errorf("%q of %d: %d-%d %v, want %d-%d %v", tc.value, tc.size, first, last, ok, tc.first, tc.last, tc.ok)
			}
		})
	}
}

func TestParseContentRange(t *testing.T) {
	for _, tc := range []struct {
		name, value       string
		first, last, size int64
	}{
		{"part", "bytes 0-4/10", 0, 4, 10},
		{"whole", "bytes 0-9/10", 0, 9, 10},
		{"unsatisfied", "bytes */10", -1, -1, 10},
		{"unsatisfied and empty", "bytes */0", -1, -1, 0},
		{"unit in another case", "Bytes 1-2/3", 1, 2, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			first, last, size, err := ParseContentRange([]byte(tc.value))
			if err != nil || first != tc.first || last != tc.last || size != tc.size {
				t.Errorf("%q: %d-%d/%d, %v", tc.value, first, last, size, err)
			}
		})
	}
	for _, bad := range []string{
		"", "bytes", "bytes ", "bytes=0-4/10", "items 0-4/10", "bytes 0-4", "bytes 0-4/", "bytes 0-4/*",
		"bytes */*", "bytes 4-0/10", "bytes 0-10/10", "bytes 0-/10", "bytes -4/10", "bytes -0/1", "bytes -00/5", "bytes 0/10", "bytes /10",
		"bytes  0-4/10", "bytes 0-4/10 ", "bytes 0-4/+10", "bytes 0-4/10/10", "bytes 0-4-5/10", "bytes 0-0/0",
		"bytes */9223372036854775807", "bytes */99999999999999999999", "bytes 0-4/99999999999999999999",
	} {
		if first, last, size, err := ParseContentRange([]byte(bad)); err == nil {
			t.Errorf("%q was taken as %d-%d/%d", bad, first, last, size)
		}
	}
}

// rangeAnswer is what a GET with a Range header is answered with.
type rangeAnswer struct {
	status      int
	first, last int64 // with 206
}

// answerRange answers as the gateway does.
func answerRange(value string, size int64) rangeAnswer {
	r := parseRange([]byte(value))
	switch r.Kind {
	case RangeNone, RangeMulti:
		return rangeAnswer{status: 200}
	}
	first, last, ok := r.Resolve(size)
	if !ok {
		return rangeAnswer{status: 416}
	}
	return rangeAnswer{206, first, last}
}

var naiveRangeSpec = regexp.MustCompile(`^(\d*)-(\d*)$`)

// answerRangeNaive is the model: strings, a regular expression and big numbers.
func answerRangeNaive(value string, size int64) rangeAnswer {
	whole := rangeAnswer{status: 200}
	if len(value) < 6 || strings.ToLower(value[:6]) != "bytes=" {
		return whole
	}
	var specs [][]string
	for _, s := range strings.Split(value[6:], ",") {
		if s = strings.Trim(s, " \t"); s == "" {
			continue
		}
		m := naiveRangeSpec.FindStringSubmatch(s)
		if m == nil || m[1] == "" && m[2] == "" {
			return whole
		}
		if m[1] != "" && m[2] != "" && number(m[1]).Cmp(number(m[2])) > 0 && number(m[2]).IsInt64() {
			return whole
		}
		specs = append(specs, m)
	}
	if len(specs) != 1 {
		return whole
	}
	n, end := big.NewInt(size), big.NewInt(size-1)
	first, last := big.NewInt(0), end
	if a, b := specs[0][1], specs[0][2]; a == "" {
		if first.Sub(n, number(b)); first.Sign() < 0 {
			first = big.NewInt(0)
		}
	} else {
		first = number(a)
		if b != "" && number(b).Cmp(end) < 0 {
			last = number(b)
		}
	}
	if first.Cmp(last) > 0 {
		return rangeAnswer{status: 416}
	}
	return rangeAnswer{206, first.Int64(), last.Int64()}
}

func number(s string) *big.Int {
	n, _ := new(big.Int).SetString(s, 10)
	return n
}

// answerRangeHTTP answers as net/http does; first and last are -1 where it
// sends several parts.
func answerRangeHTTP(t *testing.T, value string, size int64) rangeAnswer {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	if value != "" {
		r.Header.Set("Range", value)
	}
	w := httptest.NewRecorder()
	http.ServeContent(w, r, "x.bin", time.Time{}, bytes.NewReader(make([]byte, size)))
	a := rangeAnswer{status: w.Code}
	if a.status == 206 {
		v := w.Header().Get("Content-Range")
		if _, err := fmt.Sscanf(v, "bytes %d-%d/", &a.first, &a.last); err != nil {
			a.first, a.last = -1, -1
		}
	}
	return a
}

// rangeDifferences are the deliberate differences from net/http, each with an
// example that shows it still exists.
var rangeDifferences = []struct {
	name, example string
	size          int64
	in            func(value string, size int64) bool
}{
	{"an invalid range is ignored, not 416 (RFC 9110, 14.2: MAY ignore)", "bytes=5-2", 10,
		func(v string, _ int64) bool { return !validRange.MatchString(v) || descending(v) }},
	{"the unit's case does not matter (RFC 9110, 14.1)", "BYTES=0-1", 10,
		func(v string, _ int64) bool { return !strings.HasPrefix(v, "bytes=") }},
	{"several parts are answered by the whole object", "bytes=0-0,2-3", 10,
		func(v string, _ int64) bool { return len(rangeElements(v)) > 1 }},
	{"a range of an empty object is 416, not 200", "bytes=0-", 0,
		func(_ string, size int64) bool { return size == 0 }},
	{"the last 0 bytes are 416, not an empty 206", "bytes=-0", 10,
		func(v string, _ int64) bool { return zeroSuffix.MatchString(v) }},
	{"numbers beyond int64 saturate, not 416 for all", "bytes=0-9223372036854775808", 10,
		func(v string, _ int64) bool { return tooLong.MatchString(v) }},
	{"no whitespace or sign within a part", "bytes=0 - +5", 10,
		func(v string, _ int64) bool { return strings.Contains(v, "+") || innerSpace.MatchString(v) }},
}

var (
	validRange = regexp.MustCompile(`^bytes=[ \t]*((\d+-\d*|-\d+)?[ \t]*(,[ \t]*|$))+$`)
	zeroSuffix = regexp.MustCompile(`[=, \t]-0+([, \t]|$)`)
	tooLong    = regexp.MustCompile(`\d{19}`)
	innerSpace = regexp.MustCompile(`[ \t]-|-[ \t]+[^, \t]`)
	ascending  = regexp.MustCompile(`(\d+)-(\d+)`)
)

func descending(v string) bool {
	for _, m := range ascending.FindAllStringSubmatch(v, -1) {
		if number(m[1]).Cmp(number(m[2])) > 0 {
			return true
		}
	}
	return false
}

func rangeElements(v string) (found []string) {
	_, set, _ := strings.Cut(v, "=")
	for _, s := range strings.Split(set, ",") {
		if strings.Trim(s, " \t") != "" {
			found = append(found, s)
		}
	}
	return found
}

func TestRangeAgainstHTTP(t *testing.T) {
	for _, d := range rangeDifferences {
		if ours, theirs := answerRange(d.example, d.size), answerRangeHTTP(t, d.example, d.size); ours == theirs || !d.in(d.example, d.size) {
			t.Errorf("%s: %q of %d is no difference: %+v, net/http %+v", d.name, d.example, d.size, ours, theirs)
		}
	}
	compared := make(map[int]int)
	rng := rand.New(rand.NewPCG(1, 2))
cases:
	for range 20000 {
		value, size := randomRange(rng), []int64{0, 1, 2, 10, 100}[rng.IntN(5)]
		ours := answerRange(value, size)
		if naive := answerRangeNaive(value, size); ours != naive {
			t.Fatalf("%q of %d: %+v, the model says %+v", value, size, ours, naive)
		}
		for _, d := range rangeDifferences {
			if d.in(value, size) {
				continue cases
			}
		}
		if theirs := answerRangeHTTP(t, value, size); ours != theirs {
			t.Fatalf("%q of %d: %+v, net/http says %+v", value, size, ours, theirs)
		}
		compared[ours.status]++
	}
	for _, status := range []int{206, 416} {
		if compared[status] < 500 {
			t.Errorf("only %d answers with status %d were compared: %v", compared[status], status, compared)
		}
	}
}

// randomRange returns a Range header, most of them valid.
func randomRange(rng *rand.Rand) string {
	pick := func(s ...string) string { return s[rng.IntN(len(s))] }
	digits := func() string {
		if rng.IntN(30) == 0 {
			return pick("9223372036854775807", "9223372036854775808", "99999999999999999999", "+1", "x", "00")
		}
		return strconv.Itoa(rng.IntN(14))
	}
	spec := func() string {
		a := rng.IntN(10)
		return pick(digits()+"-"+digits(), strconv.Itoa(a)+"-"+strconv.Itoa(a+rng.IntN(10)), digits()+"-", "-"+digits(),
			strconv.Itoa(a)+"-", strconv.Itoa(rng.IntN(120))+"-")
	}
	v := "bytes="
	if rng.IntN(20) == 0 {
		v = pick("Bytes=", "lines=", "bytes =", "bytes", "", "=")
	}
	if rng.IntN(10) == 0 {
		v += pick(",", " ", "\t, ")
	}
	v += spec()
	for rng.IntN(8) == 0 {
		v += pick(",", " , ", ",,", " ", "-") + pick(spec(), "")
	}
	return v
}

func FuzzParseRange(f *testing.F) {
	for _, v := range []string{"bytes=0-5", "bytes=-5", "bytes=5-", "Bytes=,-0, ", "bytes=0-1,3-", "bytes=9-99999999999999999999", "lines=1-2"} {
		f.Add(v, int64(10))
	}
	f.Fuzz(func(t *testing.T, value string, size int64) {
		size &= math.MaxInt64
		ours, naive := answerRange(value, size), answerRangeNaive(value, size)
		if ours != naive {
			t.Fatalf("%q of %d: %+v, the model says %+v", value, size, ours, naive)
		}
		if r := parseRange([]byte(value)); r.Kind == RangeSingle {
			if again := parseRange(AppendRange(nil, r)); again != r {
				t.Fatalf("%q: %+v became %+v", value, r, again)
			}
		}
	})
}
