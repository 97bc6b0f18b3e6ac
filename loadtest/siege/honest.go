package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// crowd is eight honest clients at an address each. What they ask for is a mixture of hits,
// misses and tokens, remembered ones and new ones, over connections that they keep, and some
// that they open.
type crowd struct {
	s       *siege
	rate    int
	clients [8]*http.Client // with a connection for the next request
	callers [8]*http.Client // who open one for each
	asked   int             // so far
	tokens  []string
}

func newCrowd(s *siege, rate int) *crowd {
	c := &crowd{s: s, rate: rate}
	for i := range c.clients {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, 0, byte(1+i))}}
		c.clients[i] = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 16}}
		c.callers[i] = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	}
	for i := range 20 {
		c.tokens = append(c.tokens, s.token(fmt.Sprint("regular-", i)))
	}
	return c
}

func (c *crowd) close() {
	for i := range c.clients {
		c.clients[i].CloseIdleConnections()
	}
}

// seen is what a crowd saw.
type seen struct {
	mu       sync.Mutex // guards the following fields
	took     []time.Duration
	failures map[string]int
	large    int // answers to requests for objects of 100 KiB that may be stored
	hits     int // those of them that came from memory
}

// hitRatio returns the share of large objects that came from memory, in percent.
func (s *seen) hitRatio() int { return 100 * s.hits / max(s.large, 1) }

func (s *seen) failed() (n int) {
	for _, count := range s.failures {
		n += count
	}
	return n
}

func (s *seen) p99() time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	slices.Sort(s.took)
	return s.took[len(s.took)*99/100]
}

// run makes requests for span, each when it is due, whether or not those before it have been
// answered. Their times count from when they were due.
func (c *crowd) run(ctx context.Context, span time.Duration) *seen {
	all := &seen{failures: make(map[string]int)}
	var under sync.WaitGroup
	begin := time.Now()
	for i := range int(span.Seconds() * float64(c.rate)) {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(c.rate))
		select {
		case <-ctx.Done():
			return all
		case <-time.After(time.Until(due)):
		}
		n := c.asked
		c.asked++
		under.Go(func() { // ends with the answer, or the client's timeout
			err := c.ask(ctx, n, all)
			took := time.Since(due)
			all.mu.Lock()
			defer all.mu.Unlock()
			all.took = append(all.took, took)
			if err != nil && ctx.Err() == nil {
				all.failures[err.Error()]++
			}
		})
	}
	under.Wait()
	return all
}

// ask makes the n-th request and checks what comes.
func (c *crowd) ask(ctx context.Context, n int, all *seen) error {
	client, method, path, key, token := c.clients[n%8], http.MethodGet, "/hits/", fmt.Sprintf("o/%d", n%50), ""
	switch kind := n / 8 % 20; {
	case kind < 8:
	case kind < 10:
		key = fmt.Sprintf("m/%d-%d", n/c.rate, n%5) // others each second
	case kind < 14:
		path, key = "/plain/", fmt.Sprintf("o/new-%d", n)
	case kind < 15:
		method, path, key = http.MethodHead, "/plain/", fmt.Sprintf("o/new-%d", n)
	case kind < 17:
		path, token = "/private/", c.tokens[n%len(c.tokens)]
	case kind < 18:
		path, token = "/private/", c.s.token(fmt.Sprint("new-", n))
	default:
		client = c.callers[n%8]
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+c.s.address+path+key, nil)
	if err != nil {
		return err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("%s %s*: %w", method, path, reason(err))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return fmt.Errorf("%s %s*: the body: %w", method, path, reason(err))
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s*: %s, %.80s", method, path, answer.Status, body)
	case method == http.MethodGet && !bytes.Equal(body, bodyOf(key)), method == http.MethodHead && answer.ContentLength != int64(sizeOf(key)):
		return fmt.Errorf("%s %s*: the bytes of something else: %.40q", method, path, body)
	}
	if sizeOf(key) > 64<<10 {
		all.mu.Lock()
		defer all.mu.Unlock()
		all.large++
		if strings.HasPrefix(answer.Header.Get("X-Cache"), "HIT") {
			all.hits++
		}
	}
	return nil
}

// reason returns what went wrong, without addresses and ports, so that equal ones are counted
// together.
func reason(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return errors.New(u.Err.Error())
	}
	return err
}

// token mints a token of the private bucket.
func (s *siege) token(subject string) string {
	claims := fmt.Sprintf(`{"sub":%q,"exp":%d}`, subject, time.Now().Add(time.Hour).Unix())
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(s.secret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
