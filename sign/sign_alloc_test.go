//go:build !race

package sign

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestAppendHeadersAllocs(t *testing.T) {
	long := exampleOptions
	long.SessionToken = strings.Repeat("x", 1500)
	headers := []Header{{"if-match", []byte(`"9a0364b9e99bb480dd25e1f0284c8555"`)}, {"range", []byte("bytes=0-9")}}
	tests := map[string]signCase{
		"plain":          {options: exampleOptions, method: "GET", host: exampleHost, key: "/test.txt", now: exampleTime},
		"headers, query": {options: exampleOptions, method: "HEAD", host: "localhost:9000", key: "/bucket/a b", headers: headers, query: [][2]string{{"versionId", "x"}}, now: exampleTime},
		"longest key, session token, long header": {options: long, method: "GET", host: exampleHost, key: "/" + strings.Repeat("é", 512),
			headers: []Header{{"if-none-match", bytes.Repeat([]byte(`"x",  `), 100)}}, now: exampleTime},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSigner(t, c.options)
			r := c.request()
			dst := make([]byte, 0, 4096)
			if err := diff(s.AppendHeaders(dst, r, c.now), awsHeader(t, newAWSSigner(), &c, r)); err != nil {
				t.Fatal(err)
			}
			before := c.now.Add(-time.Second) // the day before: both keys stay cached
			s.AppendHeaders(dst, r, before)
			got := testing.AllocsPerRun(1000, func() {
				dst = s.AppendHeaders(dst[:0], r, c.now)
				dst = s.AppendHeaders(dst[:0], r, before)
			})
			if got != 0 {
				t.Errorf("%v allocations, want 0", got)
			}
		})
	}
}

func TestAppendPathAllocs(t *testing.T) {
	key := []byte("a b+c%2Fd~é.txt")
	const want = "a%20b%2Bc%252Fd~%C3%A9.txt"
	dst := make([]byte, 0, 64)
	if got := AppendPath(dst, key); string(got) != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	got := testing.AllocsPerRun(1000, func() {
		dst = AppendPath(dst[:0], key)
		dst = AppendQueryComponent(dst[:0], key)
	})
	if got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}
