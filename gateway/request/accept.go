package request

import (
	"bytes"
	"strconv"
)

// PrefersPlain tells whether an Accept header gives text/plain a higher weight than
// application/json (RFC 9110 section 12.5.1). Without the header, with equal weights or with
// "*/*", it does not. Malformed elements do not count.
func PrefersPlain(accept []byte) bool {
	var plain, json mediaWeight
	for element := range bytes.SplitSeq(accept, comma) {
		mediaRange, parameters, _ := bytes.Cut(element, []byte(";"))
		mediaRange = trimOWS(mediaRange)
		weight, ok := weightOf(parameters)
		if !ok {
			continue
		}
		switch {
		case bytes.EqualFold(mediaRange, []byte("text/plain")):
			plain.set(weight, 3)
		case bytes.EqualFold(mediaRange, []byte("text/*")):
			plain.set(weight, 2)
		case bytes.EqualFold(mediaRange, []byte("application/json")):
			json.set(weight, 3)
		case bytes.EqualFold(mediaRange, []byte("application/*")):
			json.set(weight, 2)
		case string(mediaRange) == "*/*":
			plain.set(weight, 1)
			json.set(weight, 1)
		}
	}
	return plain.weight > json.weight
}

// mediaWeight is the weight that an Accept header gives one media type: that of the most
// precise range that covers it.
type mediaWeight struct {
	weight    float64
	precision int
}

func (m *mediaWeight) set(weight float64, precision int) {
	if precision > m.precision {
		m.weight, m.precision = weight, precision
	}
}

// weightOf returns the weight q among the parameters of a media range; 1 if there is none.
func weightOf(parameters []byte) (weight float64, ok bool) {
	for p := range bytes.SplitSeq(parameters, []byte(";")) {
		name, value, _ := bytes.Cut(trimOWS(p), []byte("="))
		if bytes.EqualFold(name, []byte("q")) {
			return parseWeight(value)
		}
	}
	return 1, true
}

// parseWeight parses a qvalue, RFC 9110 section 12.4.2: 0 to 1, with up to three
// decimals.
func parseWeight(v []byte) (weight float64, ok bool) {
	if len(v) == 0 || len(v) > len("0.123") || len(v) > 1 && v[1] != '.' || !consistsOf(v, ".0123456789") {
		return 0, false
	}
	weight, err := strconv.ParseFloat(bytesString(v), 64) // the string is kept in the error alone, which ends here
	return weight, err == nil && weight <= 1
}
