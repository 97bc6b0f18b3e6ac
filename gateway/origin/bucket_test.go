package origin

import (
	"testing"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/credentials"
	"yatagarasu/gateway/observe"
	"yatagarasu/pool"
)

// bucketAt returns the first bucket of a configuration.
func bucketAt(t testing.TB, yaml string) *Bucket {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(yaml), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBucket(c.Buckets[0].Name, &c.Buckets[0].S3, nil, &Shared{Observer: &observe.Observer{Metrics: observe.NewMetrics()}, Buffers: pool.NewBuffers(pool.DefaultBufferSize, 0), Retrieve: credentials.New}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}
