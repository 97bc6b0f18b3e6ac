package fill

import "testing"

func TestHasStored(t *testing.T) {
	for head, want := range map[string]bool{
		"":                                    false,
		"Cache-Control: a\r\n":                true,
		"A: b\r\nCache-Control: x\r\n":        true,
		"A: Cache-Control: x\r\n":             false,
		"X-Cache-Control: p\r\n":              false,
		"Cache-Controls: p\r\nCache: q\r\n":   false,
		"A: b\r\nC: \r\nCache-Control: d\r\n": true,
	} {
		if got := HasLine([]byte(head), []byte("Cache-Control")); got != want {
			t.Errorf("%q: %t, want %t", head, got, want)
		}
	}
}
