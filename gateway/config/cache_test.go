package config

import (
	"fmt"
	"testing"
	"time"
)

// TestMaxTTL has what the longest freshness is where ttl is longer than its default, and
// where a bucket has either key of its own.
func TestMaxTTL(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		global, bucket string
		want           time.Duration
	}{
		{"", "", 30 * day},
		{"ttl: 1000h", "", 1000 * time.Hour},
		{"ttl: 1000h", "ttl: 60", 30 * day},
		{"ttl: 60", "ttl: 1000h", 1000 * time.Hour},
		{"ttl: 200000h", "", 200000 * time.Hour},
		{"max_ttl: 2h", "", 2 * time.Hour},
		{"max_ttl: 2h", "ttl: 60", 2 * time.Hour},
		{"max_ttl: 2h", "max_ttl: 3h", 3 * time.Hour},
		{"max_ttl: 2h", "ttl: 1000h, max_ttl: 1000h", 1000 * time.Hour},
		{"ttl: 1000h", "max_ttl: 87600h", 87600 * time.Hour},
	} {
		yaml := fmt.Sprintf("cache: {enabled: true, %s}\nbuckets: [{name: a, path_prefix: /a, s3: {bucket: bbb, region: r, access_key: a, secret_key: s}, cache: {%s}}]\n", c.global, c.bucket)
		parsed, err := Parse("test.yaml", []byte(yaml), func(string) (string, bool) { return "", false })
		if err != nil {
			t.Errorf("%s: %v", yaml, err)
		} else if got := parsed.Buckets[0].Cache.MaxTTL; got != c.want {
			t.Errorf("%s: %v, want %v", yaml, got, c.want)
		}
	}
}
