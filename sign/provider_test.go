package sign

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// issuer issues numbered credentials.
type issuer struct {
	life   time.Duration // 0: for ever
	issued atomic.Int64
	down   atomic.Bool
}

func (i *issuer) retrieve(context.Context) (Credential, error) {
	if i.down.Load() {
		return Credential{}, errors.New("the service is down")
	}
	c := Credential{AccessKey: fmt.Sprintf("AK%d", i.issued.Add(1)), SecretKey: "secret", SessionToken: "token"}
	if i.life > 0 {
		c.Expires = time.Now().Add(i.life)
	}
	return c, nil
}

func startProvider(t *testing.T, o ProviderOptions) *Provider {
	t.Helper()
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	p := NewProvider(o)
	t.Cleanup(p.Stop)
	p.Start()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p.Await(ctx)
	return p
}

// credentialOf returns the credential at hand; ok is false if there is none.
func credentialOf(p *Provider) (c Credential, ok bool) {
	if i := p.current.Load(); i != nil {
		return i.Credential, true
	}
	return Credential{}, false
}

func keyOf(p *Provider) string {
	c, _ := credentialOf(p)
	return c.AccessKey
}

// eventually waits until ok, in the time of a bubble.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never:", what)
		}
	}
}

func TestStaticProvider(t *testing.T) {
	p, err := NewStaticProvider(Options{AccessKey: "a", SecretKey: "s", Region: "r"})
	if err != nil {
		t.Fatal(err)
	}
	p.Start()
	p.Await(t.Context())
	s := p.Signer(time.Now().Add(1000 * time.Hour))
	if c, ok := credentialOf(p); s == nil || !ok || c.AccessKey != "a" || p.Renew(t.Context(), s) {
		t.Error(s, c)
	}
	p.Stop()
	if _, err := NewStaticProvider(Options{}); err == nil {
		t.Error("no credential is one")
	}
}

func TestProviderRefreshesBeforeExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{life: 3 * time.Second}
		p := startProvider(t, ProviderOptions{Retrieve: i.retrieve})
		for range 1000 { // 5 s of the bubble
			time.Sleep(5 * time.Millisecond)
			if p.Signer(time.Now()) == nil {
				t.Fatalf("there is no credential, after %d", i.issued.Load())
			}
		}
		if n := i.issued.Load(); n < 3 || n > 6 {
			t.Errorf("%d credentials in 5 s", n)
		}
	})
}

// TestProviderNext has the times of the documentation.
func TestProviderNext(t *testing.T) {
	now := time.Now()
	for life, want := range map[time.Duration][2]time.Duration{
		time.Minute:      {27 * time.Second, 30 * time.Second},
		15 * time.Minute: {9*time.Minute + 30*time.Second, 10 * time.Minute},
		time.Hour:        {46 * time.Minute, 48 * time.Minute},
		12 * time.Hour:   {9 * time.Hour, 10 * time.Hour},
		0:                {time.Second, time.Second},
	} {
		p := NewProvider(ProviderOptions{})
		p.current.Store(&issued{Credential{Expires: now.Add(life)}, nil})
		for range 100 {
			if got := p.next(now); got < want[0] || got > want[1] {
				t.Errorf("%v: %v, want %v", life, got, want)
			}
		}
	}
}

func TestProviderKeepsTheOldOneUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{life: 2 * time.Second}
		var reports atomic.Int64
		p := startProvider(t, ProviderOptions{Retrieve: i.retrieve, Report: func(err error) {
			if err != nil {
				reports.Add(1)
			}
		}})
		i.down.Store(true)
		eventually(t, "a failure is visible", func() bool { s := p.State(); return s.Err != nil && !s.Expires.IsZero() })
		if p.Signer(time.Now()) == nil || p.Signer(time.Now().Add(2*time.Second)) != nil {
			t.Error("not the one at hand until it expires")
		}
		eventually(t, "it expires", func() bool { return p.Signer(time.Now()) == nil })
		i.down.Store(false)
		eventually(t, "there is a new one", func() bool { return p.Signer(time.Now()) != nil && p.State().Err == nil })
		if reports.Load() == 0 {
			t.Error("nothing is reported")
		}
	})
}

func TestProviderWithoutACredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		i.down.Store(true)
		p := startProvider(t, ProviderOptions{Retrieve: i.retrieve})
		if _, ok := credentialOf(p); ok || p.Signer(time.Now()) != nil || !strings.Contains(p.State().Err.Error(), "down") {
			t.Error(p.State())
		}
		i.down.Store(false)
		p.Start() // again: at once
		eventually(t, "there is one", func() bool { return p.Signer(time.Now()) != nil })
	})
}

func TestProviderRefusesWhatIsNoCredential(t *testing.T) {
	for name, c := range map[string]Credential{
		"empty":   {},
		"expired": {AccessKey: "a", SecretKey: "s", Expires: time.Now().Add(-time.Second)},
		"newline": {AccessKey: "a", SecretKey: "s\n"},
	} {
		p := startProvider(t, ProviderOptions{Retrieve: func(context.Context) (Credential, error) { return c, nil }})
		if p.Signer(time.Now()) != nil || p.State().Err == nil {
			t.Error(name)
		}
	}
}

// TestRenewIsCalledOnce has a thousand requests find that a credential is not taken.
func TestRenewIsCalledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		p := startProvider(t, ProviderOptions{Retrieve: i.retrieve})
		used := p.Signer(time.Now())
		var wg sync.WaitGroup
		var renewed atomic.Int64
		for range 1000 {
			wg.Go(func() {
				if p.Renew(t.Context(), used) {
					renewed.Add(1)
				}
			})
		}
		wg.Wait()
		if n := i.issued.Load(); renewed.Load() != 1000 || n != 2 {
			t.Errorf("%d are renewed by %d credentials", renewed.Load(), n)
		}
		if used = p.Signer(time.Now()); p.Renew(t.Context(), used) || i.issued.Load() != 2 {
			t.Error("asked too often, it is retrieved again")
		}
		slow := startProvider(t, ProviderOptions{Retrieve: func(ctx context.Context) (Credential, error) {
			if i.issued.Add(1) > 3 {
				<-ctx.Done()
			}
			return i.retrieve(ctx)
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if slow.Renew(ctx, slow.Signer(time.Now())) {
			t.Error("what does not end is waited for")
		}
	})
}

func TestProviderRereads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := new(issuer)
		p := startProvider(t, ProviderOptions{Retrieve: i.retrieve, Reread: 10 * time.Millisecond})
		eventually(t, "it is read again", func() bool { return i.issued.Load() >= 3 && keyOf(p) != "AK1" })
		same := startProvider(t, ProviderOptions{Reread: time.Millisecond, Retrieve: func(context.Context) (Credential, error) {
			return Credential{AccessKey: "a", SecretKey: "s"}, nil
		}})
		s := same.Signer(time.Now())
		eventually(t, "it is read again", func() bool { return same.State().Attempts > 5 })
		if same.Signer(time.Now()) != s {
			t.Error("the same credential has another signer")
		}
	})
}

func TestProviderStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := make(chan bool, 1)
		var ended atomic.Bool
		p := NewProvider(ProviderOptions{Region: "r", Retrieve: func(ctx context.Context) (Credential, error) {
			began <- true
			<-ctx.Done()
			time.Sleep(time.Second) // of the bubble: it takes a while to end
			ended.Store(true)
			return Credential{}, ctx.Err()
		}})
		p.Start()
		<-began
		if p.Stop(); !ended.Load() {
			t.Error("it stops while it retrieves")
		}
		NewProvider(ProviderOptions{Retrieve: new(issuer).retrieve}).Stop()
	})
}

// TestAnonymous signs nothing; a signer that nobody made signs nothing either, but by a
// panic.
func TestAnonymous(t *testing.T) {
	p := NewAnonymousProvider()
	p.Start()
	defer p.Stop()
	p.Await(t.Context())
	s := p.Signer(time.Now())
	r := &Request{Method: "GET", Host: []byte("h"), Path: []byte("/"), Headers: []Header{{"range", []byte("bytes=0-0")}}}
	if got := string(s.AppendHeaders([]byte("x"), r, time.Now())); got != "x" {
		t.Errorf("it appends %q", got)
	}
	if c, ok := credentialOf(p); !ok || c != (Credential{}) || p.State().Err != nil || p.Renew(t.Context(), s) {
		t.Errorf("%+v %+v", c, p.State())
	}
	if got := fmt.Sprintf("%v %+v %#v %s", s, s, s, s); got != strings.TrimSpace(strings.Repeat("sign.Signer{anonymous} ", 4)) {
		t.Error(got)
	}
	defer func() {
		if recover() == nil {
			t.Error("the zero signer is taken for an anonymous one")
		}
	}()
	new(Signer).AppendHeaders(nil, r, time.Now())
}
