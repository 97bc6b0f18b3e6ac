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

// object is a JSON object by member name. Its values are nil, bool, number, string,
// []any and object. It never changes after decoding.
type object map[string]any

// decoder decodes objects. The zero value is ready for use. Not safe for concurrent use.
type decoder struct {
	jsontext.Decoder
	source bytes.Buffer
}

// object decodes data strictly (RFC 8259): no duplicate names, no invalid UTF-8, no lone
// surrogates, nothing behind the object (RFC 7519, 4; RFC 8725, 3.10). Of its members it
// returns those of the given names, without any all. The object keeps no reference to
// data.
func (d *decoder) object(data []byte, names ...string) (object, error) {
	d.source = *bytes.NewBuffer(data)
	d.Reset(&d.source)
	v, err := d.value(true, names)
	o, ok := v.(object)
	if err != nil || !ok {
		return nil, errJSON
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errJSON
	}
	return o, nil
}

// value decodes the next value, and makes nothing of it unless it is to be kept.
func (d *decoder) value(keep bool, names []string) (any, error) {
	token, err := d.ReadToken()
	if err != nil || d.StackDepth() > maxDepth {
		return nil, errJSON
	}
	switch kind := token.Kind(); {
	case kind == 't', kind == 'f':
		return token.Bool(), nil
	case kind == '0' && keep:
		n, _ := parseNumber(token.String())
		return n, nil
	case kind == '"' && keep:
		return token.String(), nil
	case kind == '[':
		list := []any{}
		for d.PeekKind() != ']' {
			v, err := d.value(keep, nil)
			if err != nil {
				return nil, err
			}
			if keep {
				list = append(list, v)
			}
		}
		_, err := d.ReadToken()
		return list, err
	case kind == '{':
		o := object{}
		for d.PeekKind() != '}' {
			token, err := d.ReadToken()
			if _, tokens := d.StackIndex(d.StackDepth()); err != nil || tokens > 2*maxMembers {
				return nil, errJSON
			}
			name, wanted := "", keep
			if i := slices.Index(names, token.String()); i >= 0 {
				name = names[i]
			} else if wanted = keep && names == nil; wanted {
				name = token.String()
			}
			v, err := d.value(wanted, nil)
			if err != nil {
				return nil, err
			}
			if wanted {
				o[name] = v
			}
		}
		_, err := d.ReadToken()
		return o, err
	}
	return nil, nil // null, or not kept
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
		v, found = o[first]
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
