package sign

// Sets of the ASCII bytes that stay as they are, one bit each: RFC 3986's
// unreserved characters, and the slash in a path.
const (
	plainUpTo63 = 1<<'-' | 1<<'.' | (1<<10-1)<<'0'
	plainFrom64 = (1<<26-1)<<('A'-64) | 1<<('_'-64) | (1<<26-1)<<('a'-64) | 1<<('~'-64)
	slash       = 1 << '/'
)

// AppendPath appends key to dst in the URI encoding that S3 signs: A-Z, a-z,
// 0-9, "-", ".", "_", "~" and "/" as they are, each other byte as %XX in upper
// case. It encodes once and normalises nothing, so leading, trailing and
// repeated slashes stay; any byte is valid. The result is at most three times as
// long as key. Where both are slices, key must not overlap the spare room of dst.
//
// The source is UriEncode() on the page "Signature Calculations for the
// Authorization Header" (sig-v4-header-based-auth) of the Amazon S3 API
// Reference.
//
// Hot path: zero allocations when dst has room, guarded by
// TestAppendPathAllocs.
func AppendPath[T []byte | string](dst []byte, key T) []byte {
	return appendEncoded(dst, key, plainUpTo63|slash)
}

// AppendQueryComponent appends the name or the value v of a query parameter to
// dst, encoded as by [AppendPath], and the slash too.
func AppendQueryComponent[T []byte | string](dst []byte, v T) []byte {
	return appendEncoded(dst, v, plainUpTo63)
}

func appendEncoded[T []byte | string](dst []byte, v T, upTo63 uint64) []byte {
	const upperHex = "0123456789ABCDEF"
	start := 0
	for i := 0; i < len(v); i++ {
		c := v[i]
		if c < 64 && upTo63>>c&1 != 0 || c-64 < 64 && uint64(plainFrom64)>>(c-64)&1 != 0 {
			continue
		}
		if start < i {
			dst = append(dst, v[start:i]...)
		}
		dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		start = i + 1
	}
	return append(dst, v[start:]...)
}
