package cache

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"iter"
)

// AppendKey appends a cache key made of parts to dst and returns it. Each part
// is preceded by its length, so that different parts never make the same key:
// ("a|b", "c") and ("a", "b|c") differ.
//
// The first part is what [Cache.PurgeKey] and [Cache.PurgePrefix] look at: the
// object's name comes first, then whatever else the response depends on. Names that differ
// in empty segments alone are spellings of one name, see [HasEmptySegment].
func AppendKey(dst []byte, parts ...[]byte) []byte {
	for _, part := range parts {
		dst = binary.AppendUvarint(dst, uint64(len(part)))
		dst = append(dst, part...)
	}
	return dst
}

// cutFirstPart returns the first part of key, without its length, and what is behind it. It
// is not ok for a key that AppendKey did not make.
func cutFirstPart(key []byte) (first, rest []byte, ok bool) {
	size, n := binary.Uvarint(key)
	if n <= 0 || size > uint64(len(key)-n) {
		return nil, nil, false
	}
	end := n + int(size)
	return key[n:end], key[end:], true
}

// nameIn returns the first part of a key, or all of one that AppendKey did not make.
func nameIn(key []byte) []byte {
	if name, _, ok := cutFirstPart(key); ok {
		return name
	}
	return key
}

// Name returns the first part of o's key: the object's name. It is part of the key.
func (o *Object) Name() []byte { return NameOf(o.Key) }

// NameOf returns the first part of a key, which it is part of.
func NameOf(key []byte) []byte {
	name, _, _ := cutFirstPart(key)
	return name
}

// HasEmptySegment reports whether name begins with a slash, or has two in a row. Some origins
// drop empty segments: "/a" and "a//b" are spellings of "a" and "a/b" there. Elsewhere they
// are names of their own. So the cache keeps spellings apart, but a purge of one is a purge of
// all, and of an object it stores at most maxAliases spellings that have empty segments.
//
// Hot path: zero allocations, guarded by TestGetAllocs.
func HasEmptySegment(name []byte) bool {
	return len(name) > 0 && name[0] == '/' || bytes.Contains(name, twoSlashes)
}

var twoSlashes = []byte("//")

// IsAlias reports whether the first part of key has an empty segment.
func IsAlias(key []byte) bool {
	name, _, ok := cutFirstPart(key)
	return ok && HasEmptySegment(name)
}

// collapsed yields the parts of name that are left without its empty segments: each segment
// with the slash behind it. A slash at the end stays.
func collapsed(name []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for {
			for len(name) > 0 && name[0] == '/' {
				name = name[1:]
			}
			end := bytes.IndexByte(name, '/') + 1
			if end == 0 {
				end = len(name)
			}
			if end == 0 || !yield(name[:end]) {
				return
			}
			name = name[end:]
		}
	}
}

// AppendCollapsed appends name without its empty segments to dst.
func AppendCollapsed(dst, name []byte) []byte {
	for part := range collapsed(name) {
		dst = append(dst, part...)
	}
	return dst
}

// hashName returns a hash of name that is the same for all its spellings.
func (c *Cache) hashName(name []byte) uint64 {
	if !HasEmptySegment(name) {
		return maphash.Bytes(c.seed, name)
	}
	return c.hashCollapsed(name, nil)
}

// hashCollapsed returns the hash of name without its empty segments, and rest.
func (c *Cache) hashCollapsed(name, rest []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	for part := range collapsed(name) {
		h.Write(part)
	}
	h.Write(rest)
	return h.Sum64()
}

// aliasHash returns a hash that is the same for all keys that differ from key only in the
// spelling of the first part. It is not ok unless that part has an empty segment.
func (c *Cache) aliasHash(key []byte) (hash uint64, ok bool) {
	name, rest, ok := cutFirstPart(key)
	if !ok || !HasEmptySegment(name) {
		return 0, false
	}
	return c.hashCollapsed(name, rest), true
}
