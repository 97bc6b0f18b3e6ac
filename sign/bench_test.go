package sign

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

// benchCases are the shapes of requests that a gateway signs.
func benchCases() map[string]*signCase {
	with := func(change func(c *signCase)) *signCase {
		c := &signCase{options: exampleOptions, method: "GET", host: exampleHost, key: "/assets/2024/photo.jpg", now: exampleTime}
		change(c)
		return c
	}
	return map[string]*signCase{
		"plain": with(func(*signCase) {}),
		"range": with(func(c *signCase) {
			c.headers = []Header{{"if-match", []byte(`"9a0364b9e99bb480dd25e1f0284c8555"`)}, {"range", []byte("bytes=0-1048575")}}
		}),
		"token":    with(func(c *signCase) { c.options.SessionToken = strings.Repeat("x", 800) }),
		"key1024B": with(func(c *signCase) { c.key = "/" + strings.Repeat("é", 512) }),
	}
}

// BenchmarkSign compares one signature with the baseline twin, aws-sdk-go-v2's
// signer with its key cache warm.
func BenchmarkSign(b *testing.B) {
	for name, c := range benchCases() {
		r := c.request()
		oracle := newAWSSigner()
		want := awsHeader(b, oracle, c, r)
		b.Run("yatagarasu/"+name, func(b *testing.B) {
			s := newSigner(b, c.options)
			dst := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				dst = s.AppendHeaders(dst[:0], r, c.now)
			}
			if err := diff(dst, want); err != nil {
				b.Fatal(err)
			}
		})
		b.Run("aws-sdk-go-v2/"+name, func(b *testing.B) {
			req := c.http(r)
			credentials := awsCredentials(c.options)
			var header http.Header
			b.ReportAllocs()
			for b.Loop() {
				delete(req.Header, "Authorization")
				if err := oracle.SignHTTP(context.Background(), credentials, req, emptyHash, "s3", c.options.Region, c.now); err != nil {
					b.Fatal(err)
				}
				header = req.Header
			}
			if got, want := header.Get("Authorization"), want.Get("Authorization"); got != want {
				b.Fatalf("got %q, want %q", got, want)
			}
		})
	}
	b.Run("yatagarasu/plain/parallel", func(b *testing.B) {
		c := benchCases()["plain"]
		r := c.request()
		want := awsHeader(b, newAWSSigner(), c, r)
		s := newSigner(b, c.options)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			dst := make([]byte, 0, 4096)
			for pb.Next() {
				dst = s.AppendHeaders(dst[:0], r, c.now)
			}
			if err := diff(dst, want); len(dst) > 0 && err != nil {
				b.Error(err)
			}
		})
	})
}

func BenchmarkAppendPath(b *testing.B) {
	for name, key := range map[string]string{"plain": "/assets/2024/photo.jpg", "1024B": "/" + strings.Repeat("é", 512)} {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 4096)
			want := string(AppendPath(dst, key))
			k := []byte(key)
			b.SetBytes(int64(len(k)))
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendPath(dst[:0], k)
			}
			if string(dst) != want {
				b.Fatalf("got %q, want %q", dst, want)
			}
		})
	}
}
