package gateway

import (
	"strconv"
)

const (
	// maxParts is the number of elements from which on a Range header is ignored.
	maxParts = 16
	// partGap is the number of bytes between two parts below which they are sent
	// as one: about what the head of a part costs (RFC 9110 section 15.3.7.2).
	partGap = 80
	// maxDescents is how many parts may begin before the one that they follow.
	// Readers of a trailer go back once or twice (RFC 9110 section 17.15).
	maxDescents = 2
)

// bytePart is the bytes first to last of an object, inclusive.
type bytePart struct{ first, last int64 }

// resolveParts parses the value of a Range header (RFC 9110 section 14.2) and
// returns the parts that it means of an object of size bytes, in dst, which the
// caller owns:
//
//	rangeSingle         one part; the answer is 206 with Content-Range
//	rangeMulti          at least two parts; the answer is 206, multipart/byteranges
//	rangeUnsatisfiable  no part; the answer is 416
//	rangeNone           no part; the header is to be ignored
//
// One element means what parseRange and resolve make of it. Of several, those
// without a byte in the object are dropped, and those that overlap or are less
// than partGap apart become one, in the place of the first of them; otherwise the
// order is the client's. The parts are at least partGap apart and hold fewer bytes
// than the object, unless one element alone has all of them. The header is ignored
// as by parseRange, and when it has more than maxParts elements, goes back more
// than maxDescents times, or comes to the whole object by several elements.
//
// Hot path: zero allocations, guarded by TestPartsAllocs.
func resolveParts(dst *[maxParts]bytePart, v []byte, size int64) ([]bytePart, rangeKind) {
	parts := dst[:0]
	elements, satisfiable := 0, 0
	for spec, rest := nextRangeSpec(rangeSet(v)); spec != nil; spec, rest = nextRangeSpec(rest) {
		r, ok := parseRangeSpec(spec)
		if elements++; !ok || elements > maxParts {
			return nil, rangeNone
		}
		if first, last, ok := r.resolve(size); ok {
			satisfiable++
			parts = addPart(parts, bytePart{first, last})
		}
	}
	switch {
	case elements == 0:
		return nil, rangeNone
	case satisfiable == 0:
		return nil, rangeUnsatisfiable
	case satisfiable > 1 && excessive(parts, size):
		return nil, rangeNone
	case len(parts) == 1:
		return parts, rangeSingle
	}
	return parts, rangeMulti
}

// addPart adds p to parts, which are at least partGap apart, and keeps them so.
func addPart(parts []bytePart, p bytePart) []bytePart {
	// The part that p has become comes in the place of the first one that it took.
	at, kept := -1, 0
	for _, q := range parts {
		if p.near(q) {
			p = bytePart{min(p.first, q.first), max(p.last, q.last)}
			if at >= 0 {
				continue
			}
			at = kept
		}
		parts[kept] = q
		kept++
	}
	parts = parts[:kept]
	if at < 0 {
		return append(parts, p)
	}
	parts[at] = p
	return parts
}

// near tells whether p and q overlap or are less than partGap bytes apart.
func (p bytePart) near(q bytePart) bool {
	return max(p.first, q.first)-min(p.last, q.last)-1 < partGap
}

// excessive tells whether parts are no less than the object, or in an order that
// has no apparent reason.
func excessive(parts []bytePart, size int64) bool {
	var total int64
	descents := 0
	for i, p := range parts {
		total += p.last - p.first + 1
		if i > 0 && p.first < parts[i-1].first {
			descents++
		}
	}
	return total >= size || descents > maxDescents
}

// multipartBody is a body of type multipart/byteranges, RFC 9110 section 14.6, of
// an object: before each part's bytes its head, and an end. Its slices are the
// caller's.
type multipartBody struct {
	parts       []bytePart
	size        int64  // of the object
	contentType []byte // of the object; empty: not known
	// boundary delimits the parts. It is a token of at most 70 characters (RFC 2046
	// section 5.1.1) that cannot be guessed, for it must not be in the object.
	boundary []byte
}

// appendType appends the Content-Type of the answer.
func (m *multipartBody) appendType(dst []byte) []byte {
	return append(append(dst, "multipart/byteranges; boundary="...), m.boundary...)
}

// appendHead appends what comes before the bytes of parts[i].
func (m *multipartBody) appendHead(dst []byte, i int) []byte {
	// The line break before a delimiter belongs to it (RFC 2046 section 5.1.1).
	if i > 0 {
		dst = append(dst, "\r\n"...)
	}
	dst = append(append(append(dst, "--"...), m.boundary...), "\r\n"...)
	if len(m.contentType) > 0 {
		dst = append(append(append(dst, "Content-Type: "...), m.contentType...), "\r\n"...)
	}
	dst = append(dst, "Content-Range: bytes "...)
	dst = append(strconv.AppendInt(dst, m.parts[i].first, 10), '-')
	dst = append(strconv.AppendInt(dst, m.parts[i].last, 10), '/')
	return append(strconv.AppendInt(dst, m.size, 10), "\r\n\r\n"...)
}

// appendEnd appends what comes behind the bytes of the last part.
func (m *multipartBody) appendEnd(dst []byte) []byte {
	return append(append(append(dst, "\r\n--"...), m.boundary...), "--\r\n"...)
}

// length returns the Content-Length of the answer.
func (m *multipartBody) length() int64 {
	const delimiter, contentType, contentRange, end = "\r\n--\r\n", "Content-Type: \r\n", "Content-Range: bytes -/\r\n\r\n", "\r\n----\r\n"
	head := len(delimiter) + len(m.boundary) + len(contentRange) + digits(m.size)
	if len(m.contentType) > 0 {
		head += len(contentType) + len(m.contentType)
	}
	n := int64(len(end) + len(m.boundary) - len("\r\n"))
	for _, p := range m.parts {
		n += int64(head+digits(p.first)+digits(p.last)) + p.last - p.first + 1
	}
	return n
}

// digits returns the number of decimal digits of n, which is not negative.
func digits(n int64) int {
	d := 1
	for ; n > 9; n /= 10 {
		d++
	}
	return d
}
