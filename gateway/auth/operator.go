package auth

import "bytes"

// operator is a comparison of claim rules.
type operator struct {
	name string
	// holds compares a claim, which is there and not null, with the rule's value.
	// It must not keep claim or q.
	holds func(r *rule, claim *value, q *Request) bool
}

// operators are the comparisons. A new one is a row here, and its name with what
// it compares with in the configuration.
//
// A claim of another type than the value fails all of them, the negative ones
// too: nothing is converted, and what is unclear is refused.
var operators = [...]operator{
	{"equals", func(r *rule, claim *value, q *Request) bool {
		equal, ok := r.operands[0].equal(claim, q)
		return ok && equal
	}},
	{"not_equals", func(r *rule, claim *value, q *Request) bool {
		equal, ok := r.operands[0].equal(claim, q)
		return ok && !equal
	}},
	{"in", func(r *rule, claim *value, q *Request) bool {
		found, _ := r.among(claim, q)
		return found
	}},
	{"not_in", func(r *rule, claim *value, q *Request) bool {
		found, ok := r.among(claim, q)
		return ok && !found
	}},
	{"contains", contains},
	{"gt", func(r *rule, claim *value, _ *Request) bool { order, ok := r.order(claim); return ok && order > 0 }},
	{"lt", func(r *rule, claim *value, _ *Request) bool { order, ok := r.order(claim); return ok && order < 0 }},
	{"gte", func(r *rule, claim *value, _ *Request) bool { order, ok := r.order(claim); return ok && order >= 0 }},
	{"lte", func(r *rule, claim *value, _ *Request) bool { order, ok := r.order(claim); return ok && order <= 0 }},
	{"exists", func(*rule, *value, *Request) bool { return true }},
	{"matches", func(r *rule, claim *value, _ *Request) bool {
		return claim.kind == kindString && r.pattern.Match(claim.text)
	}},
}

// holds applies r to a claim, which is nil if the token has none.
func (r *rule) holds(claim *value, q *Request) bool {
	return claim != nil && claim.kind != kindNull && r.op.holds(r, claim, q)
}

// equal compares a claim with o. It is not ok if their types differ, or o depends
// on a value that the request lacks.
func (o *operand) equal(claim *value, q *Request) (equal, ok bool) {
	if claim.kind != o.kind {
		return false, false
	}
	switch o.kind {
	case kindString:
		if o.template == nil {
			return string(claim.text) == o.text, true
		}
		q.scratch, ok = o.appendString(q.scratch[:0], q)
		return ok && bytes.Equal(claim.text, q.scratch), ok
	case kindNumber:
		n, ok := parseNumber(claim.text)
		return ok && compare(&n, &o.number) == 0, ok
	}
	return string(claim.text) == o.text, true
}

// among looks for a claim in the rule's list. It is ok if the claim could be
// compared with one of it at least. Neither holds unless all that depends on the
// request is there, of whatever type the claim is.
func (r *rule) among(claim *value, q *Request) (found, ok bool) {
	for i := range r.operands {
		o := &r.operands[i]
		equal, comparable := o.equal(claim, q)
		switch {
		case comparable:
			found, ok = found || equal, true
		case o.kind == claim.kind || !o.known(q):
			return false, false
		}
	}
	return found, ok
}

// known reports whether q has all that o depends on.
func (o *operand) known(q *Request) (ok bool) {
	if o.template == nil {
		return true
	}
	q.scratch, ok = o.appendString(q.scratch[:0], q)
	return ok
}

// contains looks for the rule's value as an element of an array, or as a part of
// a string.
func contains(r *rule, claim *value, q *Request) bool {
	o := &r.operands[0]
	switch claim.kind {
	case kindArray:
		for i := range claim.items {
			if equal, ok := o.equal(&claim.items[i], q); ok && equal {
				return true
			}
		}
	case kindString:
		if o.kind != kindString {
			return false
		}
		var ok bool
		q.scratch, ok = o.appendString(q.scratch[:0], q)
		return ok && bytes.Contains(claim.text, q.scratch)
	}
	return false
}

// order compares a number with the rule's.
func (r *rule) order(claim *value) (order int, ok bool) {
	if claim.kind != kindNumber {
		return 0, false
	}
	n, ok := parseNumber(claim.text)
	if !ok {
		return 0, false
	}
	return compare(&n, &r.operands[0].number), true
}
