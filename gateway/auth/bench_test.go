package auth

import (
	"testing"

	"github.com/cristalhq/jwt/v5"
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
	b.Run("introspected/3rules", func(b *testing.B) {
		p, q := introspected(b)
		b.ReportAllocs()
		for b.Loop() {
			if v := p.Authorize(q); v.Reason != Allowed {
				b.Fatal(v)
			}
		}
	})
	b.Run("cold/HS256", func(b *testing.B) {
		p, q := repeated(b, "bearer")
		p.cache, p.guard = NewTokenCache(0, 0), NewGuard(usual, 1000, nil)
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
	v, err := jwt.NewVerifierHS(jwt.HS256, []byte(secret))
	if err != nil {
		b.Fatal(err)
	}
	_, q := repeated(b, "bearer")
	raw := q.Header.Peek("Authorization")[len("Bearer "):]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jwt.Parse(raw, v); err != nil {
			b.Fatal(err)
		}
	}
}
