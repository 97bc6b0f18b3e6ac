package sign

import (
	"net/url"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7/pkg/s3utils"
)

func TestAppendPath(t *testing.T) {
	tests := map[string]struct{ key, want string }{
		"empty":                 {"", ""},
		"unreserved stay":       {"AZaz09-._~/", "AZaz09-._~/"},
		"neighbours of letters": {"@[`{", "%40%5B%60%7B"},
		"neighbours of digits":  {":,", "%3A%2C"},
		"space and plus":        {"a b+c", "a%20b%2Bc"},
		"encoded once":          {"c%2Fd", "c%252Fd"},
		"all in one key":        {"a b+c%2Fd~é.txt", "a%20b%2Bc%252Fd~%C3%A9.txt"},
		"special characters":    {"*'()!;=&@:,$%?#", "%2A%27%28%29%21%3B%3D%26%40%3A%2C%24%25%3F%23"},
		"repeated slashes":      {"x//y", "x//y"},
		"slashes at the ends":   {"//x//", "//x//"},
		"dot segments stay":     {"/a/../b/./c", "/a/../b/./c"},
		"control characters":    {"\x00\t\r\n\x7f", "%00%09%0D%0A%7F"},
		"four bytes":            {"🐦", "%F0%9F%90%A6"},
		"not UTF-8":             {"\x80\xff", "%80%FF"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := AppendPath([]byte("x"), []byte(tt.key)); string(got) != "x"+tt.want {
				t.Errorf("got %q, want %q", got, "x"+tt.want)
			}
			if got := AppendPath(nil, tt.key); string(got) != tt.want {
				t.Errorf("of a string: got %q, want %q", got, tt.want)
			}
			want := strings.ReplaceAll(tt.want, "/", "%2F")
			if got := AppendQueryComponent(nil, tt.key); string(got) != want {
				t.Errorf("as a query component: got %q, want %q", got, want)
			}
		})
	}
}

func TestAppendPathEachByte(t *testing.T) {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
	for c := range 256 {
		key := []byte{'x', byte(c), 'y'}
		got := string(AppendPath(nil, key))
		if stays := strings.IndexByte(plain, byte(c)) >= 0; stays != (got == string(key)) {
			t.Errorf("byte %#x: got %q", c, got)
		}
		if back, err := url.PathUnescape(got); err != nil || back != string(key) {
			t.Errorf("byte %#x: %q decodes to %q, %v", c, got, back, err)
		}
	}
}

func TestAppendPathMatchesMinio(t *testing.T) {
	for n := range uint64(20_000) {
		g := newGenerator(23, n)
		key := g.keyText(g.IntN(100))
		if got, want := string(AppendPath(nil, key)), s3utils.EncodePath(key); got != want {
			t.Fatalf("key %q: got %q, minio-go has %q", key, got, want)
		}
		got, want := string(AppendQueryComponent(nil, key)), strings.ReplaceAll(url.QueryEscape(key), "+", "%20")
		if got != want {
			t.Fatalf("value %q: got %q, want %q", key, got, want)
		}
	}
}
