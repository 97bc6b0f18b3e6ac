// Package flags adds to the standard library's flag sets what both commands need: flags of
// bytes, and help in groups.
package flags

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"yatagarasu/gateway/config/file"
)

// Group is a titled part of the flag help.
type Group struct {
	Title string
	Names []string
}

// Parse parses args. If they ask for help, it writes usage and the flags of groups; if they are
// wrong, it writes why. Both go to the output of fs, and end the command: ok is false and code
// its exit code.
func Parse(fs *flag.FlagSet, args []string, usage string, groups []Group) (code int, ok bool) {
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), usage)
		Print(fs.Output(), fs, groups)
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0, false
	case err != nil:
		return 2, false
	}
	return 0, true
}

// Print writes the help of the flags of groups to w.
func Print(w io.Writer, fs *flag.FlagSet, groups []Group) {
	for _, g := range groups {
		fmt.Fprintf(w, "\n%s:\n", g.Title)
		for _, n := range g.Names {
			f := fs.Lookup(n)
			kind, usage := flag.UnquoteUsage(f)
			fmt.Fprintf(w, "  -%s", n)
			if kind != "" {
				fmt.Fprintf(w, " %s", kind)
			}
			if f.DefValue != "" && f.DefValue != "false" {
				fmt.Fprintf(w, " (default %s)", f.DefValue)
			}
			fmt.Fprintf(w, "\n%s\n", wrap(usage, "        ", 80))
		}
	}
}

// wrap breaks text into indented lines of at most width columns.
func wrap(text, indent string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+len(word) > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

// Size registers a flag that sets p to a number of bytes, written like 64KiB. The default is
// the value of p; an int takes at most 2GiB.
func Size[T int | int64](fs *flag.FlagSet, p *T, name, usage string) {
	fs.Func(name, usage, func(s string) error {
		size, err := file.ParseSize(s)
		if _, small := any(p).(*int); err == nil && small && size > math.MaxInt32 {
			err = errors.New("larger than 2GiB")
		}
		if err == nil {
			*p = T(size)
		}
		return err
	})
	fs.Lookup(name).DefValue = formatSize(int64(*p))
}

func formatSize(n int64) string {
	if n > 0 && n%(1<<20) == 0 {
		return strconv.FormatInt(n>>20, 10) + "MiB"
	}
	if n > 0 && n%(1<<10) == 0 {
		return strconv.FormatInt(n>>10, 10) + "KiB"
	}
	return strconv.FormatInt(n, 10)
}
