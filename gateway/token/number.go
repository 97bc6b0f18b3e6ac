package token

import (
	"cmp"
	"strconv"
	"strings"
)

// Number is a JSON number in exact form: sign x 0.DIGITS x 10^exponent. The zero
// value compares as 0. It never changes.
type Number struct {
	Text     string // as written
	Exact    bool   // whether it can be compared
	sign     int    // -1, 0 or 1; of an exact number, as what follows
	digits   string // without zeros at either side
	exponent int64
}

// maxExponent keeps sums of an exponent and a token's length in an int64.
const maxExponent = 1e15

// ParseNumber takes a number of JSON (RFC 8259, 6). It is not ok, and the number not
// exact, where that has an exponent too long to compare.
func ParseNumber(text string) (n Number, ok bool) {
	n.Text = text
	mantissa, exponent := text, "0"
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa, exponent = text[:i], text[i+1:]
	}
	unsigned, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(unsigned, ".")
	digits := whole + fraction
	e, err := strconv.ParseInt(exponent, 10, 64)
	if err != nil || e >= maxExponent || e <= -maxExponent || digits == "" || strings.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' }) {
		return n, false
	}
	n.Exact = true
	significant := strings.TrimLeft(digits, "0")
	if significant == "" { // zero, which has no sign
		return n, true
	}
	n.digits = strings.TrimRight(significant, "0")
	n.exponent = e + int64(len(whole)-len(digits)+len(significant))
	if n.sign = 1; negative {
		n.sign = -1
	}
	return n, true
}

// Compare returns -1, 0 or 1 as a is less than, equal to or greater than b, both of
// which are exact, whatever the number of digits.
func (a Number) Compare(b Number) int {
	return cmp.Or(cmp.Compare(a.sign, b.sign), a.sign*cmp.Or(cmp.Compare(a.exponent, b.exponent), strings.Compare(a.digits, b.digits)))
}

// lastSecond is the last one of the year 9999.
const lastSecond = 253402300799

// seconds returns n as a date of RFC 7519 section 2, rounded down; fraction reports
// that it was. It is not ok for a negative number or one beyond the year 9999.
func (n Number) seconds() (s int64, fraction, ok bool) {
	const zeros = "000000000000"
	switch {
	case n.sign == 0:
		return 0, false, true
	case n.sign < 0, n.exponent > int64(len(zeros)):
		return 0, false, false
	case n.exponent <= 0:
		return 0, true, true
	}
	s, _ = strconv.ParseInt((n.digits + zeros)[:n.exponent], 10, 64) // 12 digits at most
	return s, int64(len(n.digits)) > n.exponent, s <= lastSecond
}
