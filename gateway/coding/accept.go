package coding

import "bytes"

// Accepted are the weights that a request gives to codings, in thousandths (RFC 9110, 12.5.3).
type Accepted struct {
	weights  [number]int
	identity int  // at least this much wants a coding have
	Identity bool // a body without coding will do
}

// unsaid is the weight of a coding that is not mentioned.
const unsaid = -1

// Accept reads the lines of Accept-Encoding. Malformed elements do not count. Without a line, and
// with an empty one, the client is given what it surely understands: no coding.
//
// Hot path: zero allocations, guarded by TestAcceptAllocs.
func Accept(lines [][]byte) Accepted {
	weights, identity, others := [number]int{unsaid, unsaid, unsaid, unsaid}, unsaid, unsaid
	for _, line := range lines {
		for len(line) > 0 {
			var element []byte
			element, line, _ = bytes.Cut(line, []byte(","))
			name, weight, ok := parseElement(element)
			if !ok {
				continue
			}
			if nameIs(name, "x-gzip") { // RFC 9110, 8.4.1.3
				name = name[len("x-"):]
			}
			switch {
			case string(name) == "*":
				others = weight
			case nameIs(name, "identity"):
				identity = weight
			}
			for c := Brotli; c < number; c++ {
				if nameIs(name, Names[c]) {
					weights[c] = weight
				}
			}
		}
	}
	for c := Brotli; c < number; c++ {
		if weights[c] == unsaid {
			weights[c] = max(others, 0)
		}
	}
	return Accepted{weights: weights, identity: identity, Identity: identity > 0 || identity == unsaid && others != 0}
}

// Best returns the coding that a client wants most among some; of equal ones the first. It is
// Identity where the client accepts none, or wants no coding more than each.
func (a *Accepted) Best(among []Coding) Coding {
	best, weight := Identity, max(a.identity-1, 0)
	for _, c := range among {
		if a.weights[c] > weight {
			best, weight = c, a.weights[c]
		}
	}
	return best
}

// parseElement splits an element into a coding's name and its weight, in thousandths.
func parseElement(element []byte) (name []byte, weight int, ok bool) {
	name, parameters, _ := bytes.Cut(element, []byte(";"))
	name, weight = bytes.Trim(name, " \t"), 1000
	for len(parameters) > 0 {
		var p []byte
		p, parameters, _ = bytes.Cut(parameters, []byte(";"))
		key, value, _ := bytes.Cut(bytes.Trim(p, " \t"), []byte("="))
		if nameIs(key, "q") {
			if weight, ok = parseWeight(value); !ok {
				return nil, 0, false
			}
		}
	}
	return name, weight, len(name) > 0
}

// parseWeight parses a qvalue (RFC 9110, 12.4.2): 0 to 1, with up to three decimals.
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

// nameIs tells whether b is a name, given in lower case, in any case.
func nameIs(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := range b {
		if c := b[i]; c != name[i] && (c < 'A' || c > 'Z' || c|0x20 != name[i]) {
			return false
		}
	}
	return true
}
