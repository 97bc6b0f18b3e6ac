package sign

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Credential is an access key as a service issues it.
type Credential struct {
	AccessKey, SecretKey string
	SessionToken         string    // empty: none
	Expires              time.Time // zero: never
}

// ProviderOptions say where a Provider has its credentials from.
type ProviderOptions struct {
	// Retrieve returns a credential that is valid now, and ends with its context. Calls do
	// not overlap.
	Retrieve func(context.Context) (Credential, error)
	// Region is the signing region, see Options.
	Region string
	// Reread is how often a credential that does not expire is retrieved anew; 0:
	// only when asked to.
	Reread time.Duration
	// Report is called with the result of each retrieval; nil: it is not.
	Report func(error)
}

const (
	retrieveTimeout = 15 * time.Second
	retrievePause   = time.Second // before another try, doubled up to maxPause
	maxPause        = time.Minute
	renewPause      = 5 * time.Second // between retrievals that Renew causes
)

// ProviderState is what a Provider shows of itself.
type ProviderState struct {
	Expires   time.Time // of the current credential; zero: never, or there is none
	Retrieved time.Time // end of the last retrieval that worked; zero: none has
	Attempts  int       // retrievals that have ended
	Err       error     // of the last one; nil: it worked
}

// Provider keeps a credential current: it retrieves the next one in the background
// before the present one expires, and goes on using that while this fails.
//
// A Provider is safe for concurrent use. Use NewProvider, NewStaticProvider or
// NewAnonymousProvider; Stop ends it.
type Provider struct {
	opts ProviderOptions

	current atomic.Pointer[issued] // nil: none yet

	mu       sync.Mutex // guards the following fields
	state    ProviderState
	finished chan struct{} // closed at the end of the next retrieval
	renewed  time.Time     // when Renew last caused one
	renewing bool          // that retrieval has not ended
	started  bool

	wake    chan struct{} // capacity 1: one retrieval, please
	first   chan struct{} // closed at the end of the first retrieval
	ctx     context.Context
	cancel  context.CancelFunc
	stopped chan struct{} // closed when the goroutine has ended
}

// issued is a credential and its signer. Immutable.
type issued struct {
	Credential
	signer *Signer
}

// NewStaticProvider returns a provider of one credential for ever.
func NewStaticProvider(o Options) (*Provider, error) {
	s, err := New(o)
	if err != nil {
		return nil, err
	}
	p := &Provider{}
	p.current.Store(&issued{Credential{AccessKey: o.AccessKey, SecretKey: o.SecretKey, SessionToken: o.SessionToken}, s})
	return p, nil
}

// NewAnonymousProvider returns a provider of no credential: its signer signs nothing.
func NewAnonymousProvider() *Provider {
	p := &Provider{}
	p.current.Store(&issued{signer: Anonymous()})
	return p
}

// NewProvider returns a provider that has no credential until Start has retrieved one.
func NewProvider(o ProviderOptions) *Provider {
	p := &Provider{opts: o, finished: make(chan struct{}), first: make(chan struct{}), wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	p.state.Err = errors.New("not retrieved yet")
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Start begins to retrieve credentials, in a goroutine that Stop ends. Later calls have the
// credential retrieved again at once.
func (p *Provider) Start() {
	if p.opts.Retrieve == nil {
		return
	}
	p.mu.Lock()
	begun := p.started
	p.started = true
	p.mu.Unlock()
	if begun {
		p.poke()
		return
	}
	go p.run()
}

// Stop ends retrieving, and waits for the goroutine. The credential at hand stays good
// until it expires.
func (p *Provider) Stop() {
	if p.opts.Retrieve == nil {
		return
	}
	p.cancel()
	p.mu.Lock()
	begun := p.started
	p.mu.Unlock()
	if begun {
		<-p.stopped
	}
}

// Await waits until the first retrieval has ended, or ctx.
func (p *Provider) Await(ctx context.Context) {
	if p.opts.Retrieve == nil {
		return
	}
	select {
	case <-p.first:
	case <-ctx.Done():
	}
}

// Signer returns the signer for requests at the time now; nil if there is no
// credential, or it has expired.
//
// Hot path: no lock, no allocation.
func (p *Provider) Signer(now time.Time) *Signer {
	i := p.current.Load()
	if i == nil || !i.Expires.IsZero() && !now.Before(i.Expires) {
		return nil
	}
	return i.signer
}

// State returns the present state.
func (p *Provider) State() ProviderState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// Renew replaces the credential of used, which an origin refuses, and reports whether there
// is another one now. It waits for the retrieval, at most until ctx ends. Calls at the same
// time share one retrieval; within five seconds of the last one there is none.
func (p *Provider) Renew(ctx context.Context, used *Signer) bool {
	if p.opts.Retrieve == nil {
		return false
	}
	p.mu.Lock()
	finished, now := p.finished, time.Now()
	if i := p.current.Load(); i != nil && i.signer != used {
		p.mu.Unlock()
		return true
	}
	if now.Sub(p.renewed) >= renewPause {
		p.renewed, p.renewing = now, true
		p.poke()
	}
	waits := p.renewing
	p.mu.Unlock()
	if !waits {
		return false
	}
	select {
	case <-finished:
	case <-ctx.Done():
	}
	i := p.current.Load()
	return i != nil && i.signer != used
}

func (p *Provider) poke() {
	select {
	case p.wake <- struct{}{}:
	default: // it is asked for already
	}
}

// run retrieves credentials until Stop.
func (p *Provider) run() {
	defer close(p.stopped)
	pause := retrievePause
	for {
		err := p.retrieve()
		next := p.next(time.Now())
		if err != nil {
			next = pause/2 + rand.N(pause/2)
			pause = min(2*pause, maxPause)
		} else {
			pause = retrievePause
		}
		select {
		case <-time.After(next):
		case <-p.wake:
		case <-p.ctx.Done():
		}
		if p.ctx.Err() != nil {
			return
		}
	}
}

// next returns how long until the credential at hand is replaced: until four fifths of the
// rest of its time are over, or until five minutes before its end if that is earlier, but
// at least half of the rest; a little less at random.
func (p *Provider) next(now time.Time) time.Duration {
	i := p.current.Load()
	if i == nil || i.Expires.IsZero() {
		if p.opts.Reread > 0 {
			return p.opts.Reread
		}
		return 1<<63 - 1
	}
	left := max(i.Expires.Sub(now), 0)
	margin := max(left/5, min(left/2, 5*time.Minute))
	return max(left-margin-rand.N(margin/10+1), time.Second)
}

// retrieve replaces the credential, if that works.
func (p *Provider) retrieve() error {
	ctx, cancel := context.WithTimeout(p.ctx, retrieveTimeout)
	defer cancel()
	c, err := p.opts.Retrieve(ctx)
	if err == nil && !c.Expires.IsZero() && !time.Now().Before(c.Expires) {
		err = fmt.Errorf("the credential has expired at %s", c.Expires.UTC().Format(time.RFC3339))
	}
	next := p.current.Load()
	if err == nil && (next == nil || next.Credential != c) {
		next = &issued{Credential: c}
		next.signer, err = New(Options{AccessKey: c.AccessKey, SecretKey: c.SecretKey, SessionToken: c.SessionToken, Region: p.opts.Region})
	}
	p.mu.Lock()
	if p.state.Err = err; err == nil {
		p.state.Retrieved, p.state.Expires = time.Now(), c.Expires
		p.current.Store(next)
	}
	if p.renewing = false; p.state.Attempts == 0 {
		close(p.first)
	}
	p.state.Attempts++
	close(p.finished)
	p.finished = make(chan struct{})
	p.mu.Unlock()
	if p.opts.Report != nil {
		p.opts.Report(err)
	}
	return err
}
