//go:build !race

package request

import (
	"testing"

	"yatagarasu/gateway/problem"
)

func TestErrorBodyAllocs(t *testing.T) {
	dst := make([]byte, 0, 256)
	accept, id := []byte("text/html, text/plain;q=0.9, application/json;q=0.5, */*;q=0.1"), []byte("01HX\xc3\xa9\xff")
	for plain, want := range map[bool]string{
		false: `{"error":"not_found","message":"no \"é\"","status":404,"request_id":"01HXé` + "\ufffd\"}\n",
		true:  "404 not_found: no \"é\"\nrequest id: 01HXé\xff\n",
	} {
		run := func() bool {
			dst = problem.AppendBody(dst[:0], plain, 404, "not_found", `no "é"`, id)
			return PrefersPlain(accept)
		}
		if !run() || string(dst) != want {
			t.Fatalf("%s, want %s", dst, want)
		}
		if n := testing.AllocsPerRun(100, func() { run() }); n != 0 {
			t.Errorf("plain %v: %v allocations, want 0", plain, n)
		}
	}
}
