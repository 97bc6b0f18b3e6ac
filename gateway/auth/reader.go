package auth

// Reader is a client that wants to know of many keys whether it may read them: its token is found
// and looked up once. Get one by NewReader, for one request. Not safe for concurrent use.
type Reader struct {
	policy *Policy
	q      *Request
	looked bool
	token  *entry  // nil: there is none, or it is no good for any key
	unsure Verdict // why it cannot be told at the moment whether the token is good; else Allowed
}

// NewReader returns a Reader for the client of q, whose Key it changes.
func (p *Policy) NewReader(q *Request) *Reader { return &Reader{policy: p, q: q} }

// LookUp has the client's token looked up, and returns why it cannot be told at the moment what it may
// read: its issuer does not say, for instance. Otherwise the verdict is Allowed, whatever the token is
// good for. As Authorize, it may wait.
func (r *Reader) LookUp() Verdict {
	if r.looked {
		return r.unsure
	}
	r.looked = true
	switch e, reason := r.policy.lookUp(r.q); {
	case reason != Allowed: // there is none
	case e.reason == Allowed:
		r.token = e
	case e.reason.Answer() == Unavailable, e.reason.Answer() == Later:
		r.unsure = e.verdict(r.q)
	}
	return r.unsure
}

// Reads tells whether the client may read a key, as Authorize would. As Authorize, it may wait
// once, unless LookUp has.
func (r *Reader) Reads(key []byte) bool {
	p, q := r.policy, r.q
	q.Key = key
	at := p.setFor(key)
	if p.sets[at].public {
		return true
	}
	r.LookUp()
	return r.token != nil && p.holds(r.token, 0, q) && (at == 0 || p.holds(r.token, at, q))
}
