// Man makes the manual page from the program's own help: it runs the program that its argument
// names, and writes mdoc, which man-db, mandoc and groff read.
//
//	go run ./deploy/man -date 2026-01-02 bin/yatagarasu > yatagarasu.8
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	date := flag.String("date", time.Now().Format(time.DateOnly), "the page's `date`: that of the commit, so that the same commit gives the same page")
	flag.Parse()
	if err := write(os.Stdout, flag.Arg(0), *date); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

// write writes the page of program.
func write(w io.Writer, program, date string) error {
	day, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return fmt.Errorf("cannot read -date: %w", err)
	}
	var page bytes.Buffer
	fmt.Fprintf(&page, head, day.Format("January 2, 2006"))
	for _, section := range []struct {
		title string
		args  []string
	}{{"DESCRIPTION", []string{"-help"}}, {"THE TOKEN COMMAND", []string{"token", "-help"}}} {
		help, err := exec.Command(program, section.args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("cannot ask %s for its help: %w", program, err)
		}
		page.WriteString(".Sh " + section.title + "\n")
		if err := writeHelp(&page, string(help)); err != nil {
			return err
		}
	}
	page.WriteString(foot)
	_, err = w.Write(page.Bytes())
	return err
}

// writeHelp writes a help text: prose with indented examples, then titled lists of flags.
func writeHelp(w io.Writer, help string) error {
	prose, flags, ok := strings.Cut(help, ":\n  -")
	if !ok {
		return errors.New("the help has no flags")
	}
	cut := strings.LastIndex(prose, "\n") + 1
	for i, paragraph := range strings.Split(strings.TrimSpace(prose[:cut]), "\n\n") {
		if i > 0 {
			fmt.Fprintln(w, ".Pp")
		}
		if strings.HasPrefix(paragraph, " ") {
			fmt.Fprintf(w, ".Bd -literal -compact\n%s\n.Ed\n", text(paragraph))
		} else {
			fmt.Fprintln(w, text(paragraph))
		}
	}
	for _, group := range strings.Split(prose[cut:]+":\n  -"+flags, "\n\n") {
		title, list, _ := strings.Cut(strings.TrimSpace(group), ":\n")
		fmt.Fprintf(w, ".Ss %s\n.Bl -tag -width Ds\n", title)
		for line := range strings.Lines(list) {
			if name, ok := strings.CutPrefix(line, "  -"); ok {
				name, rest, _ := strings.Cut(strings.TrimSpace(name), " ")
				kind, value, _ := strings.Cut(rest, "(")
				item := ".It Fl " + name
				if kind != "" {
					item += " Ar " + strings.TrimSpace(kind)
				}
				if value != "" {
					item += ` Pq ` + strings.TrimSuffix(value, ")")
				}
				fmt.Fprintln(w, item)
			} else {
				fmt.Fprintln(w, text(strings.TrimSpace(line)))
			}
		}
		fmt.Fprintln(w, ".El")
	}
	return nil
}

// text returns s so that roff prints it as it is. A sentence ends with its line: where a full
// stop is followed by a word, mdoc wants a new one.
func text(s string) string {
	s = strings.ReplaceAll(s, `\`, `\e`)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		if !strings.HasPrefix(line, " ") {
			line = strings.ReplaceAll(line, ". ", ".\n")
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

const head = `.\" Made from the program's help. Do not edit.
.Dd %s
.Dt YATAGARASU 8
.Os
.Sh NAME
.Nm yatagarasu
.Nd read-only S3 gateway
.Sh SYNOPSIS
.Nm
.Fl config Ar file
.Op Ar flags
.Nm
.Cm token
.Fl config Ar file
.Op Ar flags
`

const foot = `.Sh FILES
.Bl -tag -width Ds
.It Pa /etc/yatagarasu/config.yaml
The configuration that the packages' service reads.
.It Pa /etc/yatagarasu/environment
Its variables, as lines of NAME=value.
.It Pa /usr/share/doc/yatagarasu/config.example.yaml
Every key of the configuration, with its default.
.El
.Sh EXIT STATUS
0 if the gateway stopped or handed over without cutting a request,
or if what was asked for holds;
1 if not, or if it could not start;
2 if the flags are wrong.
`
