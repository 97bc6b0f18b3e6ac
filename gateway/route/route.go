// Package route finds the route of a request: the declared prefix that is the
// longest one of its host and path.
package route

import (
	"fmt"
	"slices"
	"strings"
)

// Builder collects the routes of a Table. The zero value is empty and ready to
// use. A Builder is not safe for concurrent use.
type Builder[T any] struct {
	hosts map[string]map[string]*T // canonical host -> prefix without trailing slash -> value
}

// Add declares that requests below prefix on host belong to value; host "" is
// any host. A prefix begins with '/', is compared byte by byte with decoded
// paths, and means the same with one trailing slash as without. A host and
// prefix added before is an error. Nothing is added when there is an error.
func (b *Builder[T]) Add(host, prefix string, value *T) error {
	if value == nil {
		panic("BUG: route: nil value for prefix " + prefix)
	}
	p, err := canonicalPrefix(prefix)
	if err != nil {
		return fmt.Errorf("cannot add route: %w", err)
	}
	h := host
	if h != "" {
		if h, err = canonicalHost(host); err != nil {
			return fmt.Errorf("cannot add route: %w", err)
		}
	}
	if b.hosts[h][p] != nil {
		if h == "" {
			return fmt.Errorf("cannot add route: prefix %q is there already", prefix)
		}
		return fmt.Errorf("cannot add route: prefix %q is there already on host %q", prefix, host)
	}
	if b.hosts == nil {
		b.hosts = make(map[string]map[string]*T)
	}
	if b.hosts[h] == nil {
		b.hosts[h] = make(map[string]*T)
	}
	b.hosts[h][p] = value
	return nil
}

// canonicalPrefix refuses prefixes that no path accepted by the gateway can
// match, so that none is dead without a word. The root prefix becomes "".
func canonicalPrefix(prefix string) (string, error) {
	if !strings.HasPrefix(prefix, "/") {
		return "", fmt.Errorf("prefix %q does not begin with '/'", prefix)
	}
	p := strings.TrimSuffix(prefix, "/")
	if p == "" {
		return "", nil
	}
	for segment := range strings.SplitSeq(p[1:], "/") {
		switch segment {
		case "":
			return "", fmt.Errorf("prefix %q has an empty segment", prefix)
		case ".", "..":
			return "", fmt.Errorf("prefix %q has the segment %q", prefix, segment)
		}
	}
	return p, nil
}

// Build returns the table of all routes added so far. The Builder may be used
// further; the Table does not change with it.
func (b *Builder[T]) Build() *Table[T] {
	t := &Table[T]{hosts: make(map[string]*node[T], len(b.hosts))}
	for host, prefixes := range b.hosts {
		entries := make([]entry[T], 0, len(prefixes))
		for prefix, value := range prefixes {
			entries = append(entries, entry[T]{prefix, value})
		}
		slices.SortFunc(entries, func(x, y entry[T]) int { return strings.Compare(x.prefix, y.prefix) })
		root := newNode(entries, 0)
		if host == "" {
			t.anyHost = root
		} else {
			t.hosts[host] = &root
		}
	}
	return t
}

// Table maps hosts and path prefixes to values: one compressed radix tree per
// host and one for routes of any host. A Table is immutable and safe for
// concurrent use; the zero value has no routes.
type Table[T any] struct {
	hosts   map[string]*node[T]
	anyHost node[T]
}

// Lookup returns the value of the longest prefix of path and that prefix's
// length in path: 0 for the root prefix "/", nil and 0 without a match. A
// prefix matches whole segments: "/a" matches "/a" and "/a/b", not "/ab". The
// routes of the exact host come first, however short their prefix; those of any
// host only if none of them matches.
//
// host is a Host header value, compared as AppendHost says; path is the decoded
// path and begins with '/'. Both are only read.
//
// Hot path: zero allocations, guarded by TestLookupAllocs.
func (t *Table[T]) Lookup(host, path []byte) (v *T, prefixLen int) {
	if len(path) == 0 || path[0] != '/' {
		return nil, 0
	}
	if len(t.hosts) > 0 && len(host) <= maxHostHeaderLen {
		var buf [maxHostHeaderLen]byte
		if root := t.hosts[string(AppendHost(buf[:0], host))]; root != nil {
			if v, prefixLen = root.lookup(path); v != nil {
				return v, prefixLen
			}
		}
	}
	return t.anyHost.lookup(path)
}

// node is one edge of a tree and what lies below it. It fills one cache line,
// and its children lie side by side.
type node[T any] struct {
	label    string    // bytes of the path between the parent and this node
	index    string    // first byte of each child's label
	children []node[T] // in the order of index
	value    *T        // nil where no prefix ends
}

func (n *node[T]) lookup(path []byte) (v *T, prefixLen int) {
	i := 0
	for {
		end := i + len(n.label)
		if end > len(path) || string(path[i:end]) != n.label {
			return v, prefixLen
		}
		i = end
		if i == len(path) {
			if n.value != nil {
				return n.value, i
			}
			return v, prefixLen
		}
		c := path[i]
		if c == '/' && n.value != nil {
			v, prefixLen = n.value, i
		}
		k := strings.IndexByte(n.index, c)
		if k < 0 {
			return v, prefixLen
		}
		n = &n.children[k]
	}
}

type entry[T any] struct {
	prefix string
	value  *T
}

// newNode returns the node of entries, which are sorted, distinct and not
// empty, and have their first depth bytes in common.
func newNode[T any](entries []entry[T], depth int) node[T] {
	// Sorted: what the first and the last have in common, all have.
	first, last := entries[0].prefix, entries[len(entries)-1].prefix
	end := depth
	for end < len(first) && end < len(last) && first[end] == last[end] {
		end++
	}
	n := node[T]{label: first[depth:end]}
	if len(first) == end {
		n.value = entries[0].value
		entries = entries[1:]
	}
	var index []byte
	for rest := entries; len(rest) > 0; {
		c := rest[0].prefix[end]
		index = append(index, c)
		rest = rest[countByte(rest, end, c):]
	}
	n.index = string(index)
	n.children = make([]node[T], 0, len(index))
	for _, c := range index {
		k := countByte(entries, end, c)
		n.children = append(n.children, newNode(entries[:k], end))
		entries = entries[k:]
	}
	return n
}

// countByte returns how many entries in a row, from the first, have c at depth.
func countByte[T any](entries []entry[T], depth int, c byte) int {
	n := 0
	for n < len(entries) && entries[n].prefix[depth] == c {
		n++
	}
	return n
}
