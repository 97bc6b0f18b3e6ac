//go:build !race

package media

import (
	"testing"

	"yatagarasu/gateway/config/file"
)

func TestOfAllocs(t *testing.T) {
	types := New(true, file.Pairs{{Name: ".x", Value: "own/x"}})
	key, said := []byte("assets/app.9f2c.JS"), []byte("binary/octet-stream")
	var got []byte
	if n := testing.AllocsPerRun(100, func() { got = types.Of(key, said) }); n > 0 || string(got) != "text/javascript; charset=utf-8" {
		t.Errorf("%v allocations, %s", n, got)
	}
}
