package file

import "slices"

// Pairs are the entries of a mapping whose keys the file chooses, in its order.
type Pairs []Pair

// Pair is one entry.
type Pair struct{ Name, Value string }

// Has reports whether p has a name.
func (p Pairs) Has(name string) bool {
	return slices.ContainsFunc(p, func(one Pair) bool { return one.Name == name })
}

// Pairs calls use for each entry of key, a mapping of strings.
func (o Object) Pairs(key string, use func(at *Node, key, value string)) {
	n := o.Get(key)
	switch {
	case n == nil:
		return
	case n.Kind != Map:
		o.d.Fail(n, "must be a mapping, not "+n.Kind.String(), "write one entry on each line, as name: \"value\"")
		return
	case len(n.entries) == 0:
		o.d.Fail(n, "is an empty mapping", "give it an entry, or remove the key")
	}
	for _, e := range n.entries {
		if text, _, ok := o.d.Text(e.value); ok {
			use(e.value, e.key, text)
		}
	}
}
