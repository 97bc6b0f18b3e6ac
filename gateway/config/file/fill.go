package file

import (
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Checker is a block that checks itself, once its keys are decoded.
type Checker interface {
	Check(d *Decoder, o Object)
}

// Fill decodes the keys of block in n, which may be nil, into the fields of v, a pointer
// to a struct with the defaults, and has v check itself, if it is a Checker. The tags of a field
// are
//
//	key    its key, where that is not its name in the style of the file; "-" for none
//	form   one of the forms of the grammar; "-" for what Check, or the caller, decodes
//	of     the words that it may be
//	least  the least value; 0 without it
//	most   the greatest value of a number; 2147483647 without it
func (d *Decoder) Fill(n *Node, block string, v any) Object {
	o := d.object(n, block)
	keys, fields := d.grammar.Keys(block), reflect.ValueOf(v).Elem()
	for _, f := range d.keyedFields(fields.Type()) {
		if slices.Contains(keys, f.key) {
			o.field(block, f.key, f.Tag, fields.FieldByIndex(f.Index))
		}
	}
	if v, ok := v.(Checker); ok {
		v.Check(d, o)
	}
	return o
}

// keyedField is a field that Fill decodes, and its key.
type keyedField struct {
	reflect.StructField
	key string
}

// keyedFields returns those of a struct. They are looked for once: a file may have very many
// buckets.
func (d *Decoder) keyedFields(t reflect.Type) []keyedField {
	fields, ok := d.keyed[t]
	if !ok {
		for _, f := range reflect.VisibleFields(t) {
			if f.Tag.Get("form") != "-" {
				fields = append(fields, keyedField{f, KeyOf(f)})
			}
		}
		d.keyed[t] = fields
	}
	return fields
}

// field decodes key of block into v, unless that is a list of other things than strings,
// or of a type with several forms.
func (o Object) field(block, key string, tag reflect.StructTag, v reflect.Value) {
	switch f := v.Addr().Interface().(type) {
	case *string:
		if form, ok := o.d.grammar.Forms[tag.Get("form")]; ok {
			*f = o.Checked(key, *f, form)
		} else if words, ok := tag.Lookup("of"); ok {
			*f = o.OneOf(key, *f, strings.Split(words, ", ")...)
		} else {
			*f = o.Text(key, *f)
		}
	case *[]string:
		o.StringOrList(key, func(_ *Node, text string, _ bool) { *f = append(*f, text) })
	case *Secret:
		if o.Has(key) {
			*f = o.Secret(key)
		}
	case *bool:
		*f = o.Boolean(key, *f)
	case *int:
		*f = o.Integer(key, *f, number(tag, "least", 0), number(tag, "most", maxCount))
	case *float64:
		*f = o.share(key, *f)
	case *Percent:
		*f = o.percent(key, *f, Percent(number(tag, "least", 0)))
	case *Size:
		*f = o.size(key, *f)
	case *time.Duration:
		least, _ := time.ParseDuration(tag.Get("least"))
		*f = o.Duration(key, *f, least)
	default:
		if v.Kind() == reflect.Struct {
			o.d.Fill(o.Get(key), join(block, key), v.Addr().Interface())
		}
	}
}

// number returns the number in a tag.
func number(tag reflect.StructTag, name string, otherwise int) int {
	if n, err := strconv.Atoi(tag.Get(name)); err == nil {
		return n
	}
	return otherwise
}

// KeyOf returns the key of a field: that of its tag, or its name in the style of the
// file, where MaxObjectSize is max_object_size.
func KeyOf(f reflect.StructField) string {
	if key, ok := f.Tag.Lookup("key"); ok {
		return key
	}
	return strings.ToLower(wordStart.ReplaceAllString(f.Name, "${1}${3}_${2}${4}"))
}

// wordStart matches where a word begins in the name of a field: URLPath has two words.
var wordStart = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)
