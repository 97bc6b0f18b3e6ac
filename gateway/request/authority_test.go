package request

import (
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestIsAuthority(t *testing.T) {
	for _, tc := range requestAuthorities(t, "testdata/authorities.txt") {
		t.Run(tc.name, func(t *testing.T) {
			got := isAuthority([]byte(tc.raw))
			if got != tc.want {
				t.Errorf("isAuthority(%q) = %t", tc.raw, got)
			}
			if model := naiveAuthority(tc.raw); model != tc.want {
				t.Errorf("the model says %t of %q", model, tc.raw)
			}
			if u, err := url.Parse("http://" + tc.raw + "/"); got && (err != nil || u.User != nil || u.Host != unescaped(tc.raw)) {
				t.Errorf("net/url says %+v, %v of %q", u, err, tc.raw)
			}
		})
	}
	for c := range 256 {
		for _, s := range []string{string([]byte{byte(c)}), string([]byte{'a', byte(c)}), string([]byte{'a', byte(c), 'b'}), "[::1]" + string([]byte{byte(c)}), "a:" + string([]byte{byte(c)})} {
			if got, want := isAuthority([]byte(s)), naiveAuthority(s); got != want {
				t.Errorf("isAuthority(%q) = %t, the model says %t", s, got, want)
			}
		}
	}
}

func FuzzIsAuthority(f *testing.F) {
	for _, tc := range requestAuthorities(f, "testdata/authorities.txt") {
		f.Add(tc.raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if got, want := isAuthority([]byte(raw)), naiveAuthority(raw); got != want {
			t.Fatalf("isAuthority(%q) = %t, the model says %t", raw, got, want)
		}
	})
}

// requestAuthority is a row of testdata/authorities.txt.
type requestAuthority struct {
	name, raw string
	want      bool
}

// requestAuthorities reads the table of hosts at path.
func requestAuthorities(t testing.TB, path string) (rows []requestAuthority) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		raw, err := strconv.Unquote(columns[1])
		if err != nil || len(columns) != 3 {
			t.Fatalf("%s: %q: %v", path, line, err)
		}
		rows = append(rows, requestAuthority{columns[0], raw, columns[2] == "true"})
	}
	return rows
}
