//go:build !race

package coding

import "testing"

func TestAcceptAllocs(t *testing.T) {
	lines, among := [][]byte{[]byte("gzip, deflate, br;q=0.9, zstd")}, []Coding{Brotli, Zstd, Gzip}
	var best Coding
	if n := testing.AllocsPerRun(100, func() { a := Accept(lines); best = a.Best(among) }); n > 0 || best != Zstd {
		t.Errorf("%v allocations, %s", n, Names[best])
	}
}

func TestHasAllocs(t *testing.T) {
	types, kind, has := NewTypes([]string{"text/*", "application/json"}), []byte("Application/JSON; charset=utf-8"), false
	if n := testing.AllocsPerRun(100, func() { has = types.Has(kind) }); n > 0 || !has {
		t.Errorf("%v allocations, %t", n, has)
	}
}
