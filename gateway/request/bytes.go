package request

import "unsafe"

// StringBytes returns the bytes of s, which must not be changed. They are valid as long as s.
func StringBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// bytesString returns b as a string, which is valid until b changes. Use it for calls that do not
// keep the string.
func bytesString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
