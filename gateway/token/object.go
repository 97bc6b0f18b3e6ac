package token

import (
	"bytes"
	"errors"
	"iter"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how deep the arrays and objects of a header or of claims may nest.
const maxDepth = 16

// maxMembers is how many members an object may have.
const maxMembers = 256

// ErrJSON is the error of what is no strict JSON object within the bounds.
var ErrJSON = errors.New("no strict JSON object")

// Object has the members of a JSON object, in order. Their values are nil, bool, Number,
// string, []any and Object.
type Object []Member

// Member is a member of an Object.
type Member struct {
	Name  string
	Value any
}

// Get returns the value of a member.
func (o Object) Get(name string) (v any, found bool) {
	for i := range o {
		if o[i].Name == name {
			return o[i].Value, true
		}
	}
	return nil, false
}

// Text returns the value of a member that is a string.
func (o Object) Text(name string) (s string, ok bool) {
	v, _ := o.Get(name)
	s, ok = v.(string)
	return s, ok
}

// Decoder decodes objects. The zero value is ready for use. Not safe for concurrent use.
type Decoder struct {
	rest []byte // of the data, which are valid JSON
	text []byte // a text with escapes, decoded
	top  Object
}

// Object decodes data strictly (RFC 8259): no duplicate names, no invalid UTF-8, no lone
// surrogates, nothing behind the object (RFC 7519, 4; RFC 8725, 3.10). Of its members it
// returns those of the given names, without any all. The object is valid until the next
// call, its values always; they keep no reference to data.
//
// The library validates, as fast as it can; behind that, taking the members out needs no
// more than to see where a value ends. Its decoder would make a text of every name.
func (d *Decoder) Object(data []byte, names ...string) (Object, error) {
	if !jsontext.Value(data).IsValid() {
		return nil, ErrJSON
	}
	d.rest = data
	if d.next() != '{' {
		return nil, ErrJSON
	}
	var ok bool
	d.top, ok = d.members(d.top[:0], true, names, 1)
	if d.rest = nil; !ok {
		return nil, ErrJSON
	}
	return d.top, nil
}

// next skips what is between values and returns the byte where the next one begins, or
// the end of an array or object.
func (d *Decoder) next() byte {
	for {
		switch c := d.rest[0]; c {
		case ' ', '\t', '\n', '\r', ',', ':':
			d.rest = d.rest[1:]
		default:
			return c
		}
	}
}

// take returns the next n bytes.
func (d *Decoder) take(n int) (part []byte) {
	part, d.rest = d.rest[:n], d.rest[n:]
	return part
}

// members decodes an object and appends to o what is to be kept: the members of the given
// names, without any all. depth is that of the object.
func (d *Decoder) members(o Object, keep bool, names []string, depth int) (_ Object, ok bool) {
	d.take(1)
	for n := 1; d.next() != '}'; n++ {
		if n > maxMembers {
			return o, false
		}
		m, wanted, name := Member{}, keep, d.str()
		if names == nil && keep {
			m.Name = string(name)
		} else if i := indexOf(names, name); i >= 0 {
			m.Name = names[i]
		} else {
			wanted = false
		}
		if m.Value, ok = d.value(wanted, depth); !ok {
			return o, false
		}
		if wanted {
			o = append(o, m)
		}
	}
	d.take(1)
	return o, true
}

// indexOf returns the index of name in names, -1 if it is not there.
func indexOf(names []string, name []byte) int {
	for i := range names {
		if names[i] == string(name) {
			return i
		}
	}
	return -1
}

// value decodes the next value, and makes nothing of it unless it is to be kept. depth is
// that of what it is in.
func (d *Decoder) value(keep bool, depth int) (v any, ok bool) {
	c := d.next()
	switch {
	case (c == '{' || c == '[') && depth == maxDepth:
		return nil, false
	case c == '{':
		o, ok := d.members(nil, keep, nil, depth+1)
		if keep {
			v = o
		}
		return v, ok
	case c == '[':
		return d.list(keep, depth+1)
	case c == '"':
		if text := d.str(); keep {
			v = string(text)
		}
		return v, true
	}
	n := bytes.IndexAny(d.rest, ",]} \t\n\r")
	switch word := d.take(n); {
	case !keep, c == 'n':
	case c == 't', c == 'f':
		v = c == 't'
	default:
		v, _ = ParseNumber(string(word))
	}
	return v, true
}

// list decodes an array.
func (d *Decoder) list(keep bool, depth int) (v any, ok bool) {
	list := []any{}
	for d.take(1); d.next() != ']'; {
		item, ok := d.value(keep, depth)
		if !ok {
			return nil, false
		}
		if keep {
			list = append(list, item)
		}
	}
	if d.take(1); keep {
		v = list
	}
	return v, true
}

// str returns the next string, decoded. It is valid until the next call, or aliases the data.
func (d *Decoder) str() []byte {
	end, escaped := 1, false
	for ; d.rest[end] != '"'; end++ {
		if d.rest[end] == '\\' {
			escaped = true
			end++
		}
	}
	quoted := d.take(end + 1)
	if !escaped {
		return quoted[1:end]
	}
	d.text, _ = jsontext.AppendUnquote(d.text[:0], quoted) // which is valid
	return d.text
}

// Prefixes returns the parts of a dotted name that may be members, the longest first.
func Prefixes(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name != "" && yield(name) {
			name = name[:max(strings.LastIndexByte(name, '.'), 0)]
		}
	}
}

// Find returns the value that a dotted name reaches. At each object the longest part
// of the name that is a member counts, so a literal "a.b" wins over b within a.
func (o Object) Find(name string) (v any, found bool) {
	for first := range Prefixes(name) {
		v, found = o.Get(first)
		switch {
		case !found:
			continue
		case len(first) == len(name):
			return v, true
		}
		inner, _ := v.(Object)
		return inner.Find(name[len(first)+1:])
	}
	return nil, false
}

// SizeOf estimates the memory of the value of a claim, in bytes.
func SizeOf(claim any) int {
	const header = 16 // of an interface, and of a string
	switch claim := claim.(type) {
	case string:
		return 2*header + 8 + len(claim) // 8: rounding by the allocator
	case Number:
		return header + 64 + 8 + 2*len(claim.Text) // digits may be a copy
	case []any:
		n := 2*header + 8 + header*(cap(claim)-len(claim))
		for _, item := range claim {
			n += SizeOf(item)
		}
		return n
	case Object:
		const slot = 2 * header
		n := 2*header + 8 + slot*(cap(claim)-len(claim))
		for _, m := range claim {
			n += header + 8 + len(m.Name) + SizeOf(m.Value)
		}
		return n
	}
	return header
}
