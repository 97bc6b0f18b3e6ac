// Package file reads configuration files: YAML to values with their places, the variables of
// the environment in them, and all mistakes at once, each with its place and its fix. It knows
// no key: those of a file, and the forms of their texts, are its Grammar.
package file

import (
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Decoder decodes one file and collects its mistakes. Get one by Open; it is not safe for
// concurrent use. Its methods report a mistake and
// return a harmless value, so that the rest of the file is checked as well.
//
// A message shows a value only where it was written in the file itself, for a
// key that takes one of a few words, and when it looks like such a word.
type Decoder struct {
	file    string
	env     func(string) (string, bool)
	grammar Grammar

	errs, warnings Errors

	keyed map[reflect.Type][]keyedField // see keyedFields
}

// Open returns the root of the YAML in data, which is called name in messages, and what decodes
// it by a grammar, with the variables of env; nil is an empty environment. The root is nil where
// the decoder has what is wrong with all of it. The error is the first mistake of syntax.
func Open(name string, data []byte, env func(string) (string, bool), g Grammar) (*Decoder, *Node, error) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	body, err := parseYAML(name, data)
	if err != nil {
		return nil, nil, Errors{err}
	}
	d := &Decoder{file: name, env: env, grammar: g, keyed: make(map[reflect.Type][]keyedField)}
	t := &tree{d: d, anchors: map[string]ast.Node{}, open: map[string]bool{}, left: maxNodes}
	return d, t.convert(body, ""), nil
}

// Err returns the mistakes that were reported, as Errors; nil without one.
func (d *Decoder) Err() error {
	if len(d.errs) == 0 {
		return nil
	}
	return d.errs.sorted()
}

// Warnings returns what is valid, and hardly meant.
func (d *Decoder) Warnings() Errors { return d.warnings.sorted() }

// Fail reports a mistake at n.
func (d *Decoder) Fail(n *Node, problem, fix string) {
	d.errs = append(d.errs, &Error{File: d.file, Line: n.Line, Column: n.column, Path: n.Path, Problem: problem, Fix: fix})
}

// Warn reports at n what is valid, and hardly meant.
func (d *Decoder) Warn(n *Node, problem, fix string) {
	d.warnings = append(d.warnings, &Error{File: d.file, Line: n.Line, Column: n.column, Path: n.Path, Problem: problem, Fix: fix})
}

// Object is one mapping of the file. All methods may be called on an absent one.
type Object struct {
	Node *Node // nil: absent

	d *Decoder

	misspelt []string // keys that are there in another spelling
}

// Within returns the mapping n, which may be nil, whose keys are checked elsewhere.
func (d *Decoder) Within(n *Node) Object { return Object{d: d, Node: n} }

// object checks that n, which may be nil, is a mapping with the keys that the
// grammar has for block.
func (d *Decoder) object(n *Node, block string) Object {
	if n == nil {
		return Object{d: d}
	}
	known := d.grammar.Keys(block)
	if n.Kind != Map {
		d.Fail(n, "must be a mapping, not "+n.Kind.String(), "give it keys, of: "+strings.Join(known, ", "))
		return Object{d: d}
	}
	o := Object{d: d, Node: n}
	for _, e := range n.entries {
		if slices.Contains(known, e.key) {
			continue
		}
		at := &Node{Line: e.line, column: e.column, Path: join(n.Path, printable(e.key))}
		if k := closest(e.key, known); k != "" && !o.Has(k) {
			o.misspelt = append(o.misspelt, k)
			d.Fail(at, "unknown key", "did you mean "+k+"?")
		} else {
			d.Fail(at, "unknown key", "use one of: "+strings.Join(known, ", "))
		}
	}
	return o
}

// Get returns the value of key, nil without one.
func (o Object) Get(key string) *Node {
	if o.Node == nil {
		return nil
	}
	if e := o.Node.find(key); e != nil {
		return e.value
	}
	return nil
}

// Has reports whether any of keys is there.
func (o Object) Has(keys ...string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return o.Get(k) != nil })
}

// Misspells reports whether key is there in another spelling, which was reported.
func (o Object) Misspells(key string) bool { return slices.Contains(o.misspelt, key) }

// Need returns the value of key. It reports an absent key, unless a misspelling of it was
// reported.
func (o Object) Need(key, fix string) *Node {
	n := o.Get(key)
	if n == nil && o.Node != nil && !o.Misspells(key) {
		o.d.Fail(&Node{Line: o.Node.Line, column: o.Node.column, Path: join(o.Node.Path, key)}, "is missing", fix)
	}
	return n
}

// NeedEnabled reports a block without "enabled", whose keys have no effect. An explicit
// false is a decision and no mistake.
func (d *Decoder) NeedEnabled(o Object) {
	if o.Node != nil && !o.Has("enabled") && !o.Misspells("enabled") {
		d.Fail(o.Node, "has no effect without the key enabled", "add enabled: true, or remove the block")
	}
}

// List returns the items of key, one or more of them.
func (o Object) List(key string) []*Node {
	n := o.Get(key)
	if n == nil {
		return nil
	}
	if n.Kind != List {
		o.d.Fail(n, "must be a list, not "+n.Kind.String(), "write one item on each line, after \"- \"")
		return nil
	}
	if len(n.Items) == 0 {
		o.d.Fail(n, "is an empty list", "give it an item, or remove the key")
	}
	return n.Items
}

// Strings calls use for each string of key, a list of distinct strings.
func (o Object) Strings(key string, use func(n *Node, text string, fromEnv bool)) {
	seen := make(map[string]bool)
	for _, n := range o.List(key) {
		text, fromEnv, ok := o.d.Text(n)
		if !ok {
			continue
		}
		if seen[text] {
			o.d.Fail(n, "is in the list twice", "remove one of them")
			continue
		}
		seen[text] = true
		use(n, text, fromEnv)
	}
}

// StringOrList is Strings for a key that may also be one string.
func (o Object) StringOrList(key string, use func(n *Node, text string, fromEnv bool)) {
	n := o.Get(key)
	if n == nil || n.Kind == List {
		o.Strings(key, use)
		return
	}
	if text, fromEnv, ok := o.d.Text(n); ok {
		use(n, text, fromEnv)
	}
}
