package auth

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"
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
	jsontext.Decoder
	source bytes.Buffer
	top    object
}

// object decodes data strictly (RFC 8259): no duplicate names, no invalid UTF-8, no lone
// surrogates, nothing behind the object (RFC 7519, 4; RFC 8725, 3.10). Of its members it
// returns those of the given names, without any all. The object is valid until the next
// call, its values always; they keep no reference to data.
func (d *decoder) object(data []byte, names ...string) (object, error) {
	d.source = *bytes.NewBuffer(data)
	d.Reset(&d.source)
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return nil, errJSON
	}
	var err error
	if d.top, err = d.members(d.top[:0], true, names); err != nil {
		return nil, errJSON
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errJSON
	}
	return d.top, nil
}

// members decodes the rest of an object and appends to o what is to be kept: the members
// of the given names, without any all.
func (d *decoder) members(o object, keep bool, names []string) (object, error) {
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if _, tokens := d.StackIndex(d.StackDepth()); err != nil || tokens > 2*maxMembers {
			return o, errJSON
		}
		m, wanted := member{}, keep
		if i := slices.Index(names, token.String()); i >= 0 {
			m.name = names[i]
		} else if wanted = keep && names == nil; wanted {
			m.name = token.String()
		}
		if m.value, err = d.value(wanted); err != nil {
			return o, err
		}
		if wanted {
			o = append(o, m)
		}
	}
	_, err := d.ReadToken()
	return o, err
}

// value decodes the next value, and makes nothing of it unless it is to be kept.
func (d *decoder) value(keep bool) (v any, err error) {
	token, err := d.ReadToken()
	if err != nil || d.StackDepth() > maxDepth {
		return nil, errJSON
	}
	switch kind := token.Kind(); {
	case kind == '{':
		v, err = d.members(nil, keep, nil)
	case kind == '[':
		v, err = d.list(keep)
	case !keep:
	case kind == 't', kind == 'f':
		v = token.Bool()
	case kind == '0':
		v, _ = parseNumber(token.String())
	case kind == '"':
		v = token.String()
	}
	return v, err
}

// list decodes the rest of an array.
func (d *decoder) list(keep bool) (any, error) {
	list := []any{}
	for d.PeekKind() != ']' {
		v, err := d.value(keep)
		if err != nil {
			return nil, err
		}
		if keep {
			list = append(list, v)
		}
	}
	if _, err := d.ReadToken(); err != nil || !keep {
		return nil, err
	}
	return list, nil
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
