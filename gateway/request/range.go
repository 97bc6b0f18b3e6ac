package request

import (
	"bytes"
	"errors"
	"math"
	"strconv"

	"yatagarasu/cache"
)

// RangeKind says what a Range header asks for.
type RangeKind uint8

const (
	RangeNone          RangeKind = iota // absent, or to be ignored: the whole object
	RangeSingle                         // one part
	RangeMulti                          // several parts
	RangeUnsatisfiable                  // no byte of the object; of any object: the last 0 bytes
)

// ByteRange is a parsed Range header, RFC 9110 section 14.1.2. The zero value
// asks for the whole object.
type ByteRange struct {
	Kind  RangeKind
	First int64 // of RangeSingle: the first byte; less than 0: as many bytes at the end
	Last  int64 // of RangeSingle: the last byte; -1: the object's last
}

// parseRange parses the value of a Range header, RFC 9110 section 14.2. A value in another unit
// or with an error anywhere is ignored, as that section allows; empty list elements do not
// count (section 5.6.1.2). Numbers beyond int64 become the largest: no object has such a byte.
//
// Hot path: zero allocations, guarded by TestRangeAllocs.
func parseRange(v []byte) ByteRange {
	var found ByteRange
	for spec := range bytes.SplitSeq(rangeSet(v), comma) {
		if spec = cache.TrimOWS(spec); len(spec) == 0 {
			continue
		}
		r, ok := parseRangeSpec(spec)
		if !ok {
			return ByteRange{}
		}
		if found.Kind != RangeNone {
			r = ByteRange{Kind: RangeMulti}
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

var comma = []byte(",")

// parseRangeSpec parses "first-", "first-last" or "-suffix".
func parseRangeSpec(spec []byte) (r ByteRange, ok bool) {
	a, b, ok := bytes.Cut(spec, []byte("-"))
	if !ok {
		return ByteRange{}, false
	}
	first, okFirst := ParseDigits(a)
	last, okLast := ParseDigits(b)
	switch {
	case len(a) == 0 && okLast && last == 0:
		return ByteRange{Kind: RangeUnsatisfiable}, true
	case len(a) == 0 && okLast:
		return ByteRange{Kind: RangeSingle, First: -last, Last: -1}, true
	case okFirst && len(b) == 0:
		return ByteRange{Kind: RangeSingle, First: first, Last: -1}, true
	case okFirst && okLast && first <= last:
		return ByteRange{Kind: RangeSingle, First: first, Last: last}, true
	}
	return ByteRange{}, false
}

// ParseDigits parses 1*DIGIT. A number that does not fit becomes the largest int64.
func ParseDigits(b []byte) (n int64, ok bool) {
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

// AppendRange appends the canonical value of a Range header with r, a RangeSingle.
func AppendRange(dst []byte, r ByteRange) []byte {
	dst = strconv.AppendInt(append(dst, "bytes="...), r.First, 10) // a suffix brings its sign
	if r.First >= 0 {
		dst = append(dst, '-')
	}
	if r.Last >= 0 {
		dst = strconv.AppendInt(dst, r.Last, 10)
	}
	return dst
}

// Resolve returns the bytes first to last, inclusive, that r means of an object of size bytes.
// It is not ok if there are none, which 416 answers, and for other kinds than RangeSingle. A
// last byte beyond the end is the end; a suffix longer than the object is all of it (RFC 9110
// section 14.1.2).
func (r ByteRange) Resolve(size int64) (first, last int64, ok bool) {
	if r.Kind != RangeSingle || r.First >= size {
		return 0, 0, false
	}
	last = size - 1
	if r.First < 0 {
		return max(size+r.First, 0), last, size > 0
	}
	if r.Last >= 0 {
		last = min(last, r.Last)
	}
	return r.First, last, true
}

var errContentRange = errors.New("malformed Content-Range")

// ParseContentRange parses "bytes first-last/size", or "bytes */size" with first and last -1
// (RFC 9110 section 14.4). An unknown size, which that section allows, is an error: no object
// store sends one.
func ParseContentRange(v []byte) (first, last, size int64, err error) {
	const unit = "bytes "
	if len(v) < len(unit) || !bytes.EqualFold(v[:len(unit)], []byte(unit)) {
		return 0, 0, 0, errContentRange
	}
	part, total, ok := bytes.Cut(v[len(unit):], []byte("/"))
	size, okSize := ParseDigits(total)
	if !ok || !okSize || size == math.MaxInt64 {
		return 0, 0, 0, errContentRange
	}
	if string(part) == "*" {
		return -1, -1, size, nil
	}
	r, ok := parseRangeSpec(part)
	if !ok || r.Kind != RangeSingle || r.First < 0 || r.Last < 0 || r.Last >= size {
		return 0, 0, 0, errContentRange
	}
	return r.First, r.Last, size, nil
}
