package request

import (
	"bytes"
	"strconv"
)

// PrefersPlain tells whether an Accept header gives text/plain a higher weight than
// application/json.
func PrefersPlain(accept []byte) bool { return Prefers(accept, "text/plain", "application/json") }

// Prefers tells whether an Accept header gives one media type a higher weight than another (RFC
// 9110 section 12.5.1). Without the header, with equal weights or with "*/*", it does not.
// Malformed elements do not count. The types are in lower case.
//
// Hot path of a flood: zero allocations, guarded by TestRefuseAllocs.
func Prefers(accept []byte, first, second string) bool {
	var one, other mediaWeight
	for element := range bytes.SplitSeq(accept, comma) {
		mediaRange, parameters, _ := bytes.Cut(element, []byte(";"))
		if weight, ok := weightOf(parameters); ok {
			mediaRange = trimOWS(mediaRange)
			one.set(weight, precisionOf(mediaRange, first))
			other.set(weight, precisionOf(mediaRange, second))
		}
	}
	return one.weight > other.weight
}

// precisionOf returns how precisely a media range covers a type: 3 by its name, 1 with all
// others; 0: it does not.
func precisionOf(mediaRange []byte, name string) int {
	if bytes.EqualFold(mediaRange, StringBytes(name)) {
		return 3
	}
	kind, some := bytes.CutSuffix(mediaRange, []byte("/*"))
	switch {
	case !some:
		return 0
	case string(kind) == "*":
		return 1
	case len(kind) < len(name) && name[len(kind)] == '/' && bytes.EqualFold(kind, StringBytes(name[:len(kind)])):
		return 2
	}
	return 0
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
