package file

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Text returns the string of n. It is not ok for nil and an empty string.
func (d *Decoder) Text(n *Node) (text string, fromEnv, ok bool) {
	if n == nil {
		return "", false, false
	}
	if n.Kind != String {
		d.Fail(n, "must be a string, not "+n.Kind.String(), "put it in quotes")
		return "", false, false
	}
	text, fromEnv, ok = d.resolve(n)
	if ok && text == "" {
		problem, fix := "is empty", "give it a value, or remove the key"
		if fromEnv {
			problem, fix = "is empty after substitution of its variables", "set "+variables(n.Text)+" to a value"
		}
		d.Fail(n, problem, fix)
		return "", fromEnv, false
	}
	return text, fromEnv, ok
}

// variables names the variables of a value.
func variables(s string) string {
	var names []string
	splitReferences(s, func(string) {}, func(inner string) (string, string) {
		if r, ok := parseReference(inner); ok {
			names = append(names, r.name)
		}
		return "", ""
	})
	return strings.Join(names, ", ")
}

// Typed returns the problem of a value of a wrong type; empty if the type is right.
type Typed func(n *Node, text string, fromEnv bool) (problem string)

// Scalar is the type of values of kind want, and of strings that came from a variable,
// whose type the environment cannot express.
func Scalar(want Kind) Typed {
	return func(n *Node, _ string, fromEnv bool) string {
		if n.Kind == want || n.Kind == String && fromEnv {
			return ""
		}
		return "must be " + want.String() + ", not " + n.Kind.String()
	}
}

// measure is the type of numbers with or without unit. A quoted bare number is refused
// like any other quoted number.
func measure(what string) Typed {
	return func(n *Node, text string, fromEnv bool) string {
		switch {
		case n.Kind == String && !fromEnv && IsDecimal(text):
			return "is a number in quotes"
		case n.Kind != String && n.Kind != Number:
			return "must be " + what + ", not " + n.Kind.String()
		}
		return ""
	}
}

// Parsed returns the text of key as parse reads it, or otherwise, where key is absent or
// wrong. fix goes with every problem.
func Parsed[T any](o Object, key string, otherwise T, is Typed, fix string, parse func(text string) (T, error)) T {
	n := o.Get(key)
	if n == nil {
		return otherwise
	}
	text, fromEnv, ok := o.d.resolve(n)
	if !ok {
		return otherwise
	}
	if problem := is(n, text, fromEnv); problem != "" {
		o.d.Fail(n, problem, fix)
		return otherwise
	}
	v, err := parse(text)
	if err != nil {
		o.d.Fail(n, err.Error(), fix)
		return otherwise
	}
	return v
}

// Text returns the string of key, or otherwise, where key is absent or wrong.
func (o Object) Text(key, otherwise string) string {
	if text, _, ok := o.d.Text(o.Get(key)); ok {
		return text
	}
	return otherwise
}

// Checked returns the text of key in the form that check gives it, or otherwise, where
// key is absent or wrong.
func (o Object) Checked(key, otherwise string, check Form) string {
	n := o.Get(key)
	text, _, ok := o.d.Text(n)
	if !ok {
		return otherwise
	}
	form, problem, fix := check(text)
	if problem != "" {
		o.d.Fail(n, problem, fix)
		return otherwise
	}
	return form
}

// MustBe returns a check that leaves a right text as it is and reports any other.
func MustBe(isRight func(text string) bool, problem, fix string) Form {
	return func(text string) (string, string, string) {
		if isRight(text) {
			return text, "", ""
		}
		return "", problem, fix
	}
}

// Secret returns the secret of key, the empty one where key is absent or wrong.
func (o Object) Secret(key string) Secret {
	return Secret{o.Checked(key, "", MustBe(func(text string) bool {
		return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) && strings.TrimSpace(text) == text
	}, "begins or ends with white space or contains a line break", "remove it, often a line break at the end of a file or variable"))}
}

// OneOf returns the text of key, which is one of options, or otherwise, where key is absent or
// wrong.
func (o Object) OneOf(key, otherwise string, options ...string) string {
	n := o.Get(key)
	text, fromEnv, ok := o.d.Text(n)
	if !ok {
		return otherwise
	}
	if !slices.Contains(options, text) {
		o.d.Fail(n, "unknown "+key+QuotedWord(text, fromEnv), "use one of: "+strings.Join(options, ", "))
		return otherwise
	}
	return text
}

// Boolean returns the value of key, or otherwise, where key is absent or wrong.
func (o Object) Boolean(key string, otherwise bool) bool {
	return Parsed(o, key, otherwise, Scalar(Bool), "write true or false, without quotes", func(text string) (bool, error) {
		if text != "true" && text != "false" {
			return false, errors.New("must be true or false")
		}
		return text == "true", nil
	})
}

// Integer returns the number of key, from least to most, or otherwise, where key is absent or
// wrong.
func (o Object) Integer(key string, otherwise, least, most int) int {
	fix := fmt.Sprintf("write a whole number from %d to %d", least, most)
	return Parsed(o, key, otherwise, Scalar(Number), fix, func(text string) (int, error) {
		digits := strings.TrimPrefix(text, "-")
		if !isDigits(digits) || len(digits) > 1 && digits[0] == '0' {
			return 0, errors.New("is no whole number in decimal notation")
		}
		v, err := strconv.Atoi(text)
		if err != nil || v < least || v > most {
			return 0, errors.New("is out of range")
		}
		return v, nil
	})
}

// Percent is a share in percent, from 0 to 100.
type Percent int

// String returns p as the file has it.
func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

func (o Object) percent(key string, otherwise, least Percent) Percent {
	fix := "write a whole number of percent from " + least.String() + " to 100%"
	if n := o.Get(key); n != nil && n.Kind == Number {
		o.d.Fail(n, "has no unit", fix)
		return otherwise
	}
	v := otherwise
	o.Checked(key, "", MustBe(func(text string) bool {
		digits, ok := strings.CutSuffix(text, "%")
		n, err := strconv.Atoi(digits)
		if ok = ok && err == nil && isDigits(digits) && n >= int(least) && n <= 100; ok {
			v = Percent(n)
		}
		return ok
	}, "is no percentage", fix))
	return v
}

// Duration returns the duration of key, at least least, or otherwise, where key is absent or
// wrong.
func (o Object) Duration(key string, otherwise, least time.Duration) time.Duration {
	const fix = "write seconds as a number, such as 30, or units, such as 1h30m or 250ms"
	short := false
	v := Parsed(o, key, otherwise, measure("a duration"), fix, func(text string) (time.Duration, error) {
		v, err := ParseDuration(text)
		short = err == nil && v < least
		return v, err
	})
	if short {
		o.d.Fail(o.Get(key), "is too short", "write at least "+least.String())
		return otherwise
	}
	return v
}

// share returns a number from 0 to 1.
func (o Object) share(key string, otherwise float64) float64 {
	return Parsed(o, key, otherwise, Scalar(Number), "write a number from 0 to 1, such as 0.1", func(text string) (float64, error) {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !IsDecimal(text) || v > 1 {
			return 0, errors.New("is no number from 0 to 1 in decimal notation")
		}
		return v, nil
	})
}

func (o Object) size(key string, otherwise Size) Size {
	const fix = "write bytes as a number, such as 65536, or units, such as 64KiB, 10MB or 1GB"
	return Parsed(o, key, otherwise, measure("a size"), fix, func(text string) (Size, error) {
		v, err := ParseSize(text)
		if err == nil && v == 0 {
			err = errSizeZero
		}
		return v, err
	})
}

// wordForm matches what looks like a word.
var wordForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,16}$`)

// QuotedWord returns " \"text\"" for a value that may be shown, else "".
func QuotedWord(text string, fromEnv bool) string {
	if fromEnv || !wordForm.MatchString(text) {
		return ""
	}
	return " " + strconv.Quote(text)
}
