package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/token"
)

// operand is a configured value that a claim is compared with.
type operand struct {
	value    any             // a string, number or bool
	template access.Template // in place of value: a string that depends on the request
}

// rule is a claim rule, compiled.
type rule struct {
	access.Claim
	op       operator
	operands []operand
	pattern  *regexp.Regexp // of matches
	dynamic  bool           // the rule depends on the request
}

// newRule compiles c for a bucket.
func newRule(c access.Claim, bucket string) rule {
	r := rule{Claim: c, op: operators[c.Operator]}
	if r.op == nil {
		panic("BUG: claim operator was not validated: " + c.Operator)
	}
	if c.Operator == "matches" {
		var err error
		if r.pattern, err = access.CompilePattern(c.Value.(string)); err != nil {
			panic("BUG: pattern of a claim rule was not validated: " + err.Error())
		}
		return r
	}
	values, ok := c.Value.([]any)
	if !ok && c.Value != nil {
		values = []any{c.Value}
	}
	for _, v := range values {
		o := newOperand(v, bucket)
		r.dynamic = r.dynamic || o.template != nil
		r.operands = append(r.operands, o)
	}
	return r
}

func newOperand(v any, bucket string) operand {
	switch v := v.(type) {
	case string, bool:
		return operand{value: v}
	case json.Number:
		n, ok := token.ParseNumber(string(v))
		if !ok {
			panic("BUG: number of a claim rule was not validated: " + v)
		}
		return operand{value: n}
	case access.Template:
		var o operand
		for _, part := range v {
			if part.Var == "bucket" { // known by now
				part = access.TemplatePart{Literal: bucket}
			}
			o.template = append(o.template, part)
		}
		if slices.ContainsFunc(o.template, func(p access.TemplatePart) bool { return p.Var != "" }) {
			return o
		}
		var q Request
		o.fill(&q)
		return operand{value: string(q.scratch)}
	}
	panic(fmt.Sprintf("BUG: value of a claim rule was not validated: %T", v))
}

// fill writes o's template, with the values of q, to q.scratch. It is not ok where a
// value is missing or empty.
func (o *operand) fill(q *Request) (ok bool) {
	q.scratch = q.scratch[:0]
	for i := range o.template {
		p := &o.template[i]
		before := len(q.scratch)
		switch p.Var {
		case "":
			q.scratch = append(q.scratch, p.Literal...)
			continue
		case "method":
			q.scratch = append(q.scratch, q.Method...)
		case "path":
			q.scratch = append(q.scratch, segment(q.Key, p.Index)...)
		default:
			panic("BUG: request value was not validated: " + p.Var)
		}
		if len(q.scratch) == before {
			return false
		}
	}
	return true
}

// segment returns the n-th segment of key, from 0; empty if there is none. It is
// empty, too, if one before is: some origins drop empty segments, and the n-th of
// the object would be another.
func segment(key []byte, n int) []byte {
	for ; ; n-- {
		s, rest, more := bytes.Cut(key, []byte("/"))
		switch {
		case n == 0:
			return s
		case len(s) == 0, !more:
			return nil
		}
		key = rest
	}
}
