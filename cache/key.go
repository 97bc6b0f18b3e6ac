package cache

import (
	"bytes"
	"encoding/binary"
)

// AppendKey appends a cache key made of parts to dst and returns it. Each part
// is preceded by its length, so that different parts never make the same key:
// ("a|b", "c") and ("a", "b|c") differ.
//
// The first part is what [Cache.PurgeKey] and [Cache.PurgePrefix] look at: the
// object's name comes first, then whatever else the response depends on.
func AppendKey(dst []byte, parts ...[]byte) []byte {
	for _, part := range parts {
		dst = binary.AppendUvarint(dst, uint64(len(part)))
		dst = append(dst, part...)
	}
	return dst
}

// firstPart returns the first part of key, without its length; false for a key
// that AppendKey did not make.
func firstPart(key []byte) ([]byte, bool) {
	size, n := binary.Uvarint(key)
	if n <= 0 || size > uint64(len(key)-n) {
		return nil, false
	}
	return key[n : n+int(size)], true
}

// firstPartHasPrefix reports whether the first part of key begins with prefix.
// It is false for a key that AppendKey did not make.
func firstPartHasPrefix(key, prefix []byte) bool {
	first, ok := firstPart(key)
	return ok && bytes.HasPrefix(first, prefix)
}
