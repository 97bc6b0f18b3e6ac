package limit

import (
	"iter"
	"net/netip"
	"sync/atomic"
	"time"
)

// Scope is the limits of all that is served, or of a part of it. Get one by NewScope. Safe for
// concurrent use.
type Scope struct {
	addresses   *Addresses
	bounds      Bounds // what the next three were made by
	rate        *Rate
	perAddress  *Table
	perSubject  *Table
	maxInFlight int64         // 0: no limit
	InFlight    *atomic.Int64 // requests under way; outlives s, as they may
}

// Bounds are what a Scope is made by.
type Bounds struct {
	All         Limit // of all clients together
	PerAddress  Limit // of each client's address
	PerSubject  Limit // of the subject of each token
	Clients     int   // that each limit remembers
	MaxInFlight int   // requests under way; 0: no limit
	Allow, Deny []netip.Prefix
	Shared      bool // others take of the same rates
}

// Refusal is the limit of a Scope that refuses a request.
type Refusal uint8

const (
	Admitted Refusal = iota
	ByAddress
	ByRate
	ByOwnRate
	ByAddressRate
	ByInFlight
	ByOwnInFlight
)

// NewScope returns a Scope. Rates that old has too keep their state, and the requests under way
// are counted together; old may be nil.
func NewScope(b *Bounds, old *Scope) *Scope {
	s := &Scope{bounds: *b, maxInFlight: int64(b.MaxInFlight), addresses: NewAddresses(b.Allow, b.Deny)}
	if old == nil {
		old = &Scope{InFlight: new(atomic.Int64)}
	}
	s.InFlight = old.InFlight
	if s.rate = old.rate; b.All != old.bounds.All {
		s.rate = NewRate(b.All)
	}
	if s.perAddress = old.perAddress; b.PerAddress != old.bounds.PerAddress {
		s.perAddress = NewTable(b.PerAddress, b.Clients)
	}
	if s.perSubject = old.perSubject; b.PerSubject != old.bounds.PerSubject {
		s.perSubject = NewTable(b.PerSubject, b.Clients)
	}
	if b.Shared {
		if s.rate != old.rate && s.rate != nil {
			s.rate.Share()
		}
		if s.perAddress != old.perAddress && s.perAddress != nil {
			s.perAddress.Share()
		}
		if s.perSubject != old.perSubject && s.perSubject != nil {
			s.perSubject.Share()
		}
	}
	return s
}

// Rates yields the rates of s that can be shared, by what each is for.
func (s *Scope) Rates() iter.Seq2[string, Shared] {
	return func(yield func(string, Shared) bool) {
		_ = (s.rate == nil || yield("all", s.rate)) &&
			(s.perAddress == nil || yield("address", s.perAddress)) &&
			(s.perSubject == nil || yield("subject", s.perSubject))
	}
}

// Allow tells whether the lists of addresses admit a client.
func (s *Scope) Allow(client netip.Addr) bool { return s.addresses.Allow(client) }

// none are the limits of no part. They never change.
var none Scope

// Admit holds a request against the limits that need no more than the client's address: those of
// s, which is for all, and those of a part of it. It returns the limit that refuses the request,
// and for how long; otherwise the request counts as under way until Leave. A request that is for
// no part, nil, has its answer at hand, and does not count.
//
// A refused request is given back to the rates that clients share, so that a client beyond
// its own limit takes nothing from others. A request that the part's rate per address
// refuses is given back to that of all.
//
// Hot path: zero allocations, guarded by TestAllocs.
func (s *Scope) Admit(part *Scope, client netip.Addr, now time.Duration) (by Refusal, wait time.Duration) {
	own := part
	if own == nil {
		own = &none
	}
	if !s.addresses.Allow(client) || !own.addresses.Allow(client) {
		return ByAddress, 0
	}
	if wait := s.rate.Take(now); wait > 0 {
		return ByRate, wait
	}
	if wait := own.rate.Take(now); wait > 0 {
		s.rate.Return()
		return ByOwnRate, wait
	}
	var key uint64
	if s.perAddress != nil || own.perAddress != nil {
		key = AddressKey(client)
	}
	if wait = s.perAddress.Take(key, now); wait > 0 {
		by = ByAddressRate
	} else if wait = own.perAddress.Take(key, now); wait > 0 {
		s.perAddress.Return(key)
		by = ByAddressRate
	} else if part == nil {
		return Admitted, 0
	} else if !s.enter() {
		by = ByInFlight
	} else if !own.enter() {
		s.leave()
		by = ByOwnInFlight
	} else {
		return Admitted, 0
	}
	s.rate.Return()
	own.rate.Return()
	return by, wait
}

// AdmitSubject holds a request that s and part have admitted against the rates of its token's
// subject. It returns the time for which they refuse it.
func (s *Scope) AdmitSubject(part *Scope, subject uint64, client netip.Addr, now time.Duration) (wait time.Duration) {
	if wait = s.perSubject.Take(subject, now); wait > 0 {
		s.Return(part)
	} else if wait = part.perSubject.Take(subject, now); wait > 0 {
		s.perSubject.Return(subject)
		s.perAddress.Return(AddressKey(client))
		s.Return(part)
	}
	return wait
}

// Return gives a request that s and part have admitted, and that is refused for something else,
// back to the rates that clients share.
func (s *Scope) Return(part *Scope) {
	s.rate.Return()
	part.rate.Return()
}

// Leave counts a request that s and part have admitted as no longer under way.
func (s *Scope) Leave(part *Scope) {
	s.leave()
	part.leave()
}

// enter counts a request as under way, unless too many are.
func (s *Scope) enter() bool {
	if n := s.InFlight.Add(1); s.maxInFlight > 0 && n > s.maxInFlight {
		s.InFlight.Add(-1)
		return false
	}
	return true
}

func (s *Scope) leave() { s.InFlight.Add(-1) }
