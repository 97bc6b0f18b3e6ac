package request

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// partsText writes what ResolveParts returns as a test has it: the parts, or what
// is answered instead of them.
func partsText(parts []Part, kind RangeKind) string {
	switch kind {
	case RangeNone:
		return "whole"
	case RangeUnsatisfiable:
		return "416"
	}
	var text []string
	for _, p := range parts {
		text = append(text, fmt.Sprintf("%d-%d", p.First, p.Last))
	}
	if (kind == RangeMulti) != (len(parts) > 1) {
		text = append(text, fmt.Sprintf("with kind %d", kind))
	}
	return strings.Join(text, " ")
}

func TestResolveParts(t *testing.T) {
	far := func(n int) string { // n parts far from each other
		var v []string
		for i := range n {
			v = append(v, fmt.Sprintf("%d-%d", 100*i, 100*i))
		}
		return strings.Join(v, ",")
	}
	for _, tc := range []struct {
		name, value string
		size        int64
		want        string
	}{
		{"absent", "", 1000, "whole"},
		{"other unit", "lines=0-0,500-500", 1000, "whole"},
		{"no =", "bytes", 1000, "whole"},
		{"no element", "bytes=, ,", 1000, "whole"},
		{"syntax error", "bytes=0-0,x", 1000, "whole"},
		{"syntax error in the first element", "bytes=5-2,0-0", 1000, "whole"},
		{"syntax error behind what no object has", "bytes=5000-,5-2", 1000, "whole"},
		{"whitespace within an element", "bytes=0-0,500 -500", 1000, "whole"},

		{"one element", "bytes=5-9", 1000, "5-9"},
		{"one element has all of the object", "bytes=0-", 1000, "0-999"},
		{"one suffix has all of the object", "bytes=-5000", 1000, "0-999"},
		{"unit in another case, empty elements, whitespace", "BYTES=,\t5-9 ,,", 1000, "5-9"},
		{"one element beyond the end", "bytes=1000-", 1000, "416"},
		{"one suffix of no bytes", "bytes=-0", 1000, "416"},

		{"two", "bytes=0-9,500-509", 1000, "0-9 500-509"},
		{"two with whitespace and empty elements", "bytes= 0-9 ,, \t500-509,", 1000, "0-9 500-509"},
		{"first, open end, suffix", "bytes=0-9,400-400,-10", 1000, "0-9 400-400 990-999"},
		{"last is clamped", "bytes=0-9,990-5000", 1000, "0-9 990-999"},
		{"the client's order is kept", "bytes=500-509,0-9", 1000, "500-509 0-9"},
		{"saturated numbers", "bytes=0-9,990-99999999999999999999", 1000, "0-9 990-999"},

		{"what no object has is dropped", "bytes=1000-,0-9,-0,500-509", 1000, "0-9 500-509"},
		{"one of several is left", "bytes=1000-,0-9", 1000, "0-9"},
		{"one of several is left and has all of the object", "bytes=0-999,1000-", 1000, "0-999"},
		{"none of several is left", "bytes=1000-,-0,2000-3000", 1000, "416"},
		{"empty object", "bytes=0-,-5", 0, "416"},

		{"overlapping", "bytes=0-9,5-14", 1000, "0-14"},
		{"overlapping, last first", "bytes=5-14,0-9", 1000, "0-14"},
		{"one within another", "bytes=0-99,5-9", 1000, "0-99"},
		{"one around another", "bytes=5-9,0-99", 1000, "0-99"},
		{"the same twice", "bytes=5-9,5-9", 1000, "5-9"},
		{"touching", "bytes=0-9,10-19", 1000, "0-19"},
		{"gap of 79", "bytes=0-9,89-99", 1000, "0-99"},
		{"gap of 80", "bytes=0-9,90-99", 1000, "0-9 90-99"},
		{"gap of 79, last first", "bytes=89-99,0-9", 1000, "0-99"},
		{"gap of 80, last first", "bytes=90-99,0-9", 1000, "90-99 0-9"},
		{"one bridges two", "bytes=0-9,200-209,50-180", 1000, "0-209"},
		{"one bridges two, the later first", "bytes=200-209,500-509,0-9,50-180", 1000, "0-209 500-509"},
		{"one bridges all", "bytes=0-9,300-309,600-609,5-605", 1000, "0-609"},
		{"what is made one comes in the place of its first", "bytes=500-509,0-9,800-809,505-514", 1000, "500-514 0-9 800-809"},

		{"all of the object by two", "bytes=0-499,500-999", 1000, "whole"},
		{"all of the object by two that overlap", "bytes=0-,0-", 1000, "whole"},
		{"all of the object but a gap", "bytes=0-449,500-999", 1000, "whole"},
		{"all of the object but its last byte", "bytes=0-449,500-998", 1000, "0-998"},
		{"all of the object and more by one and another", "bytes=0-,5-6", 1000, "whole"},

		{"16 elements", "bytes=" + far(16), 10000, strings.ReplaceAll(far(16), ",", " ")},
		{"17 elements", "bytes=" + far(17), 10000, "whole"},
		{"17 elements, all the same", "bytes=" + strings.Repeat("0-0,", 17), 10000, "whole"},
		{"16 elements and empty ones", "bytes=" + strings.Repeat("0-0, ,", 16), 10000, "0-0"},
		{"17 elements that no object has", "bytes=" + strings.Repeat("99999-,", 17), 10000, "whole"},
		{"16 elements that no object has", "bytes=" + strings.Repeat("99999-,", 16), 10000, "416"},
		{"100,000 elements", "bytes=" + strings.Repeat("0-,", 100_000), 10000, "whole"},

		{"back twice", "bytes=600-600,300-300,0-0", 1000, "600-600 300-300 0-0"},
		{"back three times", "bytes=900-900,600-600,300-300,0-0", 1000, "whole"},
		{"back three times, with others", "bytes=100-100,0-0,300-300,200-200,500-500,400-400", 1000, "whole"},
		{"back three times, but near", "bytes=900-900,890-890,880-880,0-0", 1000, "880-900 0-0"},

		{"largest object", "bytes=0-0,-1", math.MaxInt64, "0-0 9223372036854775806-9223372036854775806"},
		{"largest object, all but 80", "bytes=0-9223372036854775000,9223372036854775081-", math.MaxInt64, "0-9223372036854775000 9223372036854775081-9223372036854775806"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var dst [MaxParts]Part
			if got := partsText(ResolveParts(&dst, []byte(tc.value), tc.size)); got != tc.want {
				t.Errorf("%.100q of %d: %s, want %s", tc.value, tc.size, got, tc.want)
			}
		})
	}
}

// resolvePartsNaive is the model: one element at a time by the model of single
// ranges, then parts are joined until no two are near. A part that has been joined
// stays with the first of its elements.
func resolvePartsNaive(value string, size int64) string {
	if len(value) < 6 || strings.ToLower(value[:6]) != "bytes=" {
		return "whole"
	}
	var parts []Part
	elements, satisfiable := 0, 0
	for _, spec := range strings.Split(value[6:], ",") {
		if strings.Trim(spec, " \t") == "" {
			continue
		}
		elements++
		switch a := answerRangeNaive("bytes="+spec, size); a.status {
		case 200:
			return "whole"
		case 206:
			parts = append(parts, Part{a.first, a.last})
			satisfiable++
		}
	}
	for joined := true; joined; {
		joined = false
		for i := range parts {
			for j := i + 1; j < len(parts); j++ {
				p, q := parts[i], parts[j]
				if q.First < p.First {
					p, q = q, p
				}
				if q.First < p.Last+1+80 && !joined {
					parts[i] = Part{p.First, max(p.Last, q.Last)}
					parts = slices.Delete(parts, j, j+1)
					joined = true
				}
			}
		}
	}
	var total int64
	descents := 0
	for i, p := range parts {
		total += p.Last - p.First + 1
		if i > 0 && p.First < parts[i-1].First {
			descents++
		}
	}
	switch {
	case elements == 0 || elements > 16 || satisfiable > 1 && (total >= size || descents > 2):
		return "whole"
	case satisfiable == 0:
		return "416"
	case len(parts) == 1:
		return partsText(parts, RangeSingle)
	}
	return partsText(parts, RangeMulti)
}

func FuzzResolveParts(f *testing.F) {
	for _, v := range []string{
		"", "bytes=0-9,500-509", "Bytes=,0- ,\t-5", "bytes=500-509,0-9,800-809,505-514", "bytes=-0,5000-", "bytes=0-9,89-99,5-2",
		"bytes=900-900,600-600,300-300,0-0", "bytes=0-449,500-999", "bytes=" + strings.Repeat("0-0,", 17), "bytes=99999999999999999999-,0-0",
	} {
		f.Add(v, int64(1000))
		f.Add(v, int64(0))
		f.Add(v, int64(1)<<45)
	}
	f.Fuzz(func(t *testing.T, value string, size int64) {
		if size < 0 || size > 1<<60 || len(value) > 1<<12 {
			return // no object has such a size; the model adds without care
		}
		var dst [MaxParts]Part
		parts, kind := ResolveParts(&dst, []byte(value), size)
		if got, want := partsText(parts, kind), resolvePartsNaive(value, size); got != want {
			t.Fatalf("%q of %d: %s, the model says %s", value, size, got, want)
		}
		if !strings.Contains(value, ",") {
			r := parseRange([]byte(value))
			first, last, ok := r.Resolve(size)
			if (kind == RangeNone) != (r.Kind == RangeNone) || ok != (kind == RangeSingle) || ok && parts[0] != (Part{first, last}) {
				t.Fatalf("%q of %d: %s, but %d-%d %v as a single range", value, size, partsText(parts, kind), first, last, ok)
			}
		}
	})
}

func TestMultipartBody(t *testing.T) {
	m := &Multipart{Parts: []Part{{0, 4}, {995, 1004}}, Size: 12345, ContentType: []byte("text/plain; charset=utf-8"), Boundary: "THIS_STRING_SEPARATES"}
	if got := string(m.AppendType([]byte("x"))); got != "xmultipart/byteranges; boundary=THIS_STRING_SEPARATES" {
		t.Errorf("type %q", got)
	}
	for i, want := range []string{
		"x--THIS_STRING_SEPARATES\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 0-4/12345\r\n\r\n",
		"x\r\n--THIS_STRING_SEPARATES\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 995-1004/12345\r\n\r\n",
	} {
		if got := string(m.appendHead([]byte("x"), i)); got != want {
			t.Errorf("head of part %d: %q, want %q", i, got, want)
		}
	}
	if got := string(m.appendEnd([]byte("x"))); got != "x\r\n--THIS_STRING_SEPARATES--\r\n" {
		t.Errorf("end %q", got)
	}
	m.ContentType = nil
	if got := string(m.appendHead(nil, 0)); got != "--THIS_STRING_SEPARATES\r\nContent-Range: bytes 0-4/12345\r\n\r\n" {
		t.Errorf("head without a type: %q", got)
	}
	m.Size = math.MaxInt64
	m.Parts = []Part{{1e15 - 1, 1e15}}
	if got := string(m.appendHead(nil, 0)); got != "--THIS_STRING_SEPARATES\r\nContent-Range: bytes 999999999999999-1000000000000000/9223372036854775807\r\n\r\n" {
		t.Errorf("head of a large object: %q", got)
	}
}
