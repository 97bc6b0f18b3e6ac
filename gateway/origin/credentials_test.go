package origin

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/rs/zerolog"
)

// TestRetrievalsAreCountedFirst has somebody look at the metric who sees the line in the log.
func TestRetrievalsAreCountedFirst(t *testing.T) {
	b := bucketAt(t, `buckets: [{ name: a, path_prefix: /a, s3: { bucket: things, region: us-east-1, endpoint: "http://127.0.0.1:9", access_key: k, secret_key: s } }]`)
	r := b.Replicas[0]
	counter := func(outcome string) uint64 {
		return r.Metrics.Set.GetOrCreateCounter(fmt.Sprintf(`yatagarasu_credentials_refreshes_total{bucket="a",origin="127.0.0.1:9",outcome=%q}`, outcome)).Get()
	}
	var seen []uint64
	b.Shared.Log = zerolog.New(io.Discard).Hook(zerolog.HookFunc(func(*zerolog.Event, zerolog.Level, string) {
		seen = append(seen, counter("failed"))
	}))
	for _, err := range []error{errors.New("the issuer is down"), nil, errors.New("it still is")} {
		b.Shared.credentialsRetrieved(r, err)
	}
	if !slices.Equal(seen, []uint64{1, 2}) || counter("ok") != 1 {
		t.Errorf("failures counted at each line: %v; %d worked", seen, counter("ok"))
	}
}
