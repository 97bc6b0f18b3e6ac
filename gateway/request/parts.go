package request

import (
	"bytes"
	"strconv"

	"yatagarasu/cache"
)

const (
	// MaxParts is the most elements of a Range header: one with more is ignored.
	MaxParts = 16
	// partGap is the least number of bytes between two parts. Closer ones are sent as
	// one: the head of a part costs as much (RFC 9110 section 15.3.7.2).
	partGap = 80
	// maxDescents is the most parts that begin before the part that they follow. A
	// reader of a trailer goes back once or twice (RFC 9110 section 17.15).
	maxDescents = 2
)

// Part is the bytes first to last of an object, inclusive.
type Part struct{ First, Last int64 }

// ResolveParts parses v, the value of a Range header (RFC 9110 section 14.2), and returns the
// parts that it means of an object of size bytes. Their memory is dst, which the caller owns:
//
//	RangeSingle         one part; the answer is 206 with Content-Range
//	RangeMulti          at least two parts; the answer is 206, multipart/byteranges
//	RangeUnsatisfiable  no part; the answer is 416
//	RangeNone           no part; the header is to be ignored
//
// One element means what parseRange and Resolve make of it. Of several, those without a byte
// in the object are dropped, and those that overlap or are less than partGap apart become one,
// in the place of the first of them; otherwise the order is the client's. The header is ignored
// as by parseRange, and also if it has more than MaxParts elements, goes back more than
// maxDescents times, or comes to the whole object by several elements.
//
// Hot path: zero allocations, guarded by TestPartsAllocs.
func ResolveParts(dst *[MaxParts]Part, v []byte, size int64) ([]Part, RangeKind) {
	parts := dst[:0]
	elements, satisfiable := 0, 0
	for spec := range bytes.SplitSeq(rangeSet(v), comma) {
		if spec = cache.TrimOWS(spec); len(spec) == 0 {
			continue
		}
		r, ok := parseRangeSpec(spec)
		if elements++; !ok || elements > MaxParts {
			return nil, RangeNone
		}
		if first, last, ok := r.Resolve(size); ok {
			satisfiable++
			parts = addPart(parts, Part{first, last})
		}
	}
	switch {
	case elements == 0:
		return nil, RangeNone
	case satisfiable == 0:
		return nil, RangeUnsatisfiable
	case satisfiable > 1 && excessive(parts, size):
		return nil, RangeNone
	case len(parts) == 1:
		return parts, RangeSingle
	}
	return parts, RangeMulti
}

// addPart adds p to parts, which are at least partGap apart, and keeps them so.
func addPart(parts []Part, p Part) []Part {
	// p grows by the parts near to it, and takes the place of the first of them.
	at, kept := -1, 0
	for _, q := range parts {
		if p.near(q) {
			p = Part{min(p.First, q.First), max(p.Last, q.Last)}
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
func (p Part) near(q Part) bool {
	return max(p.First, q.First)-min(p.Last, q.Last)-1 < partGap
}

// AppendContentRange appends the value of Content-Range for p of an object of size bytes.
func (p Part) AppendContentRange(dst []byte, size int64) []byte {
	dst = append(strconv.AppendInt(append(dst, "bytes "...), p.First, 10), '-')
	return strconv.AppendInt(append(strconv.AppendInt(dst, p.Last, 10), '/'), size, 10)
}

// excessive tells whether parts have as many bytes as the object, or an order without an
// apparent reason.
func excessive(parts []Part, size int64) bool {
	var total int64
	descents := 0
	for i, p := range parts {
		total += p.Last - p.First + 1
		if i > 0 && p.First < parts[i-1].First {
			descents++
		}
	}
	return total >= size || descents > maxDescents
}

// Multipart is a body of type multipart/byteranges (RFC 9110 section 14.6): a head and the bytes
// of each part, then an end. The caller owns its slices.
type Multipart struct {
	Parts       []Part
	Size        int64  // size of the object
	ContentType []byte // that of the object; empty: unknown
	// Boundary delimits the parts: a token of at most 70 characters (RFC 2046 section
	// 5.1.1). It must not be in the object, so nobody may be able to guess it.
	Boundary string
}

// AppendType appends the Content-Type of the answer.
func (m *Multipart) AppendType(dst []byte) []byte {
	return append(append(dst, "multipart/byteranges; boundary="...), m.Boundary...)
}

// Segments appends the whole body to dst, in pieces, and returns how long it is. What is of the
// object is not copied.
func (m *Multipart) Segments(dst [][]byte, object []byte) (segments [][]byte, length int) {
	segments = dst
	for i, p := range m.Parts {
		segments = append(segments, m.appendHead(nil, i), object[p.First:p.Last+1])
	}
	segments = append(segments, m.appendEnd(nil))
	for _, s := range segments[len(dst):] {
		length += len(s)
	}
	return segments, length
}

// appendHead appends the head of part i, which comes before its bytes.
func (m *Multipart) appendHead(dst []byte, i int) []byte {
	// The line break before a delimiter belongs to it (RFC 2046 section 5.1.1).
	if i > 0 {
		dst = append(dst, "\r\n"...)
	}
	dst = append(append(append(dst, "--"...), m.Boundary...), "\r\n"...)
	if len(m.ContentType) > 0 {
		dst = append(append(append(dst, "Content-Type: "...), m.ContentType...), "\r\n"...)
	}
	return append(m.Parts[i].AppendContentRange(append(dst, "Content-Range: "...), m.Size), "\r\n\r\n"...)
}

// appendEnd appends the end, which comes behind the bytes of the last part.
func (m *Multipart) appendEnd(dst []byte) []byte {
	return append(append(append(dst, "\r\n--"...), m.Boundary...), "--\r\n"...)
}
