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
	rangeNone          rangeKind = iota // absent, or to be ignored: the whole object
	rangeSingle                         // one part
	rangeMulti                          // several parts, or one of several
	rangeUnsatisfiable                  // a part that no object has: the last 0 bytes
)

// byteRange is a parsed Range header, RFC 9110 section 14.1.2. The zero value
// asks for the whole object.
type byteRange struct {
	kind   rangeKind
	first  int64 // with rangeSingle: first byte; -1: the last suffix bytes
	last   int64 // with rangeSingle: last byte; -1: to the end
	suffix int64 // with first -1: number of bytes at the end, at least 1
}

// parseRange parses the value of a Range header, RFC 9110 section 14.2. A value
// in another unit or with an error anywhere is ignored, as that section allows;
// empty list elements are none (section 5.6.1.2). Numbers beyond int64 become
// the largest: no object has such a byte.
//
// Hot path: zero allocations, guarded by TestRangeAllocs.
func parseRange(v []byte) byteRange {
	var found byteRange
	for spec, rest := nextRangeSpec(rangeSet(v)); spec != nil; spec, rest = nextRangeSpec(rest) {
		r, ok := parseRangeSpec(spec)
		if !ok {
			return byteRange{}
		}
		if found.kind != rangeNone {
			r = byteRange{kind: rangeMulti}
		}
		found = r
	}
	return found
}

// rangeSet returns the elements of the value of a Range header; nil in another unit.
func rangeSet(v []byte) []byte {
	unit, set, ok := bytes.Cut(v, []byte("="))
	if !ok || !bytes.EqualFold(unit, []byte("bytes")) {
		return nil
	}
	return set
}

// nextRangeSpec returns the first element of set that is not empty, and what follows it;
// nil if there is none.
func nextRangeSpec(set []byte) (spec, rest []byte) {
	for len(set) > 0 {
		spec, set, _ = bytes.Cut(set, []byte(","))
		if spec = trimOWS(spec); len(spec) > 0 {
			return spec, set
		}
	}
	return nil, nil
}

// parseRangeSpec parses "first-", "first-last" or "-suffix".
func parseRangeSpec(spec []byte) (r byteRange, ok bool) {
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

// trimOWS returns b without the optional whitespace around it, RFC 9110 section
// 5.6.3.
func trimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// parseDigits parses 1*DIGIT; what does not fit becomes the largest int64.
func parseDigits(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if d := int64(c - '0'); n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
		} else {
			n = n*10 + d
		}
	}
	return n, len(b) > 0
}

// appendRange appends the canonical value of r, which must be a rangeSingle.
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

// resolve returns the bytes first to last, inclusive, that r means of an object
// of size bytes. ok is false where they are none, which is answered by 416, and
// for other kinds than rangeSingle. A last byte beyond the end is the end; a
// suffix longer than the object is all of it (RFC 9110 section 14.1.2).
func (r byteRange) resolve(size int64) (first, last int64, ok bool) {
	if r.kind != rangeSingle || r.first >= size {
		return 0, 0, false
	}
	last = size - 1
	if r.first < 0 {
		return max(size-r.suffix, 0), last, size > 0
	}
	if r.last >= 0 {
		last = min(last, r.last)
	}
	return r.first, last, true
}

var errContentRange = errors.New("malformed Content-Range")

// parseContentRange parses "bytes first-last/size" or "bytes */size", RFC 9110
// section 14.4; for the latter first and last are -1. An unknown size, which
// that section allows, is refused: no object store has one.
func parseContentRange(v []byte) (first, last, size int64, err error) {
	const unit = "bytes "
	if len(v) < len(unit) || !bytes.EqualFold(v[:len(unit)], []byte(unit)) {
		return 0, 0, 0, errContentRange
	}
	part, total, ok := bytes.Cut(v[len(unit):], []byte("/"))
	size, okSize := parseDigits(total)
	if !ok || !okSize || size == math.MaxInt64 {
		return 0, 0, 0, errContentRange
	}
	if string(part) == "*" {
		return -1, -1, size, nil
	}
	a, b, ok := bytes.Cut(part, []byte("-"))
	first, okFirst := parseDigits(a)
	last, okLast := parseDigits(b)
	if !ok || !okFirst || !okLast || first > last || last >= size {
		return 0, 0, 0, errContentRange
	}
	return first, last, size, nil
}
