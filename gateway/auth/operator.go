package auth

import (
	"strings"
	"unsafe"

	"yatagarasu/gateway/token"
)

// operator compares a claim that is not nil with a rule's value. It must not keep q.
type operator func(r *rule, claim any, q *Request) bool

// operators are the comparisons. A new operator is a row here, and its name and the
// type of its value in the configuration.
//
// A claim of another type than the value fails all of them, the negative ones too:
// nothing is converted, and in doubt a claim fails.
var operators = map[string]operator{
	"equals": equals, "not_equals": notIn, "in": in, "not_in": notIn,
	"contains": contains,
	"gt":       ordered(func(order int) bool { return order > 0 }),
	"lt":       ordered(func(order int) bool { return order < 0 }),
	"gte":      ordered(func(order int) bool { return order >= 0 }),
	"lte":      ordered(func(order int) bool { return order <= 0 }),
	"exists":   func(*rule, any, *Request) bool { return true },
	"matches": func(r *rule, claim any, _ *Request) bool {
		text, ok := claim.(string)
		return ok && r.pattern.MatchString(text)
	},
}

// holds applies r to a claim, which is nil if the token has none. Only a dynamic rule
// looks at q.
func (r *rule) holds(claim any, q *Request) bool {
	return claim != nil && r.op(r, claim, q)
}

// equal compares a claim with o. It is not ok if their types differ, or o depends
// on a value that the request lacks.
func (o *operand) equal(claim any, q *Request) (equal, ok bool) {
	switch claim := claim.(type) {
	case string:
		if o.template != nil {
			ok := o.fill(q)
			return ok && claim == string(q.scratch), ok
		}
		text, ok := o.value.(string)
		return ok && claim == text, ok
	case token.Number:
		n, ok := o.value.(token.Number)
		ok = ok && claim.Exact
		return ok && claim.Compare(n) == 0, ok
	case bool:
		b, ok := o.value.(bool)
		return ok && claim == b, ok
	}
	return false, false
}

// equals is in with one value, and without its loop.
func equals(r *rule, claim any, q *Request) bool {
	equal, _ := r.operands[0].equal(claim, q)
	return equal
}

func in(r *rule, claim any, q *Request) bool {
	found, _ := r.among(claim, q)
	return found
}

func notIn(r *rule, claim any, q *Request) bool {
	found, ok := r.among(claim, q)
	return ok && !found
}

// among looks for a claim in the rule's list, which has one value for equals. It is ok
// if the claim could be compared with one of it at least. Neither holds unless all that
// depends on the request is there, of whatever type the claim is.
func (r *rule) among(claim any, q *Request) (found, ok bool) {
	for i := range r.operands {
		o := &r.operands[i]
		equal, comparable := o.equal(claim, q)
		switch {
		case comparable:
			found, ok = found || equal, true
		case o.template != nil && !o.fill(q):
			return false, false
		}
	}
	return found, ok
}

// contains looks for the rule's value as an element of an array, or as a part of
// a string.
func contains(r *rule, claim any, q *Request) bool {
	o := &r.operands[0]
	switch claim := claim.(type) {
	case []any:
		for _, item := range claim {
			if equal, ok := o.equal(item, q); ok && equal {
				return true
			}
		}
	case string:
		if o.template != nil {
			// The string is valid for the call: nothing writes to q.scratch meanwhile.
			return o.fill(q) && strings.Contains(claim, unsafe.String(unsafe.SliceData(q.scratch), len(q.scratch)))
		}
		text, ok := o.value.(string)
		return ok && strings.Contains(claim, text)
	}
	return false
}

// ordered returns an operator that compares a number with the rule's.
func ordered(holds func(order int) bool) operator {
	return func(r *rule, claim any, _ *Request) bool {
		n, _ := claim.(token.Number)
		return n.Exact && holds(n.Compare(r.operands[0].value.(token.Number)))
	}
}
