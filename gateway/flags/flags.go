// Package flags has flags of bytes, and prints the help of flags in groups.
package flags

import (
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"yatagarasu/gateway/config"
)

// Group is a titled part of the flag help.
type Group struct {
	Title string
	Names []string
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

// wrap breaks text into lines of at most width columns, each indented.
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

// sizeValue is a flag of bytes with an optional unit.
type sizeValue struct{ set func(int64) error }

func (v sizeValue) String() string { return "" }
func (v sizeValue) Set(s string) error {
	size, err := config.ParseSize(s)
	if err != nil {
		return err
	}
	return v.set(int64(size))
}

func Size(fs *flag.FlagSet, p *int, name, usage string) {
	fs.Var(sizeValue{func(n int64) error {
		if n > math.MaxInt32 {
			return fmt.Errorf("larger than 2GiB")
		}
		*p = int(n)
		return nil
	}}, name, usage)
	fs.Lookup(name).DefValue = formatSize(int64(*p))
}

func Size64(fs *flag.FlagSet, p *int64, name, usage string) {
	fs.Var(sizeValue{func(n int64) error { *p = n; return nil }}, name, usage)
	fs.Lookup(name).DefValue = formatSize(*p)
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
