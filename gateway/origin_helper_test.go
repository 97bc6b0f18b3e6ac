package gateway

import (
	"testing"
	"yatagarasu/gateway/config"
	"yatagarasu/pool"
)

// bucketAt returns the first bucket of a configuration.
func bucketAt(t testing.TB, yaml string) *originBucket {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(yaml), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	b, err := newOriginBucket(&c.Buckets[0], &shared{observer: &observer{metrics: newMetricSet()}, buffers: pool.NewBuffers(pool.DefaultBufferSize, 0)}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}
