package cache

import (
	"bytes"
	"math"
	"time"
)

// Policy is the configuration of a bucket's cache, for what responses leave open.
// The zero value stores what names its own lifetime, the rest to be validated on
// every use.
type Policy struct {
	TTL                  time.Duration // lifetime of what names none
	StaleWhileRevalidate time.Duration // of what does not name it
	StaleIfError         time.Duration // of what does not name it
	NegativeTTL          time.Duration // longest lifetime of a 404; 0: not stored
	MaxTTL               time.Duration // longest lifetime of the rest, whatever it names; 0: any
}

// Reason says why a response may not be stored. The zero value says that it may.
type Reason uint8

// The reasons, in the order in which they are looked for.
const (
	Storable        Reason = iota
	ReasonPartial          // 206, or a Content-Range: a part, not the object
	ReasonStatus           // neither 200 nor a 404 that the policy keeps
	ReasonNoStore          // Cache-Control: no-store
	ReasonPrivate          // Cache-Control: private
	ReasonSetCookie        // Set-Cookie: meant for one client
	ReasonVary             // Vary: by what the cache does not tell apart
	numReasons      = iota
)

var reasonNames = [numReasons]string{"storable", "partial", "status", "no_store", "private", "set_cookie", "vary"}

// String returns a short name, fit to be the label of a metric.
func (r Reason) String() string {
	if int(r) >= len(reasonNames) {
		return "unknown"
	}
	return reasonNames[r]
}

// Response holds what decides whether a response is stored. Reset prepares one, AddField
// takes each line of the head. It may be copied and used again; not safe for concurrent
// use.
type Response struct {
	Control Control

	status        int
	expires, date int64 // Unix seconds, or absent or invalid
	age           int64 // -1: absent
	vary          bool  // by what is not in the key
	setCookie     bool
	contentRange  bool
}

// Stand-ins for a date that is not there or not valid, before all dates of HTTP.
const (
	dateAbsent  = math.MinInt64
	dateInvalid = math.MinInt64 + 1
)

// Reset makes r a response of this status without any field.
func (r *Response) Reset(status int) {
	*r = Response{status: status, expires: dateAbsent, date: dateAbsent, age: -1}
	r.Control.Reset()
}

// AddField takes one line of the response's head, and keeps nothing of it. Names
// are in any case; those that do not matter here are ignored. Of Date and Age the
// first line counts; two different Expires are an invalid one.
//
// After a validation, that is the stored head as the 304 updates it (RFC 9111
// section 4.3.4) under the status 200, but for Age, Date, Vary and Set-Cookie, which
// are the 304's alone.
//
// Hot path: zero allocations, guarded by TestAssessAllocs.
func (r *Response) AddField(name, value []byte) {
	var buf [nameLength]byte
	switch string(lower(&buf, name)) {
	case "cache-control":
		ParseControl(&r.Control, value)
	case "expires":
		t := dateOrInvalid(value)
		if r.expires != dateAbsent && r.expires != t {
			t = dateInvalid
		}
		r.expires = t
	case "date":
		if r.date == dateAbsent {
			r.date = dateOrInvalid(value)
		}
	case "age":
		if r.age < 0 {
			// The first member counts, and is 0 if invalid (RFC 9111 section 5.1).
			value, _, _ = bytes.Cut(value, []byte(","))
			r.age, _ = parseSeconds(TrimOWS(value))
		}
	case "vary":
		r.vary = r.vary || !knownVary(value)
	case "set-cookie":
		r.setCookie = true
	case "content-range":
		r.contentRange = true
	}
}

// knownVary tells whether a Vary line names nothing but Origin and
// Accept-Encoding. Origins see the same of both for all clients, so their answers
// cannot differ by them.
func knownVary(value []byte) bool {
	for more := true; more; {
		var name []byte
		name, value, more = bytes.Cut(value, []byte(","))
		name = TrimOWS(name)
		if len(name) > 0 && !bytes.EqualFold(name, []byte("Origin")) && !bytes.EqualFold(name, []byte("Accept-Encoding")) {
			return false
		}
	}
	return true
}

// Assess decides whether a response may be stored (RFC 9111 section 3, for a
// shared cache that authorises before it looks up), and how long it may be served.
// Sent is when the request for it was sent: what time its answer took counts as
// age (section 4.2.3). Lifetimes are never guessed from Last-Modified.
//
// The lifetime is s-maxage, else max-age, else Expires less Date, else the
// policy's TTL (section 4.2.1). What the response says of stale-while-revalidate
// and stale-if-error wins over the policy; no-cache, must-revalidate,
// proxy-revalidate and s-maxage forbid both (section 4.2.4). A response that names
// a lifetime of 0 wants validation every time, so the policy's
// stale-while-revalidate does not apply to it. A 404 is never served stale.
//
// The policy's MaxTTL bounds the lifetime. A stale response is served for as long as it asks
// for, but to no age beyond MaxTTL and the time in the policy.
//
// Where the reason is not Storable, the Freshness is the zero value.
//
// Hot path: zero allocations, guarded by TestAssessAllocs.
func (p *Policy) Assess(r *Response, sent time.Time) (Freshness, Reason) {
	if why := p.refuse(r); why != Storable {
		return Freshness{}, why
	}
	c := &r.Control
	lifetime, explicit := r.lifetime(sent)
	if !explicit {
		lifetime = clamp(p.TTL)
	}
	longest := seconds(MaxSeconds)
	if p.MaxTTL > 0 {
		longest = min(longest, p.MaxTTL)
	}
	lifetime = min(lifetime, longest)
	f := Freshness{
		Sent:                 sent,
		Received:             seconds(max(r.age, 0)),
		Lifetime:             lifetime,
		StaleWhileRevalidate: clamp(p.StaleWhileRevalidate),
		StaleIfError:         clamp(p.StaleIfError),
		NeverStale:           c.NoCache || c.MustRevalidate || c.ProxyRevalidate || c.SMaxAge >= 0,
	}
	if explicit && lifetime == 0 {
		f.StaleWhileRevalidate = 0
	}
	if c.StaleWhileRevalidate >= 0 {
		f.StaleWhileRevalidate = seconds(c.StaleWhileRevalidate)
	}
	if c.StaleIfError >= 0 {
		f.StaleIfError = seconds(c.StaleIfError)
	}
	if r.status == 404 {
		f.NeverStale = true
		f.Lifetime = clamp(p.NegativeTTL)
		if explicit {
			f.Lifetime = min(f.Lifetime, lifetime)
		}
	}
	if c.NoCache {
		f.Lifetime = 0
	}
	f.StaleWhileRevalidate = min(f.StaleWhileRevalidate, longest-f.Lifetime+clamp(p.StaleWhileRevalidate))
	f.StaleIfError = min(f.StaleIfError, longest-f.Lifetime+clamp(p.StaleIfError))
	if f.NeverStale {
		f.StaleWhileRevalidate, f.StaleIfError = 0, 0
	}
	return f, Storable
}

func (p *Policy) refuse(r *Response) Reason {
	switch {
	case r.status == 206 || r.contentRange:
		return ReasonPartial
	case r.status != 200 && !(r.status == 404 && p.NegativeTTL > 0):
		return ReasonStatus
	case r.Control.NoStore:
		return ReasonNoStore
	case r.Control.Private:
		return ReasonPrivate
	case r.setCookie:
		return ReasonSetCookie
	case r.vary:
		return ReasonVary
	}
	return Storable
}

// lifetime returns the lifetime that the response names, if it does.
func (r *Response) lifetime(sent time.Time) (d time.Duration, explicit bool) {
	switch {
	case r.Control.SMaxAge >= 0:
		return seconds(r.Control.SMaxAge), true
	case r.Control.MaxAge >= 0:
		return seconds(r.Control.MaxAge), true
	case r.expires == dateAbsent:
		return 0, false
	case r.expires == dateInvalid:
		return 0, true
	}
	date := r.date
	if date <= dateInvalid {
		date = sent.Unix()
	}
	return seconds(min(max(r.expires-date, 0), MaxSeconds)), true
}

func seconds(n int64) time.Duration       { return time.Duration(n) * time.Second }
func clamp(d time.Duration) time.Duration { return min(max(d, 0), seconds(MaxSeconds)) }

// Freshness says for how long a stored response may be served; with the zero value, not
// at all. It does not change once made, so that any number may read it. No duration is
// beyond MaxSeconds.
type Freshness struct {
	Sent                 time.Time     // when the request for the response was sent
	Received             time.Duration // the Age it came with
	Lifetime             time.Duration // from age 0
	StaleWhileRevalidate time.Duration // beyond Lifetime
	StaleIfError         time.Duration // beyond Lifetime
	NeverStale           bool          // nothing may be served beyond Lifetime, whoever asks
}

// State says what a stored response is good for.
type State uint8

const (
	// Expired: not to be served before the origin has validated it. The zero value.
	Expired State = iota
	// Fresh: to be served as it is.
	Fresh
	// StaleRevalidate: may be served, while it is validated in the background
	// (RFC 5861 section 3).
	StaleRevalidate
	// StaleError: may be served if the origin cannot be asked or answers with an
	// error (RFC 5861 section 4).
	StaleError
	// Refused: the client wants nothing that the origin must be asked for; the
	// answer is 504 (RFC 9111 section 5.2.1.7).
	Refused
)

// String returns the name of s.
func (s State) String() string {
	return [...]string{
		Expired: "expired", Fresh: "fresh", StaleRevalidate: "stale_while_revalidate", StaleError: "stale_if_error", Refused: "refused",
	}[s]
}

// age returns the current age, RFC 9111 section 4.2.3. Clocks that were set back
// make nothing younger than it came.
func (f *Freshness) age(now time.Time) time.Duration {
	return f.Received + clamp(now.Sub(f.Sent))
}

// Age returns the age at now in whole seconds, as the Age field has it (RFC 9111
// section 5.1).
func (f *Freshness) Age(now time.Time) int64 {
	return min(int64(f.age(now)/time.Second), MaxSeconds)
}

// ended returns f as if its lifetime ended at a time, unless it has ended before.
func (f *Freshness) ended(at time.Time) *Freshness {
	ended := *f
	ended.Lifetime = min(f.Lifetime, f.age(at))
	return &ended
}

// TTL returns how many whole seconds are left of the lifetime at an age, as the ttl of
// Cache-Status has it (RFC 9211 section 2.4): negative once stale.
func (f *Freshness) TTL(age int64) int64 {
	return int64(f.Lifetime/time.Second) - age
}

// State returns what the response is good for at now, to a client without
// wishes; never Refused.
//
// Hot path: zero allocations, guarded by TestAssessAllocs.
func (f *Freshness) State(now time.Time) State {
	age := f.age(now)
	switch {
	case age < f.Lifetime:
		return Fresh
	case !f.NeverStale && age < f.Lifetime+f.StaleWhileRevalidate:
		return StaleRevalidate
	}
	return f.onError(age)
}

// onError returns the state of a response of that age that may only be served if the
// origin fails.
func (f *Freshness) onError(age time.Duration) State {
	if !f.NeverStale && f.StaleIfError > 0 && age < f.Lifetime+f.StaleIfError {
		return StaleError
	}
	return Expired
}

// Apply returns what the response stored with f is good for at now, to a client
// whose request says this (RFC 9111 section 5.2.1). f is nil where nothing is
// stored: the answer is then Expired or Refused.
//
// max-stale accepts what is stale, unless the response forbids that; max-age,
// min-fresh and no-cache turn away what they do not want, and max-age or a smaller
// max-stale also what stale-while-revalidate would have allowed. What a client
// turns away is still good for it as StaleError, where stale-if-error allows it:
// that holds regardless of other freshness information (RFC 5861 section 4).
// The request's no-store is not for stored responses (RFC 9111 section 5.2.1.5).
//
// Hot path: zero allocations, guarded by TestAssessAllocs.
func Apply(request *Control, f *Freshness, now time.Time) State {
	state := Expired
	if f != nil {
		state = f.stateFor(request, now)
	}
	if request.OnlyIfCached && state != Fresh && state != StaleRevalidate {
		return Refused
	}
	return state
}

func (f *Freshness) stateFor(request *Control, now time.Time) State {
	state, age := f.State(now), f.age(now)
	if request.NoCache || request.MaxAge >= 0 && age > seconds(request.MaxAge) ||
		request.MinFresh >= 0 && age+seconds(request.MinFresh) > f.Lifetime {
		return f.onError(age)
	}
	if state == Fresh || f.NeverStale {
		return state
	}
	if request.MaxStale == MaxSeconds || request.MaxStale >= 0 && age-f.Lifetime <= seconds(request.MaxStale) {
		return StaleRevalidate
	}
	if request.MaxStale >= 0 || request.MaxAge >= 0 {
		return f.onError(age)
	}
	return state
}

func dateOrInvalid(v []byte) int64 {
	if t, ok := ParseDate(v); ok {
		return t
	}
	return dateInvalid
}
