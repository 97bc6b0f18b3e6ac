package request

import (
	"bytes"

	"yatagarasu/gateway/problem"
)

// MaxKeyLen is the most bytes of an object key in UTF-8 (S3 User Guide, "Naming Amazon S3 objects").
const MaxKeyLen = 1024

// What can be wrong with an object key.
var (
	targetKeyTooLong = badTarget("the object key is longer than 1024 bytes")
	targetDirObject  = badTarget("a segment of the object key ends in '__XLDIR__', which to MinIO is another spelling of a slash")
	targetUpload     = badTarget("the object key begins with '.sgwtmp', where versitygw keeps uploads that are under way")
)

// Keys are what clients may ask a bucket for.
type Keys struct {
	Prefix        int  // bytes that the origin has before each key
	EmptySegments bool // keys may have some
}

// CheckKey reports why no origin is asked for an object key: it is too long; some origin takes
// it for a spelling of another key, or for a file that is no object, which may be what a rule
// for a path forbids; or it has an empty segment, where the bucket has none.
// docs/RESILIENCE.md has all such spellings.
//
// Hot path: zero allocations, guarded by TestTargetAllocs.
func CheckKey(key []byte, keys Keys) *problem.Problem {
	n := len(key)
	if n > MaxKeyLen-keys.Prefix {
		return targetKeyTooLong
	}
	if n == 0 {
		return nil
	}
	if !keys.EmptySegments && (key[0] == '/' || bytes.Contains(key, []byte("//"))) {
		return problem.EmptySegment
	}
	if c := key[0]; c == '.' || c == '/' {
		if first, _, _ := bytes.Cut(bytes.TrimLeft(key, "/"), slash); bytes.EqualFold(first, uploads) {
			return targetUpload
		}
	}
	if key[n-1] != '_' && !bytes.Contains(key, []byte("_/")) {
		return nil // as nearly all
	}
	for segment := range bytes.SplitSeq(key, slash) {
		if at := len(segment) - len(dirObject); at >= 0 && bytes.EqualFold(segment[at:], dirObject) {
			return targetDirObject
		}
	}
	return nil
}

// Both names in any case: MinIO on Windows, and file systems of other systems than Linux, do
// not tell the cases apart.
var (
	dirObject = []byte("__XLDIR__")
	uploads   = []byte(".sgwtmp")
)
