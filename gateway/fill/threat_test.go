package fill

import (
	"bytes"
	"testing"

	"yatagarasu/cache"
	"yatagarasu/gateway/coding"
	"yatagarasu/gateway/config/site"
	"yatagarasu/gateway/origin"
)

// TestThreatCompression (T115) has more objects asked for than may be compressed at once: nothing
// waits, and nothing is lost for those who ask later.
func TestThreatCompression(t *testing.T) {
	stored := cache.New(cache.Options{MaxBytes: 1 << 20, MaxObjectBytes: 1 << 19})
	o := &cache.Object{Key: cache.AppendKey(nil, []byte("a")), Group: "g", Body: bytes.Repeat([]byte("text "), 1000), Status: 200}
	if !stored.Put(o) {
		t.Fatal("it is not stored")
	}
	background := new(origin.Background)
	compressor := NewCompressor(background, 2)
	c := &site.Compress{Enabled: true, Encodings: []string{"gzip"}, Types: []string{"text/*"}}
	z := NewCompression(c, &Cache{Budget: &Budget{Cache: stored}}, compressor)
	for range 2 { // of others
		compressor.turns <- struct{}{}
	}
	for range 100 {
		if z.Form(o, coding.Gzip) != nil || o.FormBegun(coding.Gzip.Form()) {
			t.Fatal("a form is made beyond those that may be")
		}
	}
	<-compressor.turns
	if z.Form(o, coding.Gzip) != nil {
		t.Error("who asks first waits for the form")
	}
	background.Wait()
	if form := z.Form(o, coding.Gzip); len(form) == 0 || len(form) >= len(o.Body) || len(compressor.turns) != 1 {
		t.Errorf("a form of %d bytes, and %d are being made", len(form), len(compressor.turns))
	}
}
