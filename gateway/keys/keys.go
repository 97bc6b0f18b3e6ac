// Package keys has the keys that verify the signatures of tokens: those of the configuration,
// and those of a key set (RFC 7517, 5), which it fetches and keeps fresh, by its own address or by
// that which its issuer's discovery document has.
package keys

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/config/access"
)

// Options are the settings of keys that the configuration file does not have. The zero value
// has the defaults.
type Options struct {
	// RefreshEvery is the interval between fetches of a key set. Default 5 minutes.
	RefreshEvery time.Duration
	// RetryAfter is the interval after a failed fetch. It doubles with each further
	// failure, up to RefreshEvery. Default 5 s.
	RetryAfter time.Duration
	// EarlyEvery and EarlyBurst bound the fetches that unknown keys cause: EarlyBurst
	// at once, and one more in each EarlyEvery. Default 10 s, 3.
	EarlyEvery time.Duration
	EarlyBurst int
	// FetchTimeout bounds one fetch. Default 5 s.
	FetchTimeout time.Duration
	// WaitAtMost is how long a token with an unknown key waits for a fetch. Default 1 s.
	WaitAtMost time.Duration
	// RootCAs are the authorities trusted for a jwks_url or issuer_url. Nil: the system's.
	RootCAs *x509.CertPool
	// OnFetch is called after each fetch of the key set of this name, by the goroutine
	// that fetches; err is nil after a success. Before that of a set that was
	// fetched from where the last good copy of an issuer's document says, there is a call with
	// what is wrong with fetching the document. Default: no call.
	OnFetch func(name string, err error)
	// OnCrowd is called, likewise, where a new key set of this name brings more keys for
	// an algorithm than are tried with a token that names none. Default: no call.
	OnCrowd func(name, algorithm string)
	// OnTooOld is called, likewise, where the key set of this name is no longer trusted,
	// because it could not be fetched for maxAge. Default: no call.
	OnTooOld func(name string, maxAge time.Duration)
	// OnLeftOut is called, likewise, once for each key of the set of this name that
	// verifies nothing. key is its kid, for people; usual reports that the key is right,
	// but for another use. Default: no call.
	OnLeftOut func(name, key string, why error, usual bool)
}

func (o *Options) setDefaults() {
	o.RefreshEvery = cmp.Or(max(o.RefreshEvery, 0), 5*time.Minute)
	o.RetryAfter = cmp.Or(max(o.RetryAfter, 0), 5*time.Second)
	o.EarlyEvery = cmp.Or(max(o.EarlyEvery, 0), 10*time.Second)
	o.EarlyBurst = cmp.Or(max(o.EarlyBurst, 0), 3)
	o.FetchTimeout = cmp.Or(max(o.FetchTimeout, 0), 5*time.Second)
	o.WaitAtMost = cmp.Or(max(o.WaitAtMost, 0), time.Second)
	if o.OnFetch == nil {
		o.OnFetch = func(string, error) {}
	}
	if o.OnLeftOut == nil {
		o.OnLeftOut = func(string, string, error, bool) {}
	}
	if o.OnTooOld == nil {
		o.OnTooOld = func(string, time.Duration) {}
	}
	if o.OnCrowd == nil {
		o.OnCrowd = func(string, string) {}
	}
}

// Keys has the keys of one jwt block of the configuration.
//
// Create it with New, call Start before use and Close after. It is safe for concurrent use.
type Keys struct {
	config     *access.JWT
	configured []Key
	ring       atomic.Pointer[Ring]
	set        *keySet                // nil: there are configured keys alone
	issuer     atomic.Pointer[Issuer] // nil: there is no copy that is trusted, or no issuer
}

// New compiles the keys of c. It reads a key set from a file, and none from a URL.
func New(c *access.JWT, o Options) (*Keys, error) {
	o.setDefaults()
	k := &Keys{config: c}
	var err error
	if k.configured, err = configuredKeys(c); err != nil {
		return nil, err
	}
	k.ring.Store(&Ring{Keys: k.configured, Version: 1})
	if c.JWKSURL != "" || c.JWKSFile != "" || c.IssuerURL != "" {
		k.set = newKeySet(k, o)
	}
	if c.JWKSFile != "" {
		if err := k.set.refresh(); err != nil {
			k.set.close()
			return nil, err
		}
	}
	return k, nil
}

// setFetched uses fetched keys beside the configured ones; without any, those alone. Only the
// fetching goroutine calls it, and Inherit before there is one.
func (k *Keys) setFetched(fetched []Key) {
	ring := &Ring{Version: k.Ring().Version + 1, Fetched: len(fetched) > 0}
	ring.Keys = append(append(ring.Keys, k.configured...), fetched...)
	k.ring.Store(ring)
	if a := ring.crowded(); a != "" {
		k.set.o.OnCrowd(k.set.name, a)
	}
}

// Ring returns the keys at hand.
func (k *Keys) Ring() *Ring { return k.ring.Load() }

// None reports whether there are no keys, and will be none.
func (k *Keys) None() bool { return k.set == nil && len(k.configured) == 0 }

// Configured returns the keys of the configuration itself, in its order.
func (k *Keys) Configured() []Key { return k.configured }

// Inherit takes over old's copy of the key set, and of what the issuer says, if k has the same and
// no copy yet. One that does not say what k wants of it is none. Call it before Start.
func (k *Keys) Inherit(old *Keys) {
	ring, c, o := old.Ring(), k.config, old.config
	same := c.JWKSURL+c.IssuerURL != "" && c.JWKSURL == o.JWKSURL && c.IssuerURL == o.IssuerURL && c.JWKSAlgorithm == o.JWKSAlgorithm && bytes.Equal(c.CA, o.CA)
	if same && k.inheritIssuer(old) && ring.Fetched && !k.Ring().Fetched {
		k.setFetched(ring.Keys[len(old.configured):])
		_, at, _ := old.Set()
		k.set.succeeded(at) // a reload makes it no younger
	}
}

// Set returns the name of the key set, empty where there is none, when it was last fetched,
// zero before that, and how long after that it is trusted; 0: for good.
func (k *Keys) Set() (name string, fetched time.Time, maxAge time.Duration) {
	if k.set == nil {
		return "", time.Time{}, 0
	}
	k.set.mu.Lock()
	defer k.set.mu.Unlock()
	return k.set.name, k.set.fetched, k.set.maxAge
}

// Start fetches the key set, if there is one, and keeps it fresh until Close. It fails
// where there is no copy and the configuration does not allow that.
func (k *Keys) Start() error {
	if k.set == nil {
		return nil
	}
	if err := k.set.start(); err != nil && !k.config.JWKSOptional && !k.Ring().Fetched {
		k.set.close()
		return err
	}
	return nil
}

// Refresh fetches the key set, if there is one, and waits for that. It does nothing
// where there were too many fetches lately.
func (k *Keys) Refresh() {
	if k.set != nil {
		k.set.refetch()
	}
}

// Close ends the goroutine that Start has started, and all waiting. The keys at hand stay.
func (k *Keys) Close() {
	if k.set != nil {
		k.set.close()
	}
}

// MayFetch reports whether a newer copy of the key set could have a key for alg.
func (k *Keys) MayFetch(alg string) bool { return k.set != nil && k.set.mayHave(alg) }

// Deadline returns until when a token that comes now may wait for keys that are fetched.
func (k *Keys) Deadline() time.Time { return time.Now().Add(k.set.o.WaitAtMost) }

// WaitForNewer has the key set fetched and waits until deadline for other keys than those of
// ring. It returns false at once where there were too many fetches lately, or the last one
// failed. MayFetch must hold.
func (k *Keys) WaitForNewer(ring *Ring, deadline time.Time) bool {
	return k.set.waitForNewer(deadline, func() bool { return k.Ring().Version != ring.Version })
}
