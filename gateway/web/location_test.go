package web

import (
	"bytes"
	"mime"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"yatagarasu/gateway/config/site"
)

func TestAppendFolder(t *testing.T) {
	for _, c := range []struct{ path, query, want string }{
		{"/dir", "", "/dir/"},
		{"/dir", "a=b", "/dir/?a=b"},
		{"/d%20r", "a=%20", "/d%20r/?a=%20"},
		{"/é", "é", "/%C3%A9/?%C3%A9"},
		{`/\evil.com`, `\`, "/%5Cevil.com/?%5C"},
		{"/%2Fevil.com", "", "/%2Fevil.com/"},
		{"//evil.com", "", "/%2Fevil.com/"},
		{"///evil.com", "", "/%2F/evil.com/"},
		{"/a:b@c", "?", "/a:b@c/??"},
		{"/\"<>^`{|}[]", "[]\"", "/%22%3C%3E%5E%60%7B%7C%7D%5B%5D/?[]%22"},
		{"/a\r\nX: y", "\r\n", "/a%0D%0AX:%20y/?%0D%0A"},
	} {
		if got := string(AppendFolder([]byte("before "), []byte(c.path), []byte(c.query))); got != "before "+c.want {
			t.Errorf("%q, %q: %s, want %s", c.path, c.query, got, c.want)
		}
	}
}

func TestAppendObjectRedirect(t *testing.T) {
	for _, c := range []struct{ prefix, location, want string }{
		{"/", "/x", "/x"},
		{"/pub", "/", "/pub/"},
		{"/pu b/é", "/x?a=b#c", "/pu%20b/%C3%A9/x?a=b#c"},
		{"/", "/x/../../y", ""},
		{"/", "/x/..?y", ""},
		{"/", "/x/%2e.", ""},
		{"/", "/x/.%2E/y", ""},
		{"/", "/x/.", ""},
		{"/", "/x/...", "/x/..."},
		{"/", "/x/..y/y..", "/x/..y/y.."},
		{"/", "/x%2f..%2fy", ""},
		{"/", "/x%5C..%5Cy", ""},
		{"/", "/x?../y", "/x?../y"},
		{"/", "//evil.com", ""},
		{"/pub", "//evil.com", ""},
		{"/", `/\evil.com`, "/%5Cevil.com"},
		{"/", "/%2Fevil.com", "/%2Fevil.com"},
		{"/", "https://example.com/a b", "https://example.com/a%20b"},
		{"/", "HtTp://example.com", "HtTp://example.com"},
		{"/", "http:/example.com", ""},
		{"/", "http:///example.com", ""},
		{"/", "http://", ""},
		{"/", "https://?x", ""},
		{"/", "javascript:alert(1)", ""},
		{"/", "x", ""},
		{"/", "", ""},
	} {
		got, ok := AppendObjectRedirect(nil, c.prefix, []byte(c.location))
		if ok != (c.want != "") || ok && string(got) != c.want {
			t.Errorf("%s, %q: %q, %t, want %q", c.prefix, c.location, got, ok, c.want)
		}
	}
}

func TestRedirects(t *testing.T) {
	r := newRedirects([]site.Redirect{
		{From: "/old/*", To: "/new/*", Status: 301},
		{From: "/old/exact", To: "/never", Status: 302},
		{From: "/exact", To: "/there é", Status: 307},
		{From: "/exact*", To: "https://example.com/*?from=é", Status: 308},
		{From: "/*.htm", To: "/*.html", Status: 301},
		{From: "/", To: "/home", Status: 302},
	}, "/pub")
	for _, c := range []struct {
		key    string
		status int
		want   string
	}{
		{"old/x", 301, "/pub/new/x?q"},
		{"old/", 301, "/pub/new/?q"},
		{"old/exact", 301, "/pub/new/exact?q"},
		{"old", 0, ""},
		{"exact", 307, "/pub/there%20%C3%A9?q"},
		{"exactly", 308, "https://example.com/ly?from=%C3%A9"},
		{"old/100%?#\\\x80", 301, "/pub/new/100%25%3F%23%5C%80?q"},
		{"a/b.htm", 301, "/pub/a/b.html?q"},
		{"htm", 0, ""},
		{"", 302, "/pub/home?q"},
		{"old/../x", 301, ""},
	} {
		rule, status, ok := r.Match([]byte(c.key))
		if status != c.status || ok != (status != 0) {
			t.Errorf("%s: status %d, %t", c.key, status, ok)
		}
		if !ok {
			continue
		}
		got, ok := r.AppendLocation(nil, rule, []byte(c.key), []byte("q"))
		if ok != (c.want != "") || ok && string(got) != c.want {
			t.Errorf("%s: %s, %t, want %s", c.key, got, ok, c.want)
		}
	}
	root := newRedirects([]site.Redirect{{From: "/a*.b", To: "/*.c", Status: 301}}, "/")
	if got, ok := root.AppendLocation(nil, 0, []byte("a/evil.com.b"), nil); string(got) != "/%2Fevil.com.c" || !ok {
		t.Errorf("got %s", got)
	}
}

func TestDownloadName(t *testing.T) {
	for query, want := range map[string]string{
		"download": "", "download=": "", "x=y&download=a": "a", "download=a&download=b": "a", "download=a=b": "a=b",
		"downloads=a": "-", "x": "-", "": "-", "Download": "-", "x=download": "-", "%64ownload": "-",
	} {
		raw, ok := DownloadName([]byte(query))
		if ok != (want != "-") || ok && string(raw) != want {
			t.Errorf("%s: %q, %t", query, raw, ok)
		}
	}
}

func TestAppendDisposition(t *testing.T) {
	for _, c := range []struct{ raw, key, ascii, name string }{
		{"", "dir/x.txt", "x.txt", "x.txt"},
		{"a.txt", "dir/x.txt", "a.txt", "a.txt"},
		{"a+b%20c.txt", "x", "a+b c.txt", "a+b c.txt"},
		{"%E6%97%A5%22%25%5Cx", "x", "x", "x"},
		{"%E6%97%A5%22%25x", "x", "___x", `日"%x`},
		{"..%2f..%2fetc%2fpasswd", "x", "passwd", "passwd"},
		{"a%2f", "dir/x", "x", "x"},
		{"%2e", "dir/x", "x", "x"},
		{"a%00b", "x", "x", "x"},
		{"a%7f", "x", "x", "x"},
		{"%zz", "x", "x", "x"},
		{"%4", "x", "x", "x"},
		{"\xff", "x", "x", "x"},
		{strings.Repeat("a", 255), "x", strings.Repeat("a", 255), strings.Repeat("a", 255)},
		{strings.Repeat("a", 256), "x", "x", "x"},
		{"", "dir/", "", ""},
	} {
		line := string(AppendDisposition(nil, []byte(c.raw), []byte(c.key)))
		if c.name == "" {
			if line != "Content-Disposition: attachment\r\n" {
				t.Errorf("%q: %s", c.raw, line)
			}
			continue
		}
		if !strings.Contains(line, `filename="`+c.ascii+`";`) {
			t.Errorf("%q: %s, want %s", c.raw, line, c.ascii)
		}
		checkDisposition(t, line, c.name)
	}
}

// checkDisposition has a library read a line.
func checkDisposition(t *testing.T, line, want string) {
	t.Helper()
	value, ok := strings.CutPrefix(line, "Content-Disposition: ")
	if !ok || strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\r\n") {
		t.Fatalf("%q is no line", line)
	}
	_, extended, _ := strings.Cut(strings.TrimSpace(value), "filename*=")
	if name, err := url.PathUnescape(strings.TrimPrefix(extended, "UTF-8''")); err != nil || name != want {
		t.Errorf("%s: %q, %v, want %q", line, name, err, want)
	}
	plain, _, _ := strings.Cut(value, "; filename*=")
	if kind, _, err := mime.ParseMediaType(strings.TrimSpace(plain)); kind != "attachment" || err != nil {
		t.Errorf("%s: %s, %v", line, kind, err)
	}
}

// FuzzLocation looks for addresses that lead browsers to another site, or out of a header's line,
// or that are encoded twice.
func FuzzLocation(f *testing.F) {
	for _, s := range []string{"/dir", "//evil.com", `/\evil.com`, "/%2Fevil.com", "/é%20\x00\r\n", "/a/..%2f", "https://evil.com", "/%", "/..", "javascript:x"} {
		f.Add(s, "a=b&c")
	}
	rules := newRedirects([]site.Redirect{{From: "/*", To: "/*", Status: 301}}, "/")
	f.Fuzz(func(t *testing.T, text, query string) {
		own := map[string][]byte{}
		if strings.HasPrefix(text, "/") {
			own["folder"] = AppendFolder(nil, []byte(text), []byte(query))
			if escapes := strings.Count(text, "%"); escapes == 0 && query == "" && url.PathEscape(text) == text && string(own["folder"]) != text+"/" {
				t.Errorf("%q becomes %q", text, own["folder"])
			}
		}
		if got, ok := rules.AppendLocation(nil, 0, []byte(text), []byte(query)); ok {
			own["rule"] = got
		}
		if got, ok := AppendObjectRedirect(nil, "/", []byte(text)); ok {
			own["object"] = got
		}
		for what, got := range own {
			for _, c := range got {
				if c <= ' ' || c >= 0x7f || strings.IndexByte("\\\"<>^`{|}", c) >= 0 {
					t.Fatalf("%s of %q: %q has a byte that no address has", what, text, got)
				}
			}
			if what == "object" && got[0] != '/' {
				if s := bytes.ToLower(got); !bytes.HasPrefix(s, []byte("http://")) && !bytes.HasPrefix(s, []byte("https://")) {
					t.Fatalf("%q leads to %q", text, got)
				}
				continue
			}
			base := url.URL{Scheme: "https", Host: "gateway.test", Path: "/x/y"}
			if u, err := url.Parse(string(got)); err == nil {
				if to := base.ResolveReference(u); to.Host != base.Host || to.Scheme != base.Scheme {
					t.Fatalf("%s of %q: %q leads to %s", what, text, got, to)
				}
			}
			if got[0] != '/' || len(got) > 1 && got[1] == '/' {
				t.Fatalf("%s of %q: %q", what, text, got)
			}
		}
		checkDisposition(t, string(AppendDisposition(nil, []byte(query), []byte("key"))), dispositionName(query))
	})
}

// dispositionName is the name of a download as a slow reader has it.
func dispositionName(query string) string {
	name, err := url.PathUnescape(query)
	if err != nil || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "key"
	}
	if name = name[strings.LastIndexAny(name, `/\`)+1:]; name == "" || name == "." || name == ".." || !utf8.ValidString(name) {
		return "key"
	}
	return name
}
