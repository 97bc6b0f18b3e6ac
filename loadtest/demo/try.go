package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// request is a request that the demo prints as a curl line, or sends itself.
type request struct {
	method, path string
	name, value  string // a header, if name is not empty
	note         string
	status       int
	sum          string // SHA-256 of the body; empty: any
	holds        string // what the body contains
	cache        string // X-Cache; empty: any
	compressed   bool   // the client says that it can decompress, and does
}

// line returns the curl line.
func (r request) line(base string) string {
	url := "'" + base + r.path + "'"
	switch {
	case r.compressed:
		return "curl -si --compressed " + url
	case r.name != "":
		return "curl -si -H '" + r.name + ": " + r.value + "' " + url
	case r.method == http.MethodHead:
		return "curl -sI " + url
	case r.sum != "":
		return "curl -s " + url + " | sha256sum"
	case r.method != http.MethodGet:
		return "curl -si -X " + r.method + " " + url
	default:
		return "curl -si " + url
	}
}

// requestsFor returns what to try with one or more samples. It asks the gateway for the
// validators of one.
func requestsFor(ctx context.Context, base string, samples []sample) ([]request, error) {
	var list []request
	first := samples[0]
	for _, s := range samples {
		list = append(list, request{method: "GET", path: s.path(), note: fmt.Sprintf("%s: %d bytes, %s", s.key, s.size, s.sum), status: 200, sum: s.sum})
		if first.size == 0 { // an empty object has no part
			first = s
		}
	}
	r, err := do(ctx, base, request{method: "HEAD", path: first.path()})
	if err != nil {
		return nil, err
	}
	r.Body.Close()
	list = append(list, request{method: "HEAD", path: first.path(), note: "the headers alone", status: 200})
	if first.size > 0 {
		sum := sha256.Sum256(first.start)
		list = append(list, request{method: "GET", path: first.path(), name: "Range", value: fmt.Sprintf("bytes=0-%d", len(first.start)-1),
			note: "206, a part", status: 206, sum: hex.EncodeToString(sum[:])})
	}
	// Files that were not stored through S3 have no ETag.
	for _, c := range []struct{ name, validator string }{{"If-None-Match", "ETag"}, {"If-Modified-Since", "Last-Modified"}} {
		// A quote would end the shell's string.
		if v := r.Header.Get(c.validator); v != "" && !strings.Contains(v, "'") {
			list = append(list, request{method: "GET", path: first.path(), name: c.name, value: v, note: "304, the client has it", status: 304})
		}
	}
	return append(list,
		request{method: "GET", path: "/demo/no-such-object", note: "404 with a JSON body", status: 404, holds: `"status":404`},
		request{method: "DELETE", path: first.path(), note: "405, read-only", status: 405},
		request{method: "GET", path: "/ready", note: "whether buckets can be reached", status: 200, holds: `"status":"ready"`},
	), nil
}

// printLines writes the curl lines.
func printLines(w io.Writer, base string, list []request) {
	for _, r := range list {
		fmt.Fprintf(w, "  %s\n      # %s\n", r.line(base), r.note)
	}
}

// try sends the requests, checks the answers and writes a line for each to out.
func try(ctx context.Context, out io.Writer, base string, list []request) error {
	for _, want := range list {
		r, err := do(ctx, base, want)
		if err != nil {
			return err
		}
		h := sha256.New()
		var body bytes.Buffer
		var w io.Writer = h
		if want.holds != "" {
			w = &body
		}
		n, err := io.Copy(w, r.Body)
		r.Body.Close()
		sum := hex.EncodeToString(h.Sum(nil))
		what := strings.TrimSpace(want.method + " " + want.path + " " + want.name)
		switch {
		case err != nil:
			return fmt.Errorf("%s: cannot read the body: %w", what, err)
		case r.StatusCode != want.status:
			return fmt.Errorf("%s: status %d, want %d", what, r.StatusCode, want.status)
		case want.cache != "" && r.Header.Get("X-Cache") != want.cache:
			return fmt.Errorf("%s: X-Cache is %q, want %s", what, r.Header.Get("X-Cache"), want.cache)
		case want.sum != "" && sum != want.sum:
			return fmt.Errorf("%s: %d bytes with sum %s, want %s", what, n, sum, want.sum)
		case !strings.Contains(body.String(), want.holds):
			return fmt.Errorf("%s: body %q lacks %s", what, body.String(), want.holds)
		}
		fmt.Fprintf(out, "ok  %d  %9d bytes  %s\n", r.StatusCode, n, what)
	}
	return nil
}

func do(ctx context.Context, base string, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, base+r.path, nil)
	if err != nil {
		return nil, err
	}
	if r.name != "" {
		req.Header.Set(r.name, r.value)
	}
	return http.DefaultClient.Do(req)
}
