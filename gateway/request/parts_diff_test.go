package request

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// partsRead is an answer to a Range header, as a client reads it.
type partsRead struct {
	status int
	length int // of the body
	parts  []Part
	bodies [][]byte
}

// readParts reads the answer's parts, and checks what each says of itself.
func readParts(t *testing.T, status int, h http.Header, body []byte, size int64) partsRead {
	t.Helper()
	a := partsRead{status: status, length: len(body)}
	add := func(contentRange string, body []byte) {
		first, last, total, err := ParseContentRange([]byte(contentRange))
		if err != nil || total != size || last-first+1 != int64(len(body)) {
			t.Fatalf("%d bytes as %q: %v", len(body), contentRange, err)
		}
		a.parts, a.bodies = append(a.parts, Part{first, last}), append(a.bodies, body)
	}
	if status != http.StatusPartialContent {
		return a
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" {
		add(h.Get("Content-Range"), body)
		return a
	}
	for r := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return a
		}
		if err != nil {
			t.Fatalf("%v in %q", err, body)
		}
		if got := p.Header.Get("Content-Type"); got != "application/x-test" || len(p.Header) != 2 {
			t.Fatalf("part with the head %v", p.Header)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		add(p.Header.Get("Content-Range"), b)
	}
}

// servedParts answers as the gateway does, servedPartsHTTP as net/http does.
func servedParts(t *testing.T, value string, object []byte) partsRead {
	t.Helper()
	size := int64(len(object))
	var dst [MaxParts]Part
	parts, kind := ResolveParts(&dst, []byte(value), size)
	switch kind {
	case RangeNone:
		return readParts(t, 200, nil, object, size)
	case RangeUnsatisfiable:
		return readParts(t, 416, nil, nil, size)
	case RangeSingle:
		p := parts[0]
		h := http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", p.First, p.Last, size)}}
		return readParts(t, 206, h, object[p.First:p.Last+1], size)
	}
	// As long as the boundaries of net/http, so that lengths compare.
	m := &Multipart{Parts: parts, Size: size, ContentType: []byte("application/x-test"), Boundary: strings.Repeat("b7", 30)}
	var body []byte
	segments, length := m.Segments(nil, object)
	for _, s := range segments {
		body = append(body, s...)
	}
	if len(body) != length {
		t.Errorf("a body of %d bytes is said to have %d", len(body), length)
	}
	return readParts(t, 206, http.Header{"Content-Type": {string(m.AppendType(nil))}}, body, size)
}

func servedPartsHTTP(t *testing.T, value string, object []byte) partsRead {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Range", value)
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/x-test")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(object))
	return readParts(t, w.Code, w.Header(), w.Body.Bytes(), int64(len(object)))
}

// randomRanges returns a Range header of up to 18 elements, each of which is
// valid; most are small and somewhere in the object.
func randomRanges(rnd *rand.Rand, size int) string {
	var v []string
	up := rnd.IntN(2) == 0
	at := 0
	for range 1 + rnd.IntN(1+rnd.IntN(18)) {
		first := rnd.IntN(size + size/8)
		if up {
			at += rnd.IntN(300)
			first = at
		}
		last := first + rnd.IntN(1+rnd.IntN(200))
		at = last
		switch rnd.IntN(12) {
		case 0:
			v = append(v, fmt.Sprintf("-%d", 1+rnd.IntN(size/8)))
		case 1:
			v = append(v, fmt.Sprintf("%d-", size-size/8+rnd.IntN(size/4)))
		default:
			v = append(v, fmt.Sprintf("%d-%d", first, last))
		}
	}
	return "bytes=" + strings.Join(v, ", ")
}

// TestPartsAgainstNetHTTP holds answers against those of net/http, which neither
// joins parts nor limits their number or order.
func TestPartsAgainstNetHTTP(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 5))
	object := make([]byte, 4000)
	for i := range object {
		object[i] = byte(rnd.Uint32())
	}
	count := map[string]int{}
	for range 8_000 {
		value := randomRanges(rnd, len(object))
		ours, theirs := servedParts(t, value, object), servedPartsHTTP(t, value, object)
		for i, p := range ours.parts {
			if !bytes.Equal(ours.bodies[i], object[p.First:p.Last+1]) {
				t.Fatalf("%q: part %d-%d is not the object's", value, p.First, p.Last)
			}
		}
		if (ours.status == 416) != (theirs.status == 416) {
			t.Fatalf("%q: %d, net/http says %d", value, ours.status, theirs.status)
		}
		switch {
		case theirs.status == 200 || theirs.status == 416 || ours.status == 200 && allowedWhole(value, theirs.parts, int64(len(object))):
			count["another status"]++
		case ours.status != 206:
			t.Fatalf("%q: %d, net/http has %v", value, ours.status, theirs.parts)
		case !anyNear(theirs.parts):
			count["parts "+strconv.FormatBool(len(ours.parts) > 1)]++
			if !slices.Equal(ours.parts, theirs.parts) || !slices.EqualFunc(ours.bodies, theirs.bodies, bytes.Equal) || ours.length != theirs.length {
				t.Fatalf("%q: %v in %d bytes, net/http has %v in %d", value, ours.parts, ours.length, theirs.parts, theirs.length)
			}
		default:
			count["joined"]++
			checkJoined(t, value, ours.parts, theirs.parts, len(object))
		}
	}
	for _, name := range []string{"parts true", "parts false", "joined", "another status"} {
		if count[name] < 200 {
			t.Errorf("%d answers of the sort %q; the test says little: %v", count[name], name, count)
		}
	}
}

// allowedWhole tells whether value may be answered by the whole object.
func allowedWhole(value string, parts []Part, size int64) bool {
	descents := 0
	covered := int64(0)
	for i, p := range parts {
		covered += p.Last - p.First + 1
		if i > 0 && p.First < parts[i-1].First {
			descents++
		}
	}
	return strings.Count(value, ",") >= MaxParts || descents > maxDescents || covered+int64(len(parts)*partGap) >= size
}

func anyNear(parts []Part) bool {
	for i, p := range parts {
		if slices.ContainsFunc(parts[i+1:], p.near) {
			return true
		}
	}
	return false
}

// checkJoined tells whether ours are theirs, joined over gaps of less than partGap
// bytes, and nothing else.
func checkJoined(t *testing.T, value string, ours, theirs []Part, size int) {
	t.Helper()
	has := func(parts []Part) []bool {
		in := make([]bool, size)
		for _, p := range parts {
			for i := p.First; i <= p.Last; i++ {
				in[i] = true
			}
		}
		return in
	}
	wanted, sent := has(theirs), has(ours)
	gap, total := 0, 0
	for i := range size {
		if wanted[i] && !sent[i] {
			t.Fatalf("%q: byte %d of %v is not in %v", value, i, theirs, ours)
		}
		if gap++; wanted[i] || !sent[i] {
			gap = 0
		}
		if gap >= partGap {
			t.Fatalf("%q: byte %d of %v is far from %v", value, i, ours, theirs)
		}
		if sent[i] {
			total++
		}
	}
	for _, p := range ours {
		total -= int(p.Last - p.First + 1)
		if !wanted[p.First] || !wanted[p.Last] {
			t.Fatalf("%q: %v begins or ends where %v does not", value, ours, theirs)
		}
	}
	if total != 0 || anyNear(ours) {
		t.Fatalf("%q: %v are not apart", value, ours)
	}
}
