package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"yatagarasu/gateway/config"
)

// value is the value of a claim.
type value struct {
	kind  kind
	text  []byte  // a string decoded; a number or boolean as written
	items []value // of an array
}

// value returns the value at i, which aliases d. The parts of objects are left
// out: no operator compares them.
func (d *document) value(i int) value {
	n := &d.nodes[i]
	v := value{kind: n.kind, text: n.text}
	if n.kind == kindArray {
		count := 0
		for j := i + 1; j < n.end; j = d.nodes[j].end {
			count++
		}
		v.items = make([]value, 0, count)
		for j := i + 1; j < n.end; j = d.nodes[j].end {
			v.items = append(v.items, d.value(j))
		}
	}
	return v
}

// clone returns v without references to a document.
func (v value) clone() value {
	c := value{kind: v.kind, text: bytes.Clone(v.text)}
	if len(v.items) > 0 {
		c.items = make([]value, 0, len(v.items)) // as many as size counts
	}
	for _, item := range v.items {
		c.items = append(c.items, item.clone())
	}
	return c
}

// size estimates the memory that v takes, in bytes.
func (v value) size() int {
	n := 64 + len(v.text)
	if len(v.text) > 0 {
		n += 8 // what the allocator rounds up
	}
	for _, item := range v.items {
		n += item.size()
	}
	return n
}

// operand is a configured value that a claim is compared with.
type operand struct {
	kind     kind // a string, number or boolean
	text     string
	number   number
	template config.Template // of a string that depends on the request
}

// rule is a claim rule, compiled.
type rule struct {
	config.Claim
	op       *operator
	operands []operand
	pattern  *regexp.Regexp // for matches
	dynamic  bool           // depends on the request
}

// newRule compiles c for a bucket.
func newRule(c config.Claim, bucket string) rule {
	r := rule{Claim: c}
	for i := range operators {
		if operators[i].name == c.Operator {
			r.op = &operators[i]
		}
	}
	if r.op == nil {
		panic("BUG: claim operator was not validated: " + c.Operator)
	}
	if c.Operator == "matches" {
		var err error
		if r.pattern, err = config.CompilePattern(c.Value.(string)); err != nil {
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
	case string:
		return operand{kind: kindString, text: v}
	case bool:
		return operand{kind: kindBool, text: fmt.Sprint(v)}
	case json.Number:
		n, ok := parseNumber([]byte(v))
		if !ok {
			panic("BUG: number of a claim rule was not validated: " + v)
		}
		return operand{kind: kindNumber, text: string(v), number: n}
	case config.Template:
		o := operand{kind: kindString}
		for _, part := range v {
			if part.Var == "bucket" { // known by now
				part = config.TemplatePart{Literal: bucket}
			}
			o.template = append(o.template, part)
		}
		if slices.ContainsFunc(o.template, func(p config.TemplatePart) bool { return p.Var != "" }) {
			return o
		}
		text, _ := o.appendString(nil, nil)
		return operand{kind: kindString, text: string(text)}
	}
	panic(fmt.Sprintf("BUG: value of a claim rule was not validated: %T", v))
}

// appendString appends o, a string, to dst. It is not ok where a value of the
// request is missing or empty.
func (o *operand) appendString(dst []byte, q *Request) (_ []byte, ok bool) {
	if o.template == nil {
		return append(dst, o.text...), true
	}
	for i := range o.template {
		p := &o.template[i]
		before := len(dst)
		switch p.Var {
		case "":
			dst = append(dst, p.Literal...)
			continue
		case "method":
			dst = append(dst, q.Method...)
		case "path":
			dst = append(dst, segment(q.Key, p.Index)...)
		default:
			panic("BUG: request value was not validated: " + p.Var)
		}
		if len(dst) == before {
			return dst, false
		}
	}
	return dst, true
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
