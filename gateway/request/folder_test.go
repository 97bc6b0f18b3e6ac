package request

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestStartAfter(t *testing.T) {
	for _, c := range []struct{ name, folder, query, want, problem string }{
		{"absent", "a/", "x=1&start-afte=2", "", ""},
		{"a key", "a/", "x=1&start-after=a/b.txt&y", "a/b.txt", ""},
		{"of the root", "", "start-after=b", "b", ""},
		{"the folder itself", "a/", "start-after=a%2F", "a/", ""},
		{"decoded once, a plus is a plus", "a/", "start-after=a/%2525+%C3%A9", "a/%25+é", ""},
		{"control characters", "", "start-after=%01%0A", "\x01\n", ""},
		{"a folder", "a/", "start-after=a/b/", "a/b/", ""},
		{"what is in a folder", "a/", "start-after=a/b/c/d", "a/b/", ""},
		{"empty, at the root", "", "start-after=", "", ""},
		{"empty", "a/", "start-after=", "", "no key in the folder"},
		{"of another folder", "a/", "start-after=ab", "", "no key in the folder"},
		{"twice", "a/", "start-after=a/b&start-after=a/b", "", "twice"},
		{"cut escape", "a/", "start-after=a/%4", "", "hexadecimal"},
		{"not UTF-8", "a/", "start-after=a/%ff", "", "UTF-8"},
		{"as long as a key", "a/", "start-after=a/" + strings.Repeat("x", 1020), "a/" + strings.Repeat("x", 1020), ""},
		{"too long", "a/", "start-after=a/" + strings.Repeat("x", 1021), "", "longer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := Target{Query: []byte(c.query)}
			got, p := target.StartAfter([]byte(c.folder), Keys{Prefix: 2})
			if string(got) != c.want || (p == nil) != (c.problem == "") || p != nil && !strings.Contains(p.Message, c.problem) {
				t.Errorf("got %q, %v", got, p)
			}
		})
	}
}

func TestContinue(t *testing.T) {
	for _, c := range []struct{ query, want, problem string }{
		{"", "", ""}, {"continued=x", "", ""}, {"a=b&continue=a-_9", "a-_9", ""}, {"continue=%61", "a", ""},
		{"continue=a&continue=a", "", "twice"}, {"continue=%6", "", "hexadecimal"},
	} {
		target := Target{Query: []byte(c.query)}
		got, p := target.Continue()
		if string(got) != c.want || (p == nil) != (c.problem == "") || p != nil && !strings.Contains(p.Message, c.problem) {
			t.Errorf("%q: got %q, %v", c.query, got, p)
		}
	}
	if got, _ := (&Target{Query: []byte("continue")}).Continue(); got == nil {
		t.Error("an empty one is none")
	}
}

func TestIsTarget(t *testing.T) {
	for key, want := range map[string]bool{
		"a/b":  true,
		"a//b": true, "/a": true, "a/": true,
		"a+#%:?\\": true, "...": true, "é/日": true, "a\u202eb": true,
		"": false, ".": false, "a/../b": false, "a/./": false, "..": false,
		"a\tb": false, "a\x7f": false, "\x00": false, "\xff": false,
		"x__XLDIR__": false, ".sgwtmp/x": false,
		strings.Repeat("x", 1022): true, strings.Repeat("x", 1023): false,
	} {
		if got := IsTarget(key, Keys{Prefix: 2, EmptySegments: true}); got != want {
			t.Errorf("%.40q: %t", key, got)
		}
	}
	if IsTarget("a//b", Keys{}) {
		t.Error("an empty segment is one where the bucket has none")
	}
}

// FuzzIsTarget compares IsTarget with what becomes of a target that names the key.
func FuzzIsTarget(f *testing.F) {
	for _, key := range []string{"a b/é", "a/../b", "\x01", "\xff", "//", ".sgwtmp/", "x__xldir__/y", "%2e%2e", "?#"} {
		f.Add(key, true)
	}
	f.Fuzz(func(t *testing.T, key string, empty bool) {
		keys := Keys{EmptySegments: empty}
		raw := "/p/"
		for i := range len(key) {
			raw += fmt.Sprintf("%%%02X", key[i])
		}
		if len(raw) > maxTargetLen || strings.Contains(key, "/") && strings.HasPrefix(key, "/") {
			return // an encoded slash right behind the prefix is refused for that
		}
		var target Target
		p := target.Parse([]byte(raw))
		if p == nil {
			_, p = target.Key(len("/p"), keys)
		}
		if got := IsTarget(key, keys); got != (p == nil && key != "") {
			t.Errorf("%q: %t, but the target gives %v", key, got, p)
		}
	})
}

func TestFolderLocation(t *testing.T) {
	for raw, want := range map[string]string{
		"/pub":                     "./pub/",
		"/pub?a=b?c":               "./pub/?a=b?c",
		"/a/pub":                   "./pub/",
		"/p%C3%BCb":                "./p%C3%BCb/",
		"/p\xc3\xbcb":              "./p%C3%BCb/",
		"/a:b":                     "./a%3Ab/",
		"/\\evil.com":              "./%5Cevil.com/",
		"http://host/pub?x=//evil": "./pub/?x=//evil",
		"/pub/a%2F":                "./a/",
		"/pub/a%2fb%2F%2F?x":       "./a/b/?x",
		"/%2Fevil.com":             ".//evil.com/",
		"/a%2520b":                 "./a%2520b/",
		"/<\">":                    "./%3C%22%3E/",
	} {
		got := string(FolderLocation([]byte(raw)))
		if got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
		u, err := url.Parse(got)
		if err != nil || u.Host != "" || u.Scheme != "" {
			t.Errorf("%q: %q leads elsewhere: %v", raw, got, err)
		}
	}
}
