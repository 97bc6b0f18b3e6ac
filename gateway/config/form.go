package config

import (
	"regexp"
	"strings"
)

// The forms of texts. In all of them letters are those of ASCII.
var (
	nameForm      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	variableForm  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	digitsForm    = regexp.MustCompile(`^[0-9]+$`)
	decimalForm   = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	numberForm    = regexp.MustCompile(`^-?((0|[1-9][0-9]*)(\.[0-9]+)?)([eE][+-]?[0-9]{1,3})?$`) // RFC 8259, 6
	segmentForm   = regexp.MustCompile(`^path\.(0|[1-9][0-9]{0,2})$`)
	hostForm      = regexp.MustCompile(`^` + labelForm + `(\.` + labelForm + `)*$`)
	extensionForm = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,16}$`)
	wordForm      = regexp.MustCompile(`^[A-Za-z0-9_-]{1,16}$`)
	namespaceForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	primaryForm   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)                 // the letters that sentinels take
	keyForm       = regexp.MustCompile(`^(s3|failover_on_404|[A-Za-z_-]{1,31})$`) // 31: requests_per_second_per_address
)

// labelForm is a label of a DNS name (RFC 1123, 2.1), underscores allowed.
const labelForm = `[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?`

// maxDigits bounds the length of numbers for exact arithmetic.
const maxDigits = 40

// isName reports whether s is letters, digits, '.', '_' and '-', a letter or
// digit first.
func isName(s string, most int) bool { return len(s) <= most && nameForm.MatchString(s) }

// isHostName reports whether s is a DNS name. All digits and dots is a mistyped address.
func isHostName(s string) bool {
	return len(s) <= 253 && hostForm.MatchString(s) && strings.Trim(s, "0123456789.") != ""
}

// isDecimal reports whether s is digits with at most one point between them, and
// short enough for exact arithmetic.
func isDecimal(s string) bool { return len(s) <= maxDigits && decimalForm.MatchString(s) }

// isNumber reports whether s is a number of JSON, short enough to compare exactly.
func isNumber(s string) bool {
	parts := numberForm.FindStringSubmatch(s)
	return parts != nil && len(parts[1]) <= maxDigits
}

func isDigits(s string) bool { return digitsForm.MatchString(s) }

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// isToken reports whether s is a token of HTTP (RFC 9110, 5.6.2).
func isToken(s string) bool {
	return s != "" && isVisible(s) && !strings.ContainsAny(s, "\"(),/:;<=>?@[\\]{}")
}

// isVisible reports whether s is visible ASCII without spaces.
func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
