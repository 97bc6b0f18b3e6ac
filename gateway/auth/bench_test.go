package auth

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func BenchmarkAuthorize(b *testing.B) {
	b.Run("repeated/3rules", func(b *testing.B) {
		p, q := repeated(b, "bearer")
		b.ReportAllocs()
		for b.Loop() {
			if v := p.Authorize(q); v.Reason != Allowed {
				b.Fatal(v)
			}
		}
	})
	b.Run("repeated/3rules/parallel", func(b *testing.B) {
		p, q := repeated(b, "bearer")
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			own := *q
			own.scratch = nil
			for pb.Next() {
				if v := p.Authorize(&own); v.Reason != Allowed {
					panic(v)
				}
			}
		})
	})
	b.Run("cold/HS256", func(b *testing.B) {
		p, q := repeated(b, "bearer")
		p.cache = NewTokenCache(0, 0)
		b.ReportAllocs()
		for b.Loop() {
			if v := p.Authorize(q); v.Reason != Allowed {
				b.Fatal(v)
			}
		}
	})
}

// BenchmarkLibrary is the twin of cold: the library's parsing and verifying.
func BenchmarkLibrary(b *testing.B) {
	_, q := repeated(b, "bearer")
	raw := string(q.Header.Peek("Authorization")[len("Bearer "):])
	parser := jwt.NewParser(jwt.WithoutClaimsValidation())
	key := func(*jwt.Token) (any, error) { return []byte(secret), nil }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parser.Parse(raw, key); err != nil {
			b.Fatal(err)
		}
	}
}
