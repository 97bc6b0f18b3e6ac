package gateway

import (
	"bytes"
	"errors"
	"math"
	"strconv"
)

// rangeKind says what a Range header asks for.
type rangeKind uint8

const (
	rangeNone          rangeKind = iota // absent, or to be ignored
	rangeSingle                         // one part
	rangeMulti                          // several parts
	rangeUnsatisfiable                  // a part that no object has: the last 0 bytes
)

// byteRange is a parsed Range header, RFC 9110 section 14.1.2.
type byteRange struct {
	kind   rangeKind
	first  int64 // first byte; -1: suffix
	last   int64 // last byte; -1: to the end
	suffix int64 // with first -1: number of bytes at the end
}

// parseRange parses the value of a Range header. Values in another unit, and
// invalid ones, are ignored, as RFC 9110 section 14.2 allows. Numbers beyond
// int64 saturate.
func parseRange(v []byte) byteRange {
	unit, set, ok := bytes.Cut(v, []byte("="))
	if !ok || !bytes.EqualFold(bytes.Trim(unit, " \t"), []byte("bytes")) {
		return byteRange{}
	}
	var found byteRange
	for more := true; more; {
		var spec []byte
		spec, set, more = bytes.Cut(set, []byte(","))
		spec = bytes.Trim(spec, " \t")
		if len(spec) == 0 {
			continue
		}
		r, ok := parseRangeSpec(spec)
		if !ok {
			return byteRange{}
		}
		if found.kind != rangeNone {
			r.kind = rangeMulti
		}
		found = r
	}
	return found
}

func parseRangeSpec(spec []byte) (byteRange, bool) {
	a, b, ok := bytes.Cut(spec, []byte("-"))
	if !ok {
		return byteRange{}, false
	}
	first, okFirst := parseDigits(a)
	last, okLast := parseDigits(b)
	switch {
	case len(a) == 0 && okLast && last == 0:
		return byteRange{kind: rangeUnsatisfiable}, true
	case len(a) == 0 && okLast:
		return byteRange{kind: rangeSingle, first: -1, last: -1, suffix: last}, true
	case okFirst && len(b) == 0:
		return byteRange{kind: rangeSingle, first: first, last: -1}, true
	case okFirst && okLast && first <= last:
		return byteRange{kind: rangeSingle, first: first, last: last}, true
	}
	return byteRange{}, false
}

// parseDigits parses 1*DIGIT; what does not fit becomes the largest int64.
func parseDigits(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		d := int64(c - '0')
		if n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
		} else {
			n = n*10 + d
		}
	}
	return n, len(b) > 0
}

// appendRange appends the canonical value of a single range.
func appendRange(dst []byte, r byteRange) []byte {
	dst = append(dst, "bytes="...)
	if r.first < 0 {
		return strconv.AppendInt(append(dst, '-'), r.suffix, 10)
	}
	dst = append(strconv.AppendInt(dst, r.first, 10), '-')
	if r.last >= 0 {
		dst = strconv.AppendInt(dst, r.last, 10)
	}
	return dst
}

// resolve returns the bytes that a single range means of size bytes; ok is
// false where it is not satisfiable.
func (r byteRange) resolve(size int64) (first, last int64, ok bool) {
	if r.kind != rangeSingle || size <= 0 {
		return 0, 0, false
	}
	if r.first < 0 {
		return max(size-r.suffix, 0), size - 1, r.suffix > 0
	}
	last = size - 1
	if r.last >= 0 {
		last = min(last, r.last)
	}
	return r.first, last, r.first < size
}

var errContentRange = errors.New("malformed Content-Range")

// parseContentRange parses "bytes first-last/size" or "bytes */size", RFC 9110
// section 14.4; for the latter first and last are -1.
func parseContentRange(v []byte) (first, last, size int64, err error) {
	rest, ok := bytes.CutPrefix(v, []byte("bytes "))
	part, total, ok2 := bytes.Cut(rest, []byte("/"))
	size, ok3 := parseDigits(total)
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, errContentRange
	}
	if string(part) == "*" {
		return -1, -1, size, nil
	}
	a, b, ok := bytes.Cut(part, []byte("-"))
	first, ok2 = parseDigits(a)
	last, ok3 = parseDigits(b)
	if !ok || !ok2 || !ok3 || first > last || last >= size {
		return 0, 0, 0, errContentRange
	}
	return first, last, size, nil
}
