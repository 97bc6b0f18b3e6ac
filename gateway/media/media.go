// Package media knows the media types of objects by the extensions of their keys. The table is
// its own: that of a machine would make two gateways answer differently.
package media

import (
	"bytes"
	"fmt"

	"yatagarasu/gateway/config/file"
	"yatagarasu/gateway/config/form"
)

// Types gives a bucket's objects their types. The nil value leaves all as they are. Get one by
// New; it never changes, and is safe for concurrent use.
type Types struct {
	own   map[string][]byte // by extension: whatever the origin says
	guess bool
	id    string
}

// New returns the types that objects have by their keys: whatever the origin says, those of own
// by the extension, in lower case and with its dot; and, where guess is set, those of this
// package in place of none. It returns nil if no object has any.
func New(guess bool, own file.Pairs) *Types {
	if !guess && len(own) == 0 {
		return nil
	}
	t := &Types{own: make(map[string][]byte), guess: guess, id: fmt.Sprint(guess, own)}
	for _, p := range own {
		t.own[p.Name] = []byte(p.Value)
	}
	return t
}

// ID is the same for types that say the same, and else another.
func (t *Types) ID() string {
	if t == nil {
		return ""
	}
	return t.id
}

// Of returns the type of the object with a key, of which the origin says that it is said; nil
// if there is none. The result must not be changed.
//
// Hot path: zero allocations, guarded by TestOfAllocs.
func (t *Types) Of(key, said []byte) []byte {
	if t == nil {
		return said
	}
	var buf [form.MaxExtension]byte
	extension := appendExtension(buf[:0], key)
	if own := t.own[string(extension)]; own != nil {
		return own
	}
	if t.guess && saysNothing(said) {
		if known, ok := known[string(extension)]; ok {
			return known
		}
	}
	return said
}

// Explain returns the type that an object with a key gets, and whether it gets it whatever the
// origin says; nil if it gets none.
func (t *Types) Explain(key []byte) (kind []byte, whatever bool) {
	kind = t.Of(key, nil)
	return kind, kind != nil && string(t.Of(key, []byte("x/x"))) == string(kind)
}

// Known tells whether a key has an extension that this package has a type for.
func Known(key []byte) bool {
	var buf [form.MaxExtension]byte
	return known[string(appendExtension(buf[:0], key))] != nil
}

// appendExtension appends the extension of a key in lower case, with its dot: nothing if
// there is none, or one too long for dst.
func appendExtension(dst, key []byte) []byte {
	for i := len(key) - 1; i >= 0 && len(key)-i <= cap(dst) && key[i] != '/'; i-- {
		if key[i] != '.' {
			continue
		}
		for _, c := range key[i:] {
			if c >= 'A' && c <= 'Z' {
				c |= 0x20
			}
			dst = append(dst, c)
		}
		return dst
	}
	return dst
}

// saysNothing tells whether a type is what servers give to objects that were uploaded without.
func saysNothing(said []byte) bool {
	kind, _, _ := bytes.Cut(said, []byte(";"))
	switch string(bytes.TrimRight(kind, " \t")) {
	case "", "application/octet-stream", "binary/octet-stream":
		return true
	}
	return false
}
