package auth

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

var errJSON = errors.New("no strict JSON object")

// object has the members of a JSON object, in order. Their values are nil, bool, number,
// string, []any and object.
type object []member

type member struct {
	name  string
	value any
}

// get returns the value of a member.
func (o object) get(name string) (v any, found bool) {
	for i := range o {
		if o[i].name == name {
			return o[i].value, true
		}
	}
	return nil, false
}

// text returns the value of a member that is a string.
func (o object) text(name string) (s string, ok bool) {
	v, _ := o.get(name)
	s, ok = v.(string)
	return s, ok
}

// decoder decodes objects. The zero value is ready for use. Not safe for concurrent use.
type decoder struct {
	rest []byte // of the data, which are valid JSON
	text []byte // a text with escapes, decoded
	top  object
}

// object decodes data strictly (RFC 8259): no duplicate names, no invalid UTF-8, no lone
// surrogates, nothing behind the object (RFC 7519, 4; RFC 8725, 3.10). Of its members it
// returns those of the given names, without any all. The object is valid until the next
// call, its values always; they keep no reference to data.
//
// The library validates, as fast as it can; behind that, taking the members out needs no
// more than to see where a value ends. Its decoder would make a text of every name.
func (d *decoder) object(data []byte, names ...string) (object, error) {
	if !jsontext.Value(data).IsValid() {
		return nil, errJSON
	}
	d.rest = data
	if d.next() != '{' {
		return nil, errJSON
	}
	var ok bool
	d.top, ok = d.members(d.top[:0], true, names, 1)
	if d.rest = nil; !ok {
		return nil, errJSON
	}
	return d.top, nil
}

// next skips what is between values and returns the byte where the next one begins, or
// the end of an array or object.
func (d *decoder) next() byte {
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
func (d *decoder) take(n int) (part []byte) {
	part, d.rest = d.rest[:n], d.rest[n:]
	return part
}

// members decodes an object and appends to o what is to be kept: the members of the given
// names, without any all. depth is that of the object.
func (d *decoder) members(o object, keep bool, names []string, depth int) (_ object, ok bool) {
	d.take(1)
	for n := 1; d.next() != '}'; n++ {
		if n > maxMembers {
			return o, false
		}
		m, wanted, name := member{}, keep, d.str()
		if names == nil && keep {
			m.name = string(name)
		} else if i := indexOf(names, name); i >= 0 {
			m.name = names[i]
		} else {
			wanted = false
		}
		if m.value, ok = d.value(wanted, depth); !ok {
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
func (d *decoder) value(keep bool, depth int) (v any, ok bool) {
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
		v, _ = parseNumber(string(word))
	}
	return v, true
}

// list decodes an array.
func (d *decoder) list(keep bool, depth int) (v any, ok bool) {
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
func (d *decoder) str() []byte {
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

// prefixes returns the parts of a dotted name that may be members, the longest first.
func prefixes(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name != "" && yield(name) {
			name = name[:max(strings.LastIndexByte(name, '.'), 0)]
		}
	}
}

// find returns the value that a dotted name reaches. At each object the longest part
// of the name that is a member counts, so a literal "a.b" wins over b within a.
func (o object) find(name string) (v any, found bool) {
	for first := range prefixes(name) {
		v, found = o.get(first)
		switch {
		case !found:
			continue
		case len(first) == len(name):
			return v, true
		}
		inner, _ := v.(object)
		return inner.find(name[len(first)+1:])
	}
	return nil, false
}
