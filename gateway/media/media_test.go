package media

import (
	"fmt"
	"mime"
	"strings"
	"testing"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

func TestOf(t *testing.T) {
	types := New(true, file.Pairs{{Name: ".x", Value: "own/x"}, {Name: ".html", Value: "own/html"}})
	mapped := New(false, file.Pairs{{Name: ".x", Value: "own/x"}})
	for _, c := range []struct {
		name, key, said, want string
		types                 *Types
	}{
		{"guessed", "a/b.css", "", "text/css; charset=utf-8", types},
		{"octets, with parameters and in another spelling", "a.PNG", "application/octet-stream ; x=y", "image/png", types},
		{"the origin knows", "a.css", "text/plain", "text/plain", types},
		{"the map knows better", "A.HTML", "text/plain", "own/html", types},
		{"the last dot", "a.css.X", "", "own/x", types},
		{"no extension", "css", "", "", types},
		{"a dot in a folder", "a.css/b", "", "", types},
		{"a dot at the end", "a.", "", "", types},
		{"a name that is an extension", ".css", "", "text/css; charset=utf-8", types},
		{"an extension nobody knows", "a.unknown", "binary/octet-stream", "binary/octet-stream", types},
		{"a long one", "a." + strings.Repeat("x", 100), "", "", types},
		{"a map alone guesses nothing", "a.css", "", "", mapped},
		{"no types", "a.css", "", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.types.Of([]byte(c.key), []byte(c.said)); string(got) != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestTable has each type of the table in the form of a header.
func TestTable(t *testing.T) {
	for extension, kind := range known {
		if _, _, err := mime.ParseMediaType(string(kind)); err != nil || extension != strings.ToLower(extension) || len(extension) > form.MaxExtension || extension[0] != '.' {
			t.Errorf("%s is %s: %v", extension, kind, err)
		}
	}
}

func Example() {
	types := New(true, nil)
	fmt.Printf("%s\n%s\n", types.Of([]byte("logo.svg"), []byte("binary/octet-stream")), types.Of([]byte("logo.svg"), []byte("text/plain")))
	fmt.Println(Known([]byte("docs/v1.2")))
	// Output:
	// image/svg+xml
	// text/plain
	// false
}
