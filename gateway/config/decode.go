package config

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder collects the mistakes of one file. Its methods report a mistake and
// return a harmless value, so that the rest of the file is checked as well.
//
// A message shows a value only where it was written in the file itself, for a
// key that takes one of a few words, and when it looks like such a word.
type decoder struct {
	file string
	env  func(string) (string, bool)
	errs Errors
}

// fail reports a mistake at n.
func (d *decoder) fail(n *node, problem, fix string) {
	d.errs = append(d.errs, &Error{File: d.file, Line: n.line, Column: n.column, Path: n.path, Problem: problem, Fix: fix})
}

// word returns " \"value\"" for a value that may be shown, else "".
func word(text string, fromEnv bool) string {
	if fromEnv || text == "" || len(text) > 16 {
		return ""
	}
	for i := range len(text) {
		c := text[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return ""
		}
	}
	return " " + strconv.Quote(text)
}

// object is one mapping of the file; all its methods do without one.
type object struct {
	d *decoder
	n *node // nil: absent

	misspelt []string // keys that are there in another spelling
}

// object checks that n, which may be nil, is a mapping with the keys that the
// schema has for block.
func (d *decoder) object(n *node, block string) object {
	if n == nil {
		return object{d: d}
	}
	known := schema[block]
	if n.kind != kindMap {
		d.fail(n, "must be a mapping, not "+n.kind.String(), "give it keys, of: "+strings.Join(known, ", "))
		return object{d: d}
	}
	o := object{d: d, n: n}
	for _, e := range n.entries {
		if slices.Contains(known, e.key) {
			continue
		}
		at := &node{line: e.line, column: e.column, path: join(n.path, printable(e.key))}
		if k := closest(e.key, known); k != "" && !o.has(k) {
			o.misspelt = append(o.misspelt, k)
			d.fail(at, "unknown key", "did you mean "+k+"?")
		} else {
			d.fail(at, "unknown key", "use one of: "+strings.Join(known, ", "))
		}
	}
	return o
}

// get returns the value of key, nil without one.
func (o object) get(key string) *node {
	if o.n == nil {
		return nil
	}
	if e := o.n.find(key); e != nil {
		return e.value
	}
	return nil
}

// has reports whether any of keys is there.
func (o object) has(keys ...string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return o.get(k) != nil })
}

// misspells reports whether key is there in another spelling, which was reported.
func (o object) misspells(key string) bool { return slices.Contains(o.misspelt, key) }

// need returns the value of key and reports its absence, unless that was
// reported as a misspelling.
func (o object) need(key, fix string) *node {
	n := o.get(key)
	if n == nil && o.n != nil && !o.misspells(key) {
		o.d.fail(&node{line: o.n.line, column: o.n.column, path: join(o.n.path, key)}, "is missing", fix)
	}
	return n
}

// text returns the string of n: not nil, not empty.
func (d *decoder) text(n *node) (text string, fromEnv, ok bool) {
	if n == nil {
		return "", false, false
	}
	if n.kind != kindString {
		d.fail(n, "must be a string, not "+n.kind.String(), "put it in quotes")
		return "", false, false
	}
	text, fromEnv, ok = d.resolve(n)
	if ok && text == "" {
		problem, fix := "is empty", "give it a value, or remove the key"
		if fromEnv {
			problem, fix = "is empty after substitution of its variables", "set "+variables(n.text)+" to a value"
		}
		d.fail(n, problem, fix)
		return "", fromEnv, false
	}
	return text, fromEnv, ok
}

// variables names the variables of a value.
func variables(s string) string {
	var names []string
	splitReferences(s, func(string) {}, func(inner string) (string, string) {
		if r, ok := parseReference(inner); ok {
			names = append(names, r.name)
		}
		return "", ""
	})
	return strings.Join(names, ", ")
}

// scalar returns the text of n where n is of kind want, or a string that came
// from a variable, whose type the environment cannot express.
func (d *decoder) scalar(n *node, want kind, fix string) (string, bool) {
	text, fromEnv, ok := d.resolve(n)
	if !ok {
		return "", false
	}
	if n.kind == want || n.kind == kindString && fromEnv {
		return text, true
	}
	d.fail(n, "must be "+want.String()+", not "+n.kind.String(), fix)
	return "", false
}

func (o object) str(key, otherwise string) string {
	if text, _, ok := o.d.text(o.get(key)); ok {
		return text
	}
	return otherwise
}

func (o object) secret(key string) Secret {
	n := o.get(key)
	text, _, ok := o.d.text(n)
	if !ok {
		return Secret{}
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.TrimSpace(text) != text {
		o.d.fail(n, "begins or ends with white space or contains a line break", "remove it, often a line break at the end of a file or variable")
		return Secret{}
	}
	return Secret{text}
}

func (o object) oneOf(key, otherwise string, options ...string) string {
	n := o.get(key)
	text, fromEnv, ok := o.d.text(n)
	if !ok {
		return otherwise
	}
	if !slices.Contains(options, text) {
		o.d.fail(n, "unknown "+key+word(text, fromEnv), "use one of: "+strings.Join(options, ", "))
		return otherwise
	}
	return text
}

func (o object) boolean(key string, otherwise bool) bool {
	n := o.get(key)
	if n == nil {
		return otherwise
	}
	const fix = "write true or false, without quotes"
	text, ok := o.d.scalar(n, kindBool, fix)
	if !ok {
		return otherwise
	}
	if text != "true" && text != "false" {
		o.d.fail(n, "must be true or false", fix)
		return otherwise
	}
	return text == "true"
}

func (o object) integer(key string, otherwise, least, most int) int {
	n := o.get(key)
	if n == nil {
		return otherwise
	}
	fix := fmt.Sprintf("write a whole number from %d to %d", least, most)
	text, ok := o.d.scalar(n, kindNumber, fix)
	if !ok {
		return otherwise
	}
	digits := strings.TrimPrefix(text, "-")
	if !isDigits(digits) || len(digits) > 1 && digits[0] == '0' {
		o.d.fail(n, "is no whole number in decimal notation", fix)
		return otherwise
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < least || v > most {
		o.d.fail(n, "is out of range", fix)
		return otherwise
	}
	return v
}

// Percent is a share in percent, from 0 to 100.
type Percent int

// String returns p as the file has it.
func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

func (o object) percent(key string, otherwise, least Percent) Percent {
	n := o.get(key)
	if n == nil {
		return otherwise
	}
	fix := "write a whole number of percent from " + strconv.Itoa(int(least)) + "% to 100%"
	if n.kind == kindNumber {
		o.d.fail(n, "has no unit", fix)
		return otherwise
	}
	text, _, ok := o.d.text(n)
	if !ok {
		return otherwise
	}
	digits, ok := strings.CutSuffix(text, "%")
	v, err := strconv.Atoi(digits)
	if !ok || err != nil || !isDigits(digits) || v < int(least) || v > 100 {
		o.d.fail(n, "is no percentage", fix)
		return otherwise
	}
	return Percent(v)
}

// measure returns the text of a number with or without unit. A quoted bare
// number is refused like any other quoted number.
func (d *decoder) measure(n *node, what, fix string) (string, bool) {
	text, fromEnv, ok := d.resolve(n)
	if !ok {
		return "", false
	}
	if n.kind != kindNumber && n.kind != kindString || n.kind == kindString && !fromEnv && isDecimal(text) {
		problem := "must be " + what + ", not " + n.kind.String()
		if n.kind == kindString {
			problem = "is a number in quotes"
		}
		d.fail(n, problem, fix)
		return "", false
	}
	return text, true
}

func (o object) duration(key string, otherwise, least time.Duration) time.Duration {
	n := o.get(key)
	if n == nil {
		return otherwise
	}
	const fix = "write seconds as a number, such as 30, or units, such as 1h30m or 250ms"
	text, ok := o.d.measure(n, "a duration", fix)
	if !ok {
		return otherwise
	}
	v, err := ParseDuration(text)
	if err != nil {
		o.d.fail(n, err.Error(), fix)
		return otherwise
	}
	if v < least {
		o.d.fail(n, "is too short", "write at least "+least.String())
		return otherwise
	}
	return v
}

// share returns a number from 0 to 1.
func (o object) share(key string, otherwise float64) float64 {
	n := o.get(key)
	if n == nil {
		return otherwise
	}
	const fix = "write a number from 0 to 1, such as 0.1"
	text, ok := o.d.scalar(n, kindNumber, fix)
	if !ok {
		return otherwise
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !isDecimal(text) || v > 1 {
		o.d.fail(n, "is no number from 0 to 1 in decimal notation", fix)
		return otherwise
	}
	return v
}

func (o object) size(key string, otherwise Size) Size {
	n := o.get(key)
	if n == nil {
		return otherwise
	}
	const fix = "write bytes as a number, such as 65536, or units, such as 64KiB, 10MB or 1GB"
	text, ok := o.d.measure(n, "a size", fix)
	if !ok {
		return otherwise
	}
	v, err := ParseSize(text)
	if err == nil && v == 0 {
		err = errSizeZero
	}
	if err != nil {
		o.d.fail(n, err.Error(), fix)
		return otherwise
	}
	return v
}

// list returns the items of key, one or more of them.
func (o object) list(key string) []*node {
	n := o.get(key)
	if n == nil {
		return nil
	}
	if n.kind != kindList {
		o.d.fail(n, "must be a list, not "+n.kind.String(), "write one item on each line, after \"- \"")
		return nil
	}
	if len(n.items) == 0 {
		o.d.fail(n, "is an empty list", "give it an item, or remove the key")
	}
	return n.items
}

// strings calls use for each string of key, a list of distinct strings.
func (o object) strings(key string, use func(n *node, text string, fromEnv bool)) {
	seen := make(map[string]bool)
	for _, n := range o.list(key) {
		text, fromEnv, ok := o.d.text(n)
		if !ok {
			continue
		}
		if seen[text] {
			o.d.fail(n, "is in the list twice", "remove one of them")
			continue
		}
		seen[text] = true
		use(n, text, fromEnv)
	}
}

// stringOrList is strings for a key that may also be one string.
func (o object) stringOrList(key string, use func(n *node, text string, fromEnv bool)) {
	n := o.get(key)
	if n == nil || n.kind == kindList {
		o.strings(key, use)
		return
	}
	if text, fromEnv, ok := o.d.text(n); ok {
		use(n, text, fromEnv)
	}
}

// isNumber reports whether s is a number of JSON (RFC 8259, 6) that is short
// enough to compare exactly.
func isNumber(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	mantissa, exponent, scientific := strings.Cut(strings.ToLower(digits), "e")
	if !isDecimal(mantissa) || len(mantissa) > 1 && mantissa[0] == '0' && mantissa[1] != '.' {
		return false
	}
	if scientific {
		exponent = strings.TrimLeft(exponent, "+-")
		if !isDigits(exponent) || len(exponent) > 3 {
			return false
		}
	}
	_, ok := new(big.Rat).SetString(s)
	return ok
}
