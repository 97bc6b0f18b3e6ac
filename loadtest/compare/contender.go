package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"yatagarasu/loadtest/process"
)

// contender is a running server that answers /hit/OBJECT or /miss/OBJECT.
type contender struct {
	*process.Process // its tree is measured
	name             string
	base             map[string]string // base URL of each way to ask: hit, miss, ...
	header           string            // line of each request; empty: none
	fromFiles        bool              // it has no cache and no origin
}

// url returns the URL of an object when asked for in some way.
func (c *contender) url(way, object string) string { return c.base[way] + "/" + object }

// await waits until c answers in every way it has.
func (c *contender) await(ctx context.Context) error {
	for way := range c.base {
		err := c.Await(ctx, 20*time.Millisecond, func() error {
			_, err := c.fetch(way, "1k")
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

var client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} // the certificate is this program's own

// fetch asks a contender once, checks the answer's bytes and returns its head.
func (c *contender) fetch(way, object string) (*http.Response, error) {
	request, err := http.NewRequest(http.MethodGet, c.url(way, object), nil)
	if err != nil {
		return nil, err
	}
	if name, value, found := strings.Cut(c.header, ": "); found {
		request.Header.Set(name, value)
	}
	r, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			return nil, err
		}
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, body); err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", request.URL, r.StatusCode)
	}
	if want := sha256.Sum256(objectBody(object)); !bytes.Equal(sum.Sum(nil), want[:]) {
		return nil, fmt.Errorf("%s: the body is not the origin's", request.URL)
	}
	return r, nil
}

// check makes sure that c does what w measures: it answers hits from memory, goes to
// the origin for misses, and sends the right bytes.
func (c *contender) check(w *work) error {
	before, err := c.fetch(w.way, w.object)
	if err != nil {
		return err
	}
	coded := w.way == "gzip"
	hit := w.way == "hit" || w.way == "tls" || coded
	isHit := func(r *http.Response) bool {
		return (strings.HasPrefix(r.Header.Get("X-Cache"), "HIT") || c.fromFiles) && (r.Header.Get("Content-Encoding") == "gzip") == coded
	}
	r, err := c.fetch(w.way, w.object)
	for end := time.Now().Add(2 * time.Second); err == nil && hit && !isHit(r) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // a contender that stores through a file answers first
		r, err = c.fetch(w.way, w.object)
	}
	if err != nil {
		return err
	}
	if w.way == "tls" && r.TLS.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return fmt.Errorf("%s: cipher %s", c.name, tls.CipherSuiteName(r.TLS.CipherSuite))
	}
	if c.name == floor || c.name == direct {
		return nil // they have no cache
	}
	if isHit(r) != hit {
		return fmt.Errorf("%s: X-Cache is %q the second time, %q the first", c.name, r.Header.Get("X-Cache"), before.Header.Get("X-Cache"))
	}
	return nil
}
