package coding

import (
	"bytes"

	"yatagarasu/gateway/request"
)

// Accepted are the weights that a request gives to codings, in thousandths (RFC 9110, 12.5.3).
type Accepted struct {
	weights  [number]int
	identity int  // weight that a coding needs to be chosen over none; unsaid: any
	Identity bool // a body without coding will do
}

// unsaid is the weight of a coding that is not mentioned.
const unsaid = -1

// Accept reads the lines of Accept-Encoding. Malformed elements do not count. Without a line, and
// with an empty one, the client is given what it surely understands: no coding.
//
// Hot path: zero allocations, guarded by TestAcceptAllocs.
func Accept(lines [][]byte) Accepted {
	var weights [number]int
	for c := range weights {
		weights[c] = unsaid
	}
	identity, others := unsaid, unsaid
	for _, line := range lines {
		for len(line) > 0 {
			var element []byte
			element, line, _ = bytes.Cut(line, []byte(","))
			name, weight, ok := parseElement(element)
			if !ok {
				continue
			}
			if request.NameIs(name, "x-gzip") { // RFC 9110, 8.4.1.3
				name = name[len("x-"):]
			}
			switch {
			case string(name) == "*":
				others = weight
			case request.NameIs(name, "identity"):
				identity = weight
			}
			for c := Brotli; c < number; c++ {
				if request.NameIs(name, Names[c]) {
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
	name = bytes.Trim(name, " \t")
	weight, ok = request.WeightOf(parameters)
	return name, weight, ok && len(name) > 0
}
