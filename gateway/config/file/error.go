package file

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Error is one mistake in a configuration file. It never contains a value that
// may be secret or that came from the environment.
type Error struct {
	// File is the name given to Open or Read.
	File string

	// Line and Column are the place of the mistake, from 1, the column in characters.
	// Both are 0 for the file as a whole.
	Line, Column int

	// Path is the key, such as "buckets[2].auth"; empty for the file as a whole.
	Path string

	// Problem is the mistake, and Fix the remedy.
	Problem, Fix string
}

// Error returns "file:line:column: path: problem; fix" without the unknown parts.
func (e *Error) Error() string {
	s := e.File
	if e.Line > 0 {
		s += ":" + strconv.Itoa(e.Line) + ":" + strconv.Itoa(e.Column)
	}
	if e.Path != "" {
		s += ": " + e.Path
	}
	return s + ": " + e.Problem + "; " + e.Fix
}

// Errors are all mistakes of one file, sorted by position; never empty when
// returned.
type Errors []*Error

// Error returns one line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the mistakes for errors.As.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, one := range e {
		errs[i] = one
	}
	return errs
}

// sorted returns e in the order of the file, each once: a part with aliases is decoded
// several times.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(e, func(a, b *Error) bool { return *a == *b })
}
