//go:build !race

package request

import (
	"strings"
	"testing"
)

func TestPartsAllocs(t *testing.T) {
	value := []byte("Bytes=, 500-509, 0-9, 800-809 ,505-514,5000-,-0")
	most := []byte("bytes=" + strings.Repeat("0-0,", MaxParts+1))
	m := Multipart{Size: 1000, ContentType: []byte("text/plain"), Boundary: "0123456789abcdef"}
	var dst [MaxParts]Part
	var kind, mostKind RangeKind
	var text []byte
	run := func() {
		_, mostKind = ResolveParts(&dst, most, 1000)
		m.Parts, kind = ResolveParts(&dst, value, 1000)
		text = m.AppendType(text[:0])
		for i := range m.Parts {
			text = m.appendHead(text, i)
		}
		text = m.appendEnd(text)
	}
	run()
	if got := partsText(m.Parts, kind); got != "500-514 0-9 800-809" || mostKind != RangeNone {
		t.Fatalf("parts %s, kind of too many %d", got, mostKind)
	}
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
