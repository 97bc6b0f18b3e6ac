package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	neturl "net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"yatagarasu/gateway/config"
)

// Bounds of a key set. They hold for a file, too.
const (
	maxKeySetSize = 1 << 20 // bytes
	maxKeySetKeys = 200
)

// keySet keeps the keys of a JWK set (RFC 7517, 5) fresh.
//
// One goroutine, started by start and ended by close, fetches: at intervals, and
// earlier when a request names a key that is not there. A failed fetch changes
// nothing.
type keySet struct {
	name      string // URL or path
	fetch     func(ctx context.Context) ([]byte, error)
	algorithm string // of all keys; empty: as each key says
	update    func(keys []key)
	o         Options
	limiter   *rate.Limiter    // of early fetches
	last      []byte           // the copy in use; the fetching goroutine's own
	told      map[leftOut]bool // keys that OnLeftOut was told of; the fetching goroutine's own

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	ended  chan struct{} // closed when the goroutine has ended
	wake   chan struct{} // tells it to fetch early

	mu      sync.Mutex // guards the following fields
	started bool       // the goroutine runs
	pending *keyFetch  // the fetch under way or asked for; nil: none is
	failed  bool       // the last one did
}

// keyFetch is one fetch of a key set.
type keyFetch struct {
	done  chan struct{} // closed at its end
	began time.Time
	again bool // the one before failed
}

func newKeySet(c *config.JWT, o Options, update func([]key)) *keySet {
	s := &keySet{
		algorithm: c.JWKSAlgorithm,
		update:    update,
		o:         o,
		limiter:   rate.NewLimiter(rate.Every(o.EarlyEvery), o.EarlyBurst),
		wake:      make(chan struct{}, 1),
		ended:     make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if c.JWKSFile != "" {
		s.name = c.JWKSFile
		s.fetch = func(context.Context) ([]byte, error) { return readKeySetFile(c.JWKSFile) }
		return s
	}
	roots := o.RootCAs
	if len(c.CA) > 0 {
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM(c.CA)
	}
	s.name, _, _ = strings.Cut(c.JWKSURL, "?") // the rest may be a secret
	client := &http.Client{
		Timeout: o.FetchTimeout,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true, // minutes lie between two requests
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.fetch = func(ctx context.Context) ([]byte, error) { return getKeySet(ctx, client, c.JWKSURL) }
	return s
}

func readKeySetFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readKeySet(f)
}

func getKeySet(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	r.Header.Set("User-Agent", "yatagarasu")
	resp, err := client.Do(r)
	if err != nil {
		var u *neturl.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL
		}
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, fmt.Errorf("it redirects (status %d), which is not followed; configure the final URL", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers with status %d", resp.StatusCode)
	}
	return readKeySet(resp.Body)
}

func readKeySet(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxKeySetSize+1))
	if err == nil && len(data) > maxKeySetSize {
		err = errors.New("it is larger than 1 MiB")
	}
	return data, err
}

// start fetches for the first time and starts the goroutine, whether or not that
// worked; the error is the first fetch's.
func (s *keySet) start() error {
	err := s.refresh()
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	go s.run(err) // ended by close
	return err
}

// close ends the goroutine and lets go of whoever waits.
func (s *keySet) close() {
	s.cancel()
	s.mu.Lock()
	started := s.started
	s.mu.Unlock()
	if started {
		<-s.ended
	}
}

func (s *keySet) run(err error) {
	defer close(s.ended)
	failures := 0
	for {
		wait := s.o.RefreshEvery
		if failures++; err == nil {
			failures = 0
		} else {
			wait = min(wait, s.o.RetryAfter<<min(failures-1, 10))
		}
		wait -= rand.N(wait/10 + 1) // gateways started together do not ask together
		timer := time.NewTimer(wait)
		select {
		case <-s.ctx.Done():
			timer.Stop()
			s.finish(true)
			return
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		}
		err = s.refresh()
	}
}

// mayHave reports whether a key of the set could be for alg.
func (s *keySet) mayHave(alg string) bool {
	if s.algorithm != "" {
		return config.CanonicalAlgorithm(alg) == s.algorithm
	}
	return config.IsPublicKeyAlgorithm(alg)
}

// newer asks for another copy than the one in use, and waits for it until
// deadline. It reports at once that there is none if too many were asked for
// lately. changed tells whether the keys in use are others than those the caller
// has seen.
//
// Whoever waits holds a slot of the requests in flight, and anybody can write a
// token with a new kid: nobody waits for a fetch that has taken WaitAtMost, or that
// follows a failed one.
func (s *keySet) newer(deadline time.Time, changed func() bool) bool {
	// A fetch that was under way may have begun before the keys changed: where it
	// brings nothing new, another one is asked for.
	for range 3 {
		if changed() {
			return true
		}
		f, own := s.ask()
		if f == nil || f.again {
			return false
		}
		ctx, cancel := context.WithTimeout(s.ctx, min(time.Until(deadline), time.Until(f.began.Add(s.o.WaitAtMost))))
		select {
		case <-f.done:
		case <-ctx.Done():
			own = true
		}
		cancel()
		if own {
			break
		}
	}
	return changed()
}

// renew has the set fetched once more and waits for that, unless too many fetches
// were asked for lately.
func (s *keySet) renew() {
	for range 3 {
		f, own := s.ask()
		if f == nil {
			return
		}
		select {
		case <-f.done:
		case <-s.ctx.Done():
			return
		}
		if own {
			return
		}
	}
}

// ask returns the fetch under way, else one of its own, which the goroutine begins;
// nil if too many were asked for lately.
func (s *keySet) ask() (f *keyFetch, own bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending != nil {
		return s.pending, false
	}
	if !s.started || s.ctx.Err() != nil || !s.limiter.Allow() {
		return nil, false
	}
	s.beginLocked()
	select {
	case s.wake <- struct{}{}:
	default: // already told
	}
	return s.pending, true
}

func (s *keySet) beginLocked() {
	s.pending = &keyFetch{done: make(chan struct{}), began: time.Now(), again: s.failed}
}

// refresh fetches once.
func (s *keySet) refresh() (err error) {
	s.mu.Lock()
	if s.pending == nil {
		s.beginLocked()
	}
	s.mu.Unlock()
	defer func() { s.finish(err != nil) }()

	ctx, cancel := context.WithTimeout(s.ctx, s.o.FetchTimeout)
	defer cancel()
	data, err := s.fetch(ctx)
	if err == nil && s.last != nil && bytes.Equal(data, s.last) {
		s.o.OnFetch(s.name, nil)
		return nil
	}
	var keys []key
	if err == nil {
		var left []leftOut
		keys, left, err = parseKeySet(data, s.algorithm)
		s.tell(left)
	}
	if err != nil {
		err = fmt.Errorf("cannot use the key set %s: %w", s.name, err)
	} else {
		s.last = data
		s.update(keys)
	}
	if s.ctx.Err() == nil { // else it was given up, and says nothing about the set
		s.o.OnFetch(s.name, err)
	}
	return err
}

// maxTold bounds what is remembered of keys that were left out.
const maxTold = 10 * maxKeySetKeys

// tell names the keys that were left out, those alone that have not been named.
func (s *keySet) tell(left []leftOut) {
	if s.told == nil || len(s.told) > maxTold {
		s.told = make(map[leftOut]bool)
	}
	for _, l := range left {
		if !s.told[l] {
			s.told[l] = true
			s.o.OnLeftOut(s.name, l.key, errors.New(l.why), l.usual)
		}
	}
}

// finish notes how the fetch under way ended, and lets go of those who wait for it.
func (s *keySet) finish(failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = failed
	if s.pending != nil {
		close(s.pending.done)
		s.pending = nil
	}
}
