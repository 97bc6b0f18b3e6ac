package config

import "slices"

// Pairs are the entries of a mapping whose keys the file chooses, in its order.
type Pairs []Pair

// Pair is one entry.
type Pair struct{ Name, Value string }

// has reports whether p has a name.
func (p Pairs) has(name string) bool {
	return slices.ContainsFunc(p, func(one Pair) bool { return one.Name == name })
}

// pairs calls use for each entry of key, a mapping of strings.
func (o object) pairs(key string, use func(at *node, key, value string)) {
	n := o.get(key)
	switch {
	case n == nil:
		return
	case n.kind != kindMap:
		o.d.fail(n, "must be a mapping, not "+n.kind.String(), "write one entry on each line, as name: \"value\"")
		return
	case len(n.entries) == 0:
		o.d.fail(n, "is an empty mapping", "give it an entry, or remove the key")
	}
	for _, e := range n.entries {
		if text, _, ok := o.d.text(e.value); ok {
			use(e.value, e.key, text)
		}
	}
}
