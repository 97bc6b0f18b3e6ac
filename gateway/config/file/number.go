package file

import (
	"math"
	"regexp"
)

var (
	digitsForm  = regexp.MustCompile(`^[0-9]+$`)
	decimalForm = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	numberForm  = regexp.MustCompile(`^-?((0|[1-9][0-9]*)(\.[0-9]+)?)([eE][+-]?[0-9]{1,3})?$`) // RFC 8259, 6
)

// maxDigits bounds the length of numbers for exact arithmetic.
const maxDigits = 40

// IsDecimal reports whether s is digits with at most one point between them, and
// short enough for exact arithmetic.
func IsDecimal(s string) bool { return len(s) <= maxDigits && decimalForm.MatchString(s) }

// IsNumber reports whether s is a number of JSON, short enough to compare exactly.
func IsNumber(s string) bool {
	parts := numberForm.FindStringSubmatch(s)
	return parts != nil && len(parts[1]) <= maxDigits
}

func isDigits(s string) bool { return digitsForm.MatchString(s) }

// maxCount bounds counts, such as of connections and requests.
const maxCount = math.MaxInt32
