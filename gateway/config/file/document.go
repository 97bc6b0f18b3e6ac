package file

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Document is a configuration for people to read, in the words of the file: defaults
// included, durations and sizes with units, *** in the place of each secret. It encodes
// as a JSON object with its keys in order.
type Document []Member

// Member is one key of a Document.
type Member struct {
	Key   string
	Value any // of a type that encodes as JSON
}

// MarshalJSON implements json.Marshaler.
func (d Document) MarshalJSON() ([]byte, error) {
	b := []byte("{")
	for i, m := range d {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, m.Key), ':')
		value, err := json.Marshal(m.Value)
		if err != nil {
			return nil, err
		}
		b = append(b, value...)
	}
	return append(b, '}'), nil
}

// Literal returns s with its references to variables escaped.
func Literal(s string) string { return strings.ReplaceAll(s, "${", "$${") }
