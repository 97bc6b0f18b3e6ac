package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// answer returns a handler that answers with status and body, of which length
// bytes are promised.
func answer(status int, body, length string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", length)
		w.WriteHeader(status)
		w.Write([]byte(body))
	}
}

func TestSamplesOfAFolder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a/deep/er": "text", "b b+%é#'": "longer text", "c": "", ".hidden/x": "", "d": "d", "e": "e", "f": "f", "z": "z",
		"bad\xff": "", "line\nbreak": "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("c", filepath.Join(dir, "a-link")); err != nil {
		t.Fatal(err)
	}
	samples, err := samplesOf(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, s := range samples {
		paths = append(paths, s.path())
	}
	if got, want := strings.Join(paths, " "), "/demo/a/deep/er /demo/b%20b+%25%C3%A9%23%27 /demo/c /demo/d /demo/e"; got != want {
		t.Errorf("paths\n%s, want\n%s", got, want)
	}
	if s := samples[1]; s.size != 11 || string(s.start) != "longe" || s.sum != "3faa1e2835936f4afeb74847ac660a79794ae07807bf0248a6d510c7e1609820" {
		t.Errorf("%+v", s)
	}
	if s := samples[2]; s.size != 0 || len(s.start) != 0 {
		t.Errorf("an empty file: %+v", s)
	}
	if _, err := samplesOf(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "no file") {
		t.Errorf("an empty folder: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := samplesOf(ended, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("when interrupted: %v", err)
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		r    request
		want string
	}{
		{request{method: "GET", path: "/p", sum: "s"}, "curl -s 'http://h/p' | sha256sum"},
		{request{method: "GET", path: "/p"}, "curl -si 'http://h/p'"},
		{request{method: "HEAD", path: "/p"}, "curl -sI 'http://h/p'"},
		{request{method: "DELETE", path: "/p"}, "curl -si -X DELETE 'http://h/p'"},
		{request{method: "GET", path: "/p", name: "If-None-Match", value: `"e"`, sum: "s"}, `curl -si -H 'If-None-Match: "e"' 'http://h/p'`},
	} {
		if got := c.r.line("http://h"); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestTryNoticesWhatIsWrong(t *testing.T) {
	const sumOfText = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   request
		fails  string // empty: it does not
	}{
		{"right", answer(200, "text", "4"), request{status: 200, sum: sumOfText}, ""},
		{"another body", answer(200, "test", "4"), request{status: 200, sum: sumOfText}, "sum"},
		{"another status", answer(404, "", "0"), request{status: 200}, "status 404, want 200"},
		{"a short body", answer(200, "t", "4"), request{status: 200}, "unexpected EOF"},
		{"what it holds", answer(404, `{"status":404}`, "14"), request{status: 404, holds: `"status":404`}, ""},
		{"not what it has to hold", answer(404, "<html>", "6"), request{status: 404, holds: `"status":404`}, "lacks"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(c.answer)
			defer s.Close()
			c.want.method, c.want.path = "GET", "/"
			var out strings.Builder
			err := try(t.Context(), &out, s.URL, []request{c.want})
			if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("%v, want %q", err, c.fails)
			}
			if (out.String() != "") != (err == nil) {
				t.Errorf("it prints %q", out.String())
			}
		})
	}
}

func TestRequestsFitTheSamples(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
	}))
	defer s.Close()
	empty, full := sample{key: "empty"}, sample{key: "full", size: 9, start: []byte("start")}
	for _, c := range []struct {
		name    string
		samples []sample
		want    string
	}{
		{"a part of what is not empty", []sample{empty, full}, "GET /demo/empty, GET /demo/full, HEAD /demo/full, Range bytes=0-4, If-None-Match \"e\", If-Modified-Since Fri"},
		{"no part of what is empty", []sample{empty}, "GET /demo/empty, HEAD /demo/empty, If-None-Match \"e\", If-Modified-Since Fri"},
	} {
		list, err := requestsFor(t.Context(), s.URL, c.samples)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range list {
			if r.name != "" {
				got = append(got, r.name+" "+r.value)
			} else {
				got = append(got, r.method+" "+r.path)
			}
		}
		if all := strings.Join(got, ", "); !strings.HasPrefix(all, c.want) {
			t.Errorf("%s:\n%s, want\n%s", c.name, all, c.want)
		}
	}
	var b strings.Builder
	printLines(&b, "http://h", []request{{method: "GET", path: "/p", note: "why"}})
	if b.String() != "  curl -si 'http://h/p'\n      # why\n" {
		t.Errorf("%q", b.String())
	}
}

// TestSiteIsAsBuilt has the names of the site's assets be the hashes of what is in them, and each
// be asked for by a page.
func TestSiteIsAsBuilt(t *testing.T) {
	var pages strings.Builder
	for _, name := range []string{"index.html", "404.html"} {
		page, err := site.ReadFile("site/" + name)
		if err != nil {
			t.Fatal(err)
		}
		pages.Write(page)
	}
	assets, err := site.ReadDir("site/assets")
	if err != nil || len(assets) != 2 {
		t.Fatal(assets, err)
	}
	for _, a := range assets {
		data, err := site.ReadFile("site/assets/" + a.Name())
		if err != nil {
			t.Fatal(err)
		}
		if hash := fmt.Sprintf("%x", sha256.Sum256(data))[:8]; !strings.Contains(a.Name(), "."+hash+".") || !strings.Contains(pages.String(), `"assets/`+a.Name()+`"`) {
			t.Errorf("%s has the hash %s; rename it, and name it in index.html and 404.html", a.Name(), hash)
		}
	}
}
