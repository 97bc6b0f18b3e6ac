// Package route finds the route of a request: the longest declared prefix of its path, on
// its host.
package route

import (
	"bytes"
	"fmt"
	"maps"
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

// canonicalPrefix refuses prefixes that match no path accepted by the gateway, so that no
// route is dead in silence. The root prefix becomes "".
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
	t := &Table[T]{hosts: make(map[string]*prefixes[T], len(b.hosts))}
	for host, values := range b.hosts {
		p := prefixes[T]{values: maps.Clone(values)}
		for prefix := range values {
			p.depth = max(p.depth, strings.Count(prefix, "/"))
		}
		if host == "" {
			t.anyHost = p
		} else {
			t.hosts[host] = &p
		}
	}
	return t
}

// Table maps hosts and path prefixes to values. A Table is immutable and safe for
// concurrent use; the zero value has no routes.
type Table[T any] struct {
	hosts   map[string]*prefixes[T]
	anyHost prefixes[T]
}

// prefixes are the routes of one host.
type prefixes[T any] struct {
	values map[string]*T // by prefix without trailing slash
	depth  int           // the most segments of a prefix
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
		if p := t.hosts[string(AppendHost(buf[:0], host))]; p != nil {
			if v, prefixLen = p.lookup(path); v != nil {
				return v, prefixLen
			}
		}
	}
	return t.anyHost.lookup(path)
}

// lookup tries the beginnings of path that end at a slash or the end, up to p.depth
// segments: further slashes, such as an attacker's, cost nothing.
func (p *prefixes[T]) lookup(path []byte) (v *T, prefixLen int) {
	for end, depth := 0, 0; depth <= p.depth; depth++ {
		if found := p.values[string(path[:end])]; found != nil {
			v, prefixLen = found, end
		}
		if end == len(path) {
			break
		}
		next := bytes.IndexByte(path[end+1:], '/')
		if next < 0 {
			next = len(path) - end - 1
		}
		end += 1 + next
	}
	return v, prefixLen
}
