package auth

// Reader is a client that wants to know of many keys whether it may read them: its token is found
// and looked up once. Get one by NewReader, for one request. Not safe for concurrent use.
type Reader struct {
	policy *Policy
	q      *Request
	looked bool
	token  *entry // nil: there is none, or it is no good for any key
}

// NewReader returns a Reader for the client of q, whose Key it changes.
func (p *Policy) NewReader(q *Request) *Reader { return &Reader{policy: p, q: q} }

// Reads tells whether the client may read a key, as Authorize would. As Authorize, it may wait
// once.
func (r *Reader) Reads(key []byte) bool {
	p, q := r.policy, r.q
	q.Key = key
	at := p.setFor(key)
	if p.sets[at].public {
		return true
	}
	if !r.looked {
		r.looked = true
		if e, reason := p.lookUp(q); reason == Allowed && e.reason == Allowed {
			r.token = e
		}
	}
	return r.token != nil && p.holds(r.token, 0, q) && (at == 0 || p.holds(r.token, at, q))
}
