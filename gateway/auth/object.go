package auth

import (
	"bytes"
	"errors"
	"io"
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

// decodeObject decodes data strictly (RFC 8259): no duplicate names, no invalid UTF-8,
// no lone surrogates, nothing behind the object (RFC 7519, 4; RFC 8725, 3.10). The
// object keeps no reference to data.
func decodeObject(data []byte) (object, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(data))
	v, err := decodeValue(d)
	o, ok := v.(object)
	if err != nil || !ok {
		return nil, errJSON
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errJSON
	}
	return o, nil
}

func decodeValue(d *jsontext.Decoder) (any, error) {
	token, err := d.ReadToken()
	if err != nil || d.StackDepth() > maxDepth {
		return nil, errJSON
	}
	switch token.Kind() {
	case 't', 'f':
		return token.Bool(), nil
	case '0':
		n, _ := parseNumber(token.String())
		return n, nil
	case '"':
		return token.String(), nil
	case '[':
		list := []any{}
		for d.PeekKind() != ']' {
			v, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.ReadToken()
		return list, err
	case '{':
		o := object{}
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil || len(o) == maxMembers {
				return nil, errJSON
			}
			key := name.String() // the next token invalidates name
			if o[key], err = decodeValue(d); err != nil {
				return nil, err
			}
		}
		_, err := d.ReadToken()
		return o, err
	}
	return nil, nil // null
}

// find returns the value that a dotted name reaches. At each object the longest part
// of the name that is a member counts, so a literal "a.b" wins over b within a.
func (o object) find(name string) (v any, found bool) {
	for first := name; first != ""; first = first[:max(strings.LastIndexByte(first, '.'), 0)] {
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
