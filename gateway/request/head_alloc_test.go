//go:build !race

package request

import "testing"

func TestHeadAllocs(t *testing.T) {
	for _, head := range []string{curlHead, "Host: [2001:db8::1]:8080\r\n\r\n", "Host: %c3%a9.example:80\r\n\r\n"} {
		raw := []byte(head)
		if f := checkHead(raw, true); f != nil {
			t.Fatalf("%.20q: flaw %v", head, f)
		}
		if n := testing.AllocsPerRun(100, func() { checkHead(raw, true) }); n != 0 {
			t.Errorf("%.20q: %v allocations, want 0", head, n)
		}
	}
}
