package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
)

// printLines writes a curl line for every request that try sends.
func printLines(w io.Writer, base string, samples []sample) {
	for _, s := range samples {
		fmt.Fprintf(w, "  curl -s '%s%s' | sha256sum\n      # %s: %d bytes, %s\n", base, s.path(), s.key, s.size, s.sum)
	}
	first := base + samples[0].path()
	fmt.Fprintf(w, "  curl -sI '%s'\n      # the headers alone\n", first)
	fmt.Fprintf(w, "  curl -si -H 'Range: bytes=0-4' '%s'\n      # 206, a part\n", first)
	fmt.Fprintf(w, "  curl -si -H \"If-Modified-Since: $(date -uR | sed s/+0000/GMT/)\" '%s'\n      # 304, the client has it\n", first)
	fmt.Fprintf(w, "  curl -si '%s/demo/no-such-object'\n      # 404 with a JSON body\n", base)
	fmt.Fprintf(w, "  curl -si -X DELETE '%s'\n      # 405, read-only\n", first)
	fmt.Fprintf(w, "  curl -s '%s/ready'\n      # which buckets are reachable\n", base)
}

// try sends the requests of printLines and compares the answers.
func try(base string, samples []sample) error {
	for _, s := range samples {
		r, err := http.Get(base + s.path())
		if err != nil {
			return err
		}
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		r.Body.Close()
		sum := hex.EncodeToString(h.Sum(nil))
		if err != nil || r.StatusCode != 200 || n != s.size || sum != s.sum {
			return fmt.Errorf("%s: status %d, %d bytes, sum %s, error %v; want 200, %d bytes, %s", s.path(), r.StatusCode, n, sum, err, s.size, s.sum)
		}
		fmt.Printf("ok  200  %9d bytes  %s\n", n, s.path())
	}
	first := samples[0].path()
	for _, c := range []struct {
		method, path, name, value string
		status                    int
	}{
		{"HEAD", first, "", "", 200},
		{"GET", first, "Range", "bytes=0-4", 206},
		{"GET", first, "If-Modified-Since", "Fri, 01 Jan 2038 00:00:00 GMT", 304},
		{"GET", "/demo/no-such-object", "", "", 404},
		{"DELETE", first, "", "", 405},
		{"GET", "/health", "", "", 200},
	} {
		req, err := http.NewRequest(c.method, base+c.path, nil)
		if err != nil {
			return err
		}
		if c.name != "" {
			req.Header.Set(c.name, c.value)
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
		if r.StatusCode != c.status {
			return fmt.Errorf("%s %s: status %d, want %d", c.method, c.path, r.StatusCode, c.status)
		}
		fmt.Printf("ok  %d  %s %s %s\n", r.StatusCode, c.method, c.path, c.name)
	}
	return nil
}
