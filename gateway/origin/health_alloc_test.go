package origin

import (
	"testing"
	"time"

	"yatagarasu/pool"
)

// BenchmarkHealthy is what a request that nothing goes wrong with pays for replicas,
// breakers, budgets, credentials that are renewed and clocks that are compared.
func BenchmarkHealthy(b *testing.B) {
	bk := bucketAt(b, "buckets:\n  - {name: n, path_prefix: /p, s3: {bucket: b-b, region: us-east-1, endpoint: \"http://127.0.0.1:1\", access_key: AK, secret_key: SK}}\n")
	name := []byte("some/object.txt")
	b.ReportAllocs()
	for b.Loop() {
		begin, key := time.Now(), pool.KeyOf(name, name, nil)
		r, t, _ := bk.pick(key, 0, begin)
		r.Health.retries.Count(key, begin)
		if r.Credentials.Signer(begin) == nil || !r.Health.clock(begin).Equal(begin) {
			b.Fatal("it is not healthy")
		}
		end := time.Now()
		r.Health.Breaker.Done(t, resultOfTry(nil, nil), end)
		if end.UnixNano()-r.Health.SkewMeasured.Load() < 0 {
			b.Fatal("the clock runs backwards")
		}
	}
}
