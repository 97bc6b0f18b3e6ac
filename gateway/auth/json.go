package auth

import (
	"bytes"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep the arrays and objects of a header or of claims may nest.
const maxDepth = 16

// maxMembers is how many members an object may have: names are compared one by one.
const maxMembers = 256

var errJSON = errors.New("no strict JSON object")

// kind is a type of JSON.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

// node is one value of a document, its parts right behind it.
type node struct {
	kind kind
	name []byte // of a member of an object, decoded
	text []byte // a string decoded; a number or boolean as written
	end  int    // index of the first node that is no part of this one
}

// document is a JSON object (RFC 8259), decoded strictly: no duplicate names, no
// invalid UTF-8, no lone surrogates, nothing behind it (RFC 7519, 4; RFC 8725, 3.10).
// Numbers stay text.
//
// The zero value is ready for decode. Reused, it keeps its buffers.
type document struct {
	nodes []node // in order; nodes[0] is the object
	text  []byte // strings that are not in data as they are
	data  []byte // a copy of what decode was given
	at    int    // where in data
	depth int
}

// decode takes data and forgets the document before. The document keeps no
// reference to data.
//
// It is written here because a token seen for the first time spends less time on
// its signature than encoding/json on its claims, and that accepts duplicates.
func (d *document) decode(data []byte) error {
	d.data = append(d.data[:0], data...)
	d.nodes, d.text, d.at, d.depth = d.nodes[:0], d.text[:0], 0, 0
	if d.next() == '{' && utf8.Valid(data) && d.read(nil) && d.next() == 0 && d.at == len(d.data) {
		return nil
	}
	d.nodes = d.nodes[:0]
	return errJSON
}

// next skips white space and returns the byte there, 0 at the end.
func (d *document) next() byte {
	for ; d.at < len(d.data); d.at++ {
		if c := d.data[d.at]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

// read reads the value at d.at, which is no space, and appends it with its parts.
func (d *document) read(name []byte) bool {
	n, start, at := node{name: name}, d.at, len(d.nodes)
	ok := false
	switch c := d.next(); {
	case c == '{', c == '[':
		n.kind = kindObject
		if c == '[' {
			n.kind = kindArray
		}
		d.nodes = append(d.nodes, n)
		if c == '{' {
			ok = d.object(at)
		} else {
			ok = d.array()
		}
		d.nodes[at].end = len(d.nodes)
		return ok
	case c == '"':
		n.kind = kindString
		n.text, ok = d.string()
	case c == '-' || c >= '0' && c <= '9':
		n.kind, ok = kindNumber, d.number()
		n.text = d.data[start:d.at]
	case c == 't':
		n.kind, ok = kindBool, d.literal("true")
		n.text = d.data[start:d.at]
	case c == 'f':
		n.kind, ok = kindBool, d.literal("false")
		n.text = d.data[start:d.at]
	case c == 'n':
		n.kind, ok = kindNull, d.literal("null")
	}
	n.end = at + 1
	d.nodes = append(d.nodes, n)
	return ok
}

// object reads the rest of the object that is nodes[at].
func (d *document) object(at int) bool {
	if d.depth++; d.depth > maxDepth {
		return false
	}
	d.at++
	if d.next() == '}' {
		d.at++
		d.depth--
		return true
	}
	for members := 1; members <= maxMembers && d.next() == '"'; members++ {
		name, ok := d.string()
		if !ok || d.next() != ':' || d.has(at, name) {
			return false
		}
		d.at++
		d.next()
		if !d.read(name) {
			return false
		}
		switch d.next() {
		case ',':
			d.at++
		case '}':
			d.at++
			d.depth--
			return true
		default:
			return false
		}
	}
	return false
}

// has reports whether the object at nodes[at], which is being read, has a member of
// this name already.
func (d *document) has(at int, name []byte) bool {
	for j := at + 1; j < len(d.nodes); j = d.nodes[j].end {
		if bytes.Equal(d.nodes[j].name, name) {
			return true
		}
	}
	return false
}

// array reads the rest of an array.
func (d *document) array() bool {
	if d.depth++; d.depth > maxDepth {
		return false
	}
	d.at++
	if d.next() == ']' {
		d.at++
		d.depth--
		return true
	}
	for {
		d.next()
		if !d.read(nil) {
			return false
		}
		switch d.next() {
		case ',':
			d.at++
		case ']':
			d.at++
			d.depth--
			return true
		default:
			return false
		}
	}
}

func (d *document) literal(word string) bool {
	if !bytes.HasPrefix(d.data[d.at:], []byte(word)) {
		return false
	}
	d.at += len(word)
	return true
}

// number reads a number (RFC 8259, 6).
func (d *document) number() bool {
	d.skip('-', '-')
	if !d.skip('0', '0') && d.digits() == 0 {
		return false
	}
	if d.skip('.', '.') && d.digits() == 0 {
		return false
	}
	if d.skip('e', 'E') {
		d.skip('+', '-')
		return d.digits() > 0
	}
	return true
}

// skip goes over the byte there if it is a or b.
func (d *document) skip(a, b byte) bool {
	if d.at < len(d.data) && (d.data[d.at] == a || d.data[d.at] == b) {
		d.at++
		return true
	}
	return false
}

// digits goes over decimal digits and returns how many there were.
func (d *document) digits() int {
	start := d.at
	for d.at < len(d.data) && d.data[d.at] >= '0' && d.data[d.at] <= '9' {
		d.at++
	}
	return d.at - start
}

// string reads the string that begins at d.at and returns it decoded, never nil.
func (d *document) string() ([]byte, bool) {
	d.at++
	start := d.at
	for ; d.at < len(d.data); d.at++ {
		switch c := d.data[d.at]; {
		case c == '"':
			d.at++
			return d.data[start : d.at-1 : d.at-1], true
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// escaped goes on with a string from start that has a backslash at d.at.
func (d *document) escaped(start int) ([]byte, bool) {
	begin := len(d.text)
	d.text = append(d.text, d.data[start:d.at]...)
	for d.at < len(d.data) {
		c := d.data[d.at]
		d.at++
		switch {
		case c == '"':
			return d.text[begin:len(d.text):len(d.text)], true
		case c < ' ':
			return nil, false
		case c != '\\':
			d.text = append(d.text, c)
			continue
		case d.at == len(d.data):
			return nil, false
		}
		c = d.data[d.at]
		d.at++
		switch c {
		case '"', '\\', '/':
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, ok := d.hex()
			if utf16.IsSurrogate(r) {
				low := rune(0)
				if ok = ok && d.literal(`\u`); ok {
					low, ok = d.hex()
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					return nil, false
				}
			}
			if !ok {
				return nil, false
			}
			d.text = utf8.AppendRune(d.text, r)
			continue
		default:
			return nil, false
		}
		d.text = append(d.text, c)
	}
	return nil, false
}

// hex reads the four digits after \u.
func (d *document) hex() (r rune, ok bool) {
	if len(d.data)-d.at < 4 {
		return 0, false
	}
	for _, c := range d.data[d.at : d.at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	d.at += 4
	return r, true
}

// member returns the index of the member of the object at i with exactly this
// name; 0, which is never a member, if there is none.
func (d *document) member(i int, name string) int {
	if d.nodes[i].kind != kindObject {
		return 0
	}
	for j := i + 1; j < d.nodes[i].end; j = d.nodes[j].end {
		if string(d.nodes[j].name) == name {
			return j
		}
	}
	return 0
}

// find returns the index of the value that a dotted name reaches, 0 if none. At
// each object the longest part of the name that is a member counts, so a literal
// "a.b" wins over b within a.
func (d *document) find(name string) int {
	at := 0
	for {
		taken, next := 0, 0
		for i := len(name); i > 0; i-- {
			if i < len(name) && name[i] != '.' {
				continue
			}
			if next = d.member(at, name[:i]); next != 0 {
				taken = i
				break
			}
		}
		switch {
		case next == 0:
			return 0
		case taken == len(name):
			return next
		}
		at, name = next, name[taken+1:]
	}
}
