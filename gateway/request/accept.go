package request

import (
	"bytes"

	"yatagarasu/cache"
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
		if weight, ok := WeightOf(parameters); ok {
			mediaRange = cache.TrimOWS(mediaRange)
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
	weight    int
	precision int
}

func (m *mediaWeight) set(weight, precision int) {
	if precision > m.precision {
		m.weight, m.precision = weight, precision
	}
}

// WeightOf returns the weight q among the parameters of an element, in thousandths; 1000 if there
// is none.
func WeightOf(parameters []byte) (thousandths int, ok bool) {
	for len(parameters) > 0 {
		var p []byte
		p, parameters, _ = bytes.Cut(parameters, []byte(";"))
		if name, value, _ := bytes.Cut(cache.TrimOWS(p), []byte("=")); NameIs(name, "q") {
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
	thousandths = int(v[0]-'0') * 1000
	for i, unit := 2, 100; i < len(v); i, unit = i+1, unit/10 {
		if v[i] < '0' || v[i] > '9' {
			return 0, false
		}
		thousandths += int(v[i]-'0') * unit
	}
	return thousandths, thousandths <= 1000
}
