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

	"yatagarasu/gateway/config/access"
)

// The bounds of a key set, from a URL or a file.
const (
	maxKeySetSize = 1 << 20 // bytes
	maxKeySetKeys = 200
)

// keySet keeps the keys of a JWK set (RFC 7517, 5) fresh.
//
// One goroutine, started by start and ended by close, fetches the set: at intervals,
// and earlier when a request names an unknown key. A failed fetch changes nothing, until
// the set is older than maxAge: then it is dropped. All methods but refresh are safe for
// concurrent use.
type keySet struct {
	name      string // URL or path
	fetch     func(ctx context.Context) ([]byte, error)
	algorithm string           // of all keys; empty: the one that each key names
	update    func(keys []key) // nil: there are none any more
	maxAge    time.Duration    // 0: none
	o         Options
	limiter   *rate.Limiter    // of early fetches
	last      []byte           // the copy in use; the fetching goroutine's own
	reported  map[leftOut]bool // keys that OnLeftOut has reported; the fetching goroutine's own

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	ended  chan struct{} // closed when the goroutine has ended
	wake   chan struct{} // makes the goroutine fetch early

	mu      sync.Mutex // guards the following fields
	started bool       // the goroutine was started
	pending *keyFetch  // the fetch under way or requested; nil: there is none
	failed  bool       // the last fetch failed
	fetched time.Time  // end of the last fetch that did not fail, without monotonic clock, which stands still while a machine sleeps
	dropped bool       // the set was too old
}

// keyFetch is one fetch of a key set.
type keyFetch struct {
	done         chan struct{} // closed at its end
	began        time.Time
	afterFailure bool // the fetch before failed
}

func newKeySet(c *access.JWT, o Options, update func([]key)) *keySet {
	s := &keySet{
		algorithm: c.JWKSAlgorithm,
		update:    update,
		maxAge:    c.JWKSMaxAge,
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
	s.name, _, _ = strings.Cut(c.JWKSURL, "?") // the query may be a secret
	client := &http.Client{
		Timeout: o.FetchTimeout,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true, // minutes lie between two requests
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

// start fetches for the first time and starts the goroutine, whether or not the fetch
// fails. The error is that of the fetch.
func (s *keySet) start() error {
	err := s.refresh()
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	go s.run(err) // ended by close
	return err
}

// close ends the goroutine, and the waiting in waitForNewer and refetch.
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
		if wait -= rand.N(wait/10 + 1); s.maxAge > 0 { // gateways started together do not ask together
			wait = min(wait, s.maxAge/2) // twice at least before the set is too old
			if left := s.left(); left > 0 {
				wait = min(wait, left) // and once more then
			}
		}
		select {
		case <-s.ctx.Done():
			s.finish(true)
			return
		case <-time.After(wait):
		case <-s.wake:
		}
		err = s.refresh()
	}
}

// left returns how long the set is still trusted.
func (s *keySet) left() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Until(s.fetched.Add(s.maxAge))
}

// mayHave reports whether the set could have a key for alg.
func (s *keySet) mayHave(alg string) bool {
	if s.algorithm != "" {
		return access.CanonicalAlgorithm(alg) == s.algorithm
	}
	return access.IsPublicKeyAlgorithm(alg)
}

// waitForNewer requests a fetch and waits until deadline for keys other than those that
// the caller has seen, which changed reports. It returns false at once where there were
// too many fetches lately.
//
// A waiting request holds a slot of the requests in flight, and anybody can write a
// token with a new kid: no request waits for a fetch that has taken WaitAtMost, or that
// follows a failed one.
func (s *keySet) waitForNewer(deadline time.Time, changed func() bool) bool {
	// A fetch that was under way may have begun before the keys changed: where it
	// brings nothing new, another one is requested.
	for range 3 {
		if changed() {
			return true
		}
		f, own := s.requestFetch()
		if f == nil || f.afterFailure {
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

// refetch requests a fetch and waits for it, unless there were too many lately.
func (s *keySet) refetch() {
	for range 3 {
		f, own := s.requestFetch()
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

// requestFetch returns the fetch under way, else a new one, its own, which the goroutine
// begins. It returns nil where there were too many fetches lately.
func (s *keySet) requestFetch() (f *keyFetch, own bool) {
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
	default: // already woken
	}
	return s.pending, true
}

func (s *keySet) beginLocked() {
	s.pending = &keyFetch{done: make(chan struct{}), began: time.Now(), afterFailure: s.failed}
}

// refresh fetches once. Only the fetching goroutine calls it, and start before there is one.
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
		s.succeeded(time.Now())
		s.o.OnFetch(s.name, nil)
		return nil
	}
	var keys []key
	if err == nil {
		var left []leftOut
		keys, left, err = parseKeySet(data, s.algorithm)
		s.reportLeftOut(left)
	}
	if err != nil {
		err = fmt.Errorf("cannot use the key set %s: %w", s.name, err)
	} else {
		s.last = data
		s.update(keys)
		s.succeeded(time.Now())
	}
	if s.ctx.Err() == nil { // else close has cancelled the fetch
		s.o.OnFetch(s.name, err)
		if err != nil {
			s.dropIfTooOld()
		}
	}
	return err
}

// succeeded notes that the set at hand was right at this time.
func (s *keySet) succeeded(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched, s.dropped = at.Round(0), false
}

// dropIfTooOld drops a set that could not be fetched for too long. Only refresh calls it.
//
// It comes behind a failed fetch, so that a clock which jumps drops no set that can be
// fetched.
func (s *keySet) dropIfTooOld() {
	s.mu.Lock()
	tooOld := s.maxAge > 0 && !s.dropped && !s.fetched.IsZero() && time.Since(s.fetched) >= s.maxAge
	s.dropped = s.dropped || tooOld
	s.mu.Unlock()
	if tooOld {
		s.last = nil // the same set counts again when it comes
		s.update(nil)
		s.o.OnTooOld(s.name, s.maxAge)
	}
}

// maxReported bounds the keys in keySet.reported.
const maxReported = 10 * maxKeySetKeys

// reportLeftOut reports the keys that were left out, each of them once.
func (s *keySet) reportLeftOut(left []leftOut) {
	if s.reported == nil || len(s.reported) > maxReported {
		s.reported = make(map[leftOut]bool)
	}
	for _, l := range left {
		if !s.reported[l] {
			s.reported[l] = true
			s.o.OnLeftOut(s.name, l.key, errors.New(l.why), l.usual)
		}
	}
}

// finish ends the fetch under way, and the waiting for it.
func (s *keySet) finish(failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = failed
	if s.pending != nil {
		close(s.pending.done)
		s.pending = nil
	}
}
