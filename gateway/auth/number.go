package auth

import "strconv"

// number is a JSON number in exact form: 0.DIGITS x 10^exponent. Its digits are
// those of text from start to end, a point left out, without zeros at either
// side; none for zero.
type number struct {
	text       []byte
	start, end int
	exponent   int64
	negative   bool
}

// maxExponentDigits keeps exponents, and sums with a token's length, in an int64.
const maxExponentDigits = 15

// parseNumber takes a number of JSON (RFC 8259, 6). It is not ok if that has an
// exponent too long to compare.
func parseNumber(text []byte) (n number, ok bool) {
	n.text = text
	i := 0
	if i < len(text) && text[i] == '-' {
		n.negative = true
		i++
	}
	n.start, n.end = -1, -1
	point := -1 // digits before the point, once it was seen
	digits := 0
	first := 0 // digits before the first that is not zero
scan:
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c == '.' && point < 0:
			point = digits
		case c >= '0' && c <= '9':
			if c != '0' {
				if n.start < 0 {
					n.start, first = i, digits
				}
				n.end = i + 1
			}
			digits++
		case c == 'e' || c == 'E':
			break scan
		default:
			return number{}, false
		}
	}
	if digits == 0 {
		return number{}, false
	}
	if point < 0 {
		point = digits
	}
	var e int64
	if i < len(text) {
		exponent := text[i+1:]
		if len(exponent) > 0 && exponent[0] == '+' {
			exponent = exponent[1:]
		}
		for len(exponent) > 1 && exponent[0] == '0' {
			exponent = exponent[1:]
		}
		var err error
		if len(exponent) > maxExponentDigits {
			return number{}, false
		}
		if e, err = strconv.ParseInt(string(exponent), 10, 64); err != nil {
			return number{}, false
		}
	}
	if n.start < 0 { // zero, which has no sign
		return number{text: text}, true
	}
	n.exponent = e + int64(point-first)
	return n, true
}

// zero reports whether n is 0.
func (n *number) zero() bool { return n.start == n.end }

// sign returns -1, 0 or 1.
func (n *number) sign() int {
	switch {
	case n.zero():
		return 0
	case n.negative:
		return -1
	}
	return 1
}

// compare returns -1, 0 or 1 as a is less than, equal to or greater than b. It is
// exact, whatever the number of digits.
func compare(a, b *number) int {
	sign := a.sign()
	switch other := b.sign(); {
	case sign < other:
		return -1
	case sign > other:
		return 1
	case sign == 0:
		return 0
	}
	switch {
	case a.exponent < b.exponent:
		return -sign
	case a.exponent > b.exponent:
		return sign
	}
	i, j := a.start, b.start
	for {
		if i < a.end && a.text[i] == '.' {
			i++
		}
		if j < b.end && b.text[j] == '.' {
			j++
		}
		switch {
		case i >= a.end && j >= b.end:
			return 0
		case i >= a.end:
			return -sign
		case j >= b.end:
			return sign
		case a.text[i] < b.text[j]:
			return -sign
		case a.text[i] > b.text[j]:
			return sign
		}
		i++
		j++
	}
}

// lastSecond is the last one of the year 9999.
const lastSecond = 253402300799

// seconds returns n as a date of RFC 7519 section 2, rounded down; fraction tells
// that it was. It is not ok for a negative number or one beyond the year 9999.
func (n *number) seconds() (s int64, fraction, ok bool) {
	switch {
	case n.zero():
		return 0, false, true
	case n.negative, n.exponent > 12:
		return 0, false, false
	case n.exponent <= 0:
		return 0, true, true
	}
	left := n.exponent
	for i := n.start; i < n.end; i++ {
		if n.text[i] == '.' {
			continue
		}
		if left == 0 {
			fraction = true
			break
		}
		s = s*10 + int64(n.text[i]-'0')
		left--
	}
	for ; left > 0; left-- {
		s *= 10
	}
	return s, fraction, s <= lastSecond
}
