package origin

import (
	"testing"

	"yatagarasu/pool"
)

// TestHashKey has spellings of a key with more slashes count as one object.
func TestHashKey(t *testing.T) {
	b := bucketAt(t, "buckets:\n  - {name: n, path_prefix: /p, s3: {bucket: b-b, region: us-east-1, endpoint: \"http://127.0.0.1:1\", access_key: AK, secret_key: SK}}\n")
	for key, want := range map[string]string{
		"":               "",
		"a":              "a",
		"a/b":            "a/b",
		"/a/b":           "a/b",
		"///a/b":         "a/b",
		"a//b":           "a/b",
		"//a////b":       "a/b",
		"a/b/":           "a/b/",
		"a//b///":        "a/b/",
		"///":            "",
		"\u00e9//\u00e9": "\u00e9/\u00e9",
	} {
		f := b.NewFetch(nil, []byte(key), nil, nil, nil)
		if f.hash != pool.KeyOf([]byte(want), []byte(key), nil) {
			t.Errorf("%q does not count as %q", key, want)
		}
		f.Release()
		f = b.NewFetch(nil, []byte(key), []byte("versionId=1"), nil, nil)
		if f.hash != pool.KeyOf([]byte(want), []byte(key), []byte("versionId=1")) {
			t.Errorf("a version of %q does not count as %q", key, want)
		}
		f.Release()
	}
}
