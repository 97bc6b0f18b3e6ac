package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// decoder collects the mistakes of one file. Its methods report a mistake and
// return a harmless value, so that the rest of the file is checked as well.
//
// A message shows a value only where it was written in the file itself, for a
// key that takes one of a few words, and when it looks like such a word.
type decoder struct {
	file    string
	env     func(string) (string, bool)
	grammar Grammar

	errs, warnings Errors

	keyed map[reflect.Type][]keyedField // see keyedFields
}

// Open returns the root of the YAML in data, which is called name in messages, and what decodes
// it by a grammar, with the variables of env; nil is an empty environment. The root is nil where
// the decoder has what is wrong with all of it. The error is the first mistake of syntax.
func Open(name string, data []byte, env func(string) (string, bool), g Grammar) (*decoder, *node, error) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	body, err := parseYAML(name, data)
	if err != nil {
		return nil, nil, Errors{err}
	}
	d := &decoder{file: name, env: env, grammar: g, keyed: make(map[reflect.Type][]keyedField)}
	t := &tree{d: d, anchors: map[string]ast.Node{}, open: map[string]bool{}, left: maxNodes}
	return d, t.convert(body, ""), nil
}

// Err returns the mistakes that were reported, as Errors; nil without one.
func (d *decoder) Err() error {
	if len(d.errs) == 0 {
		return nil
	}
	return d.errs.sorted()
}

// Warnings returns what is valid, and hardly meant.
func (d *decoder) Warnings() Errors { return d.warnings.sorted() }

// fail reports a mistake at n.
func (d *decoder) fail(n *node, problem, fix string) {
	d.errs = append(d.errs, &Error{File: d.file, Line: n.line, Column: n.column, Path: n.path, Problem: problem, Fix: fix})
}

// warn reports at n what is valid, and hardly meant.
func (d *decoder) warn(n *node, problem, fix string) {
	d.warnings = append(d.warnings, &Error{File: d.file, Line: n.line, Column: n.column, Path: n.path, Problem: problem, Fix: fix})
}

// wordForm matches what looks like a word.
var wordForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,16}$`)

// quotedWord returns " \"text\"" for a value that may be shown, else "".
func quotedWord(text string, fromEnv bool) string {
	if fromEnv || !wordForm.MatchString(text) {
		return ""
	}
	return " " + strconv.Quote(text)
}

// object is one mapping of the file. All methods may be called on an absent one.
type object struct {
	d *decoder
	n *node // nil: absent

	misspelt []string // keys that are there in another spelling
}

// within returns the mapping n, which may be nil, whose keys are checked elsewhere.
func (d *decoder) within(n *node) object { return object{d: d, n: n} }

// object checks that n, which may be nil, is a mapping with the keys that the
// grammar has for block.
func (d *decoder) object(n *node, block string) object {
	if n == nil {
		return object{d: d}
	}
	known := d.grammar.Keys[block]
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

// need returns the value of key. It reports an absent key, unless a misspelling of it was
// reported.
func (o object) need(key, fix string) *node {
	n := o.get(key)
	if n == nil && o.n != nil && !o.misspells(key) {
		o.d.fail(&node{line: o.n.line, column: o.n.column, path: join(o.n.path, key)}, "is missing", fix)
	}
	return n
}

// needEnabled reports a block without "enabled", whose keys have no effect. An explicit
// false is a decision and no mistake.
func (d *decoder) needEnabled(o object) {
	if o.n != nil && !o.has("enabled") && !o.misspells("enabled") {
		d.fail(o.n, "has no effect without the key enabled", "add enabled: true, or remove the block")
	}
}

// text returns the string of n. It is not ok for nil and an empty string.
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

// typed returns the problem of a value of a wrong type; empty if the type is right.
type typed func(n *node, text string, fromEnv bool) (problem string)

// scalar is the type of values of kind want, and of strings that came from a variable,
// whose type the environment cannot express.
func scalar(want kind) typed {
	return func(n *node, _ string, fromEnv bool) string {
		if n.kind == want || n.kind == kindString && fromEnv {
			return ""
		}
		return "must be " + want.String() + ", not " + n.kind.String()
	}
}

// measure is the type of numbers with or without unit. A quoted bare number is refused
// like any other quoted number.
func measure(what string) typed {
	return func(n *node, text string, fromEnv bool) string {
		switch {
		case n.kind == kindString && !fromEnv && isDecimal(text):
			return "is a number in quotes"
		case n.kind != kindString && n.kind != kindNumber:
			return "must be " + what + ", not " + n.kind.String()
		}
		return ""
	}
}

// parsed returns the text of key as parse reads it, or otherwise, where key is absent or
// wrong. fix goes with every problem.
func parsed[T any](o object, key string, otherwise T, is typed, fix string, parse func(text string) (T, error)) T {
	n := o.get(key)
	if n == nil {
		return otherwise
	}
	text, fromEnv, ok := o.d.resolve(n)
	if !ok {
		return otherwise
	}
	if problem := is(n, text, fromEnv); problem != "" {
		o.d.fail(n, problem, fix)
		return otherwise
	}
	v, err := parse(text)
	if err != nil {
		o.d.fail(n, err.Error(), fix)
		return otherwise
	}
	return v
}

func (o object) str(key, otherwise string) string {
	if text, _, ok := o.d.text(o.get(key)); ok {
		return text
	}
	return otherwise
}

// checked returns the text of key in the form that check gives it, or otherwise, where
// key is absent or wrong.
func (o object) checked(key, otherwise string, check Form) string {
	n := o.get(key)
	text, _, ok := o.d.text(n)
	if !ok {
		return otherwise
	}
	form, problem, fix := check(text)
	if problem != "" {
		o.d.fail(n, problem, fix)
		return otherwise
	}
	return form
}

// mustBe returns a check that leaves a right text as it is and reports any other.
func mustBe(isRight func(text string) bool, problem, fix string) Form {
	return func(text string) (string, string, string) {
		if isRight(text) {
			return text, "", ""
		}
		return "", problem, fix
	}
}

func (o object) secret(key string) Secret {
	return Secret{o.checked(key, "", mustBe(func(text string) bool {
		return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) && strings.TrimSpace(text) == text
	}, "begins or ends with white space or contains a line break", "remove it, often a line break at the end of a file or variable"))}
}

func (o object) oneOf(key, otherwise string, options ...string) string {
	n := o.get(key)
	text, fromEnv, ok := o.d.text(n)
	if !ok {
		return otherwise
	}
	if !slices.Contains(options, text) {
		o.d.fail(n, "unknown "+key+quotedWord(text, fromEnv), "use one of: "+strings.Join(options, ", "))
		return otherwise
	}
	return text
}

func (o object) boolean(key string, otherwise bool) bool {
	return parsed(o, key, otherwise, scalar(kindBool), "write true or false, without quotes", func(text string) (bool, error) {
		if text != "true" && text != "false" {
			return false, errors.New("must be true or false")
		}
		return text == "true", nil
	})
}

func (o object) integer(key string, otherwise, least, most int) int {
	fix := fmt.Sprintf("write a whole number from %d to %d", least, most)
	return parsed(o, key, otherwise, scalar(kindNumber), fix, func(text string) (int, error) {
		digits := strings.TrimPrefix(text, "-")
		if !isDigits(digits) || len(digits) > 1 && digits[0] == '0' {
			return 0, errors.New("is no whole number in decimal notation")
		}
		v, err := strconv.Atoi(text)
		if err != nil || v < least || v > most {
			return 0, errors.New("is out of range")
		}
		return v, nil
	})
}

// Percent is a share in percent, from 0 to 100.
type Percent int

// String returns p as the file has it.
func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

func (o object) percent(key string, otherwise, least Percent) Percent {
	fix := "write a whole number of percent from " + least.String() + " to 100%"
	if n := o.get(key); n != nil && n.kind == kindNumber {
		o.d.fail(n, "has no unit", fix)
		return otherwise
	}
	v := otherwise
	o.checked(key, "", mustBe(func(text string) bool {
		digits, ok := strings.CutSuffix(text, "%")
		n, err := strconv.Atoi(digits)
		if ok = ok && err == nil && isDigits(digits) && n >= int(least) && n <= 100; ok {
			v = Percent(n)
		}
		return ok
	}, "is no percentage", fix))
	return v
}

func (o object) duration(key string, otherwise, least time.Duration) time.Duration {
	const fix = "write seconds as a number, such as 30, or units, such as 1h30m or 250ms"
	short := false
	v := parsed(o, key, otherwise, measure("a duration"), fix, func(text string) (time.Duration, error) {
		v, err := ParseDuration(text)
		short = err == nil && v < least
		return v, err
	})
	if short {
		o.d.fail(o.get(key), "is too short", "write at least "+least.String())
		return otherwise
	}
	return v
}

// share returns a number from 0 to 1.
func (o object) share(key string, otherwise float64) float64 {
	return parsed(o, key, otherwise, scalar(kindNumber), "write a number from 0 to 1, such as 0.1", func(text string) (float64, error) {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !isDecimal(text) || v > 1 {
			return 0, errors.New("is no number from 0 to 1 in decimal notation")
		}
		return v, nil
	})
}

func (o object) size(key string, otherwise Size) Size {
	const fix = "write bytes as a number, such as 65536, or units, such as 64KiB, 10MB or 1GB"
	return parsed(o, key, otherwise, measure("a size"), fix, func(text string) (Size, error) {
		v, err := ParseSize(text)
		if err == nil && v == 0 {
			err = errSizeZero
		}
		return v, err
	})
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
