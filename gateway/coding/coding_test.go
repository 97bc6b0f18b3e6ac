package coding

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/andybalholm/brotli" // another's decoder: the encoder is young
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// decode returns what a client makes of a body in a coding.
func decode(t testing.TB, c Coding, body []byte) []byte {
	t.Helper()
	var r io.Reader
	var err error
	switch c {
	case Brotli:
		r = brotli.NewReader(bytes.NewReader(body))
	case Zstd:
		r, err = zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderMaxWindow(zstdWindow))
	case Gzip:
		r, err = gzip.NewReader(bytes.NewReader(body))
	}
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", Names[c], err)
	}
	return plain
}

func TestEncode(t *testing.T) {
	random := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{}).Read(random)
	for name, body := range map[string][]byte{
		"text":  []byte(strings.Repeat("The quick brown fox jumps over the lazy dog. ", 1000)),
		"long":  bytes.Repeat(append([]byte("line of a log with some number\n"), random[:20]...), 300_000),
		"short": []byte(strings.Repeat("ab", 512)),
	} {
		for c := Brotli; c < number; c++ {
			coded := Encode(c, body)
			if len(coded) == 0 || len(coded)*100 > len(body)*worthwhile || cap(coded) > len(coded)+len(coded)/4+64 {
				t.Errorf("%s, %s: %d bytes of %d, capacity %d", name, Names[c], len(coded), len(body), cap(coded))
			} else if !bytes.Equal(decode(t, c, coded), body) {
				t.Errorf("%s, %s: decoded, it is another", name, Names[c])
			}
		}
	}
	for c := Brotli; c < number; c++ {
		if coded := Encode(c, random); coded != nil {
			t.Errorf("%s: %d bytes of noise became %d", Names[c], len(random), len(coded))
		}
	}
}

// FuzzEncode has each coding of a body decode to it again, whenever it is worth while.
func FuzzEncode(f *testing.F) {
	f.Add([]byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 3)
	f.Add([]byte{}, 0)
	f.Add([]byte("\x00\xffé"), 100)
	f.Fuzz(func(t *testing.T, seed []byte, times int) {
		body := bytes.Repeat(seed, min(max(times, 0), 200))
		for c := Brotli; c < number; c++ {
			if coded := Encode(c, body); coded != nil && !bytes.Equal(decode(t, c, coded), body) {
				t.Errorf("%s: decoded, it is another", Names[c])
			}
		}
	})
}

func TestAccept(t *testing.T) {
	all := []Coding{Brotli, Zstd, Gzip}
	for _, c := range []struct {
		lines    string // separated by "|"
		among    []Coding
		want     Coding
		identity bool
	}{
		{"", all, Identity, true},
		{"gzip", all, Gzip, true}, {"GZIP", all, Gzip, true}, {"x-gzip", all, Gzip, true}, {"gzip, deflate, br, zstd", all, Brotli, true},
		{"gzip, deflate, br, zstd", []Coding{Gzip, Brotli}, Gzip, true}, // what the file prefers
		{"br;q=0.5, gzip;q=0.8", all, Gzip, true}, {"br ; q=0.5 ,\tgzip ; Q=0.501", all, Gzip, true},
		{"gzip ;q=0", all, Identity, true}, {"gzip;q=0.000", all, Identity, true}, {"bgzip", all, Identity, true}, {"gzipx", all, Identity, true},
		{"*", all, Brotli, true}, {"*;q=0", all, Identity, false}, {"identity;q=1, *;q=0", all, Identity, true}, {"*;q=0.1, br;q=0", all, Zstd, true},
		{"identity;q=0", all, Identity, false}, {"gzip, identity;q=0", all, Gzip, false}, {"identity, gzip;q=0.5", all, Identity, true},
		{"identity, gzip", all, Gzip, true}, {"identity;q=0.2, br;q=0.1", all, Identity, true},
		{"br;q=2, gzip", all, Gzip, true}, {"br;q=1.001, gzip", all, Gzip, true}, {"br;q=, gzip", all, Gzip, true}, {"br;q=0.1234, gzip", all, Gzip, true}, {"br;q=.5, gzip", all, Gzip, true},
		{"br;x=y;q=0.3, gzip;q=0.2", all, Brotli, true}, {"br|gzip", all, Brotli, true}, {"deflate|gzip;q=0.1", all, Gzip, true}, {",, ,gzip,", all, Gzip, true}, {";q=1", all, Identity, true},
	} {
		var lines [][]byte
		for line := range strings.SplitSeq(c.lines, "|") {
			lines = append(lines, []byte(line))
		}
		a := Accept(lines)
		if got := a.Best(c.among); got != c.want || a.Identity != c.identity {
			t.Errorf("%q: %d, identity %t", c.lines, got, a.Identity)
		}
	}
}

// FuzzAccept has no line make the reader fail, and none that says nothing of a coding choose it.
func FuzzAccept(f *testing.F) {
	f.Add("gzip;q=0.5, *;q=0")
	f.Fuzz(func(t *testing.T, line string) {
		a := Accept([][]byte{[]byte(line)})
		if best := a.Best([]Coding{Brotli}); best == Brotli && !strings.Contains(strings.ToLower(line), "br") && !strings.Contains(line, "*") {
			t.Errorf("%q chooses br", line)
		}
	})
}

func TestHas(t *testing.T) {
	types := NewTypes([]string{"text/*", "application/json", "image/svg+xml", "x/" + strings.Repeat("y", maxType-2)})
	for kind, want := range map[string]bool{
		"text/html": true, "Text/CSS; charset=utf-8": true, "text/": false, "text": false, "": false, "application/json": true, "application/json ;x=y": true,
		"application/jsonx": false, "image/svg+xml": true, "image/png": false, "application/octet-stream": false, "text/x\t": true,
		"x/" + strings.Repeat("y", maxType-2): true,
	} {
		if types.Has([]byte(kind)) != want {
			t.Errorf("%q: %t", kind, !want)
		}
	}
}

func Example() {
	accepted := Accept([][]byte{[]byte("gzip, deflate, br;q=0.9")})
	best := accepted.Best([]Coding{Brotli, Zstd, Gzip})
	fmt.Println(Names[best])
	// Output:
	// gzip
}

// TestDecodes has forms of a body be told from those of others.
func TestDecodes(t *testing.T) {
	body := []byte(strings.Repeat("the body, ", 10_000))
	for c := Brotli; c < number; c++ {
		form := Encode(c, body)
		for name, row := range map[string]struct {
			form, of []byte
			want     bool
		}{
			"its own":          {form, body, true},
			"a longer body's":  {form, body[:len(body)-1], false},
			"a shorter body's": {form, append(bytes.Clone(body), '.'), false},
			"another body's":   {form, bytes.ToUpper(body), false},
			"cut":              {form[:len(form)/2], body, false},
			"none":             {[]byte("nothing that is coded"), body, false},
			"empty":            {nil, body, false},
		} {
			if Decodes(c, row.form, row.of) != row.want {
				t.Errorf("%s, %s: %t", Names[c], name, !row.want)
			}
		}
	}
	if Decodes(Identity, body, body) {
		t.Error("no coding is a form")
	}
}
