//go:build !race

package gateway

import (
	"strings"
	"testing"
)

func TestPartsAllocs(t *testing.T) {
	value := []byte("Bytes=, 500-509, 0-9, 800-809 ,505-514,5000-,-0")
	most := []byte("bytes=" + strings.Repeat("0-0,", maxParts+1))
	m := multipartBody{size: 1000, contentType: []byte("text/plain"), boundary: []byte("0123456789abcdef")}
	var dst [maxParts]bytePart
	var kind, mostKind rangeKind
	var text []byte
	var length int64
	run := func() {
		_, mostKind = resolveParts(&dst, most, 1000)
		m.parts, kind = resolveParts(&dst, value, 1000)
		text = m.appendType(text[:0])
		for i := range m.parts {
			text = m.appendHead(text, i)
		}
		text = m.appendEnd(text)
		length = m.length()
	}
	run()
	if got := partsText(m.parts, kind); got != "500-514 0-9 800-809" || mostKind != rangeNone {
		t.Fatalf("parts %s, kind of too many %d", got, mostKind)
	}
	if want := int64(len(text) - len(m.appendType(nil)) + 15 + 10 + 10); length != want {
		t.Fatalf("length %d, want %d", length, want)
	}
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
