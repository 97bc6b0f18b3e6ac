//go:build !race

package gateway

import "testing"

func TestHeadAllocs(t *testing.T) {
	raw := []byte(curlHead)
	if f := checkHead(raw, true); f != headOK {
		t.Fatalf("flaw %d", f)
	}
	if n := testing.AllocsPerRun(100, func() { checkHead(raw, true) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
