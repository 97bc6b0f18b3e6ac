package request

import "bytes"

// PrefersPlain tells whether an Accept header gives text/plain a higher weight
// than application/json, RFC 9110 section 12.5.1. Absent, equal, or "*/*": no.
// Elements that are not understood do not count.
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

// mediaWeight is the weight that an Accept header gives one media type, in
// thousandths: the weight of the most precise range that covers it.
type mediaWeight struct{ weight, precision int }

func (m *mediaWeight) set(weight, precision int) {
	if precision > m.precision {
		m.weight, m.precision = weight, precision
	}
}

// weightOf returns the weight q among the parameters of a media range, in
// thousandths; 1000 if there is none.
func weightOf(parameters []byte) (thousandths int, ok bool) {
	for p := range bytes.SplitSeq(parameters, []byte(";")) {
		name, value, _ := bytes.Cut(trimOWS(p), []byte("="))
		if bytes.EqualFold(name, []byte("q")) {
			return parseWeight(value)
		}
	}
	return 1000, true
}

// parseWeight parses a qvalue, RFC 9110 section 12.4.2: 0 to 1, with up to three
// decimals.
func parseWeight(v []byte) (thousandths int, ok bool) {
	if len(v) == 0 || len(v) > len("0.123") || v[0] != '0' && v[0] != '1' || len(v) > 1 && v[1] != '.' {
		return 0, false
	}
	thousandths = 1000 * int(v[0]-'0')
	for i, scale := 2, 100; i < len(v); i, scale = i+1, scale/10 {
		if v[i] < '0' || v[i] > '9' {
			return 0, false
		}
		thousandths += scale * int(v[i]-'0')
	}
	return thousandths, thousandths <= 1000
}
