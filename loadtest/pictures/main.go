// Pictures draws the pictures of the documentation that are made of figures: of the comparison
// with other proxies in docs/PERFORMANCE.md, light and dark. It writes them into docs/images.
package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"yatagarasu/loadtest/process"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := process.ModuleRoot()
	if err != nil {
		return err
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "PERFORMANCE.md"))
	if err != nil {
		return err
	}
	for scheme := range colours {
		svg, err := draw(string(page), scheme)
		if err != nil {
			return fmt.Errorf("docs/PERFORMANCE.md: %w", err)
		}
		if err := os.WriteFile(filepath.Join(root, picture(scheme)), svg, 0o644); err != nil {
			return err
		}
		fmt.Println(picture(scheme))
	}
	return nil
}

func picture(scheme string) string { return "docs/images/compare-" + scheme + ".svg" }

// colours are the status page's.
var colours = map[string]map[string]string{
	"light": {"text": "#1b2430", "muted": "#596474", "line": "#e2e5ea", "nginx": "#14733f", "HAProxy": "#2b62b4", "Varnish": "#b3261e"},
	"dark":  {"text": "#e4e8ee", "muted": "#98a3b2", "line": "#272e38", "nginx": "#5fc58c", "HAProxy": "#76a9f5", "Varnish": "#ff8a80"},
}

// ratio is a line of the table: the gateway's CPU time over that of another proxy.
type ratio struct {
	against            string
	value, least, most float64
}

// work is what was asked for, and how the gateway compares at it.
type work struct {
	name   string
	ratios []ratio
}

// read returns the comparisons of a page with other proxies, in its order.
func read(page string) (all []work, err error) {
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 10 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		r := ratio{against: cells[2]}
		if _, ok := colours["light"][r.against]; !ok {
			continue // the head, the rule, or a contender that is no proxy
		}
		least, most, _ := strings.Cut(cells[4], "-")
		for text, to := range map[string]*float64{cells[3]: &r.value, least: &r.least, most: &r.most} {
			if *to, err = strconv.ParseFloat(text, 64); err != nil || *to <= 0 {
				return nil, fmt.Errorf("%q is no ratio, in %s", text, line)
			}
		}
		if len(all) == 0 || all[len(all)-1].name != cells[0] {
			all = append(all, work{name: cells[0]})
		}
		last := &all[len(all)-1]
		last.ratios = append(last.ratios, r)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no table of ratios")
	}
	return all, nil
}

//go:embed compare.svg.tmpl
var compareText string

var compareTemplate = template.Must(template.New("compare").Parse(compareText))

// Measures of the picture, in pixels.
const (
	width, left, right = 760, 220, 24
	top, rowHeight     = 62, 26
)

// draw draws the comparison that a page has.
func draw(page, scheme string) ([]byte, error) {
	works, err := read(page)
	if err != nil {
		return nil, err
	}
	most := 1.5
	for _, w := range works {
		for _, r := range w.ratios {
			most = max(most, r.most)
		}
	}
	x := func(v float64) string {
		return strconv.FormatFloat(left+v/most*(width-left-right), 'f', 1, 64)
	}
	type mark struct {
		Colour, Shape, X, Y, Least, Most string
	}
	type row struct {
		Name  string
		Text  int
		Marks []mark
	}
	type tick struct{ X, Label string }
	var rows []row
	var said strings.Builder
	y := float64(top)
	for _, w := range works {
		r := row{Name: w.name, Text: int(y) + rowHeight/2 + 4}
		for i, one := range w.ratios {
			at := y + rowHeight*(float64(i)+1)/(float64(len(w.ratios))+1)
			r.Marks = append(r.Marks, mark{colours[scheme][one.against], one.against, x(one.value), strconv.FormatFloat(at, 'f', 1, 64), x(one.least), x(one.most)})
			fmt.Fprintf(&said, "; %s against %s %.2f", w.name, one.against, one.value)
		}
		rows = append(rows, r)
		y += rowHeight
	}
	var ticks []tick
	for v := 0.0; v <= most; v += 0.25 {
		ticks = append(ticks, tick{x(v), strconv.FormatFloat(v, 'f', -1, 64)})
	}
	var b bytes.Buffer
	err = compareTemplate.Execute(&b, map[string]any{
		"Width": width, "Height": y + 30, "Left": left, "Right": width - right, "Top": top, "Bottom": y, "Labels": y + 18,
		"One": x(1), "C": colours[scheme], "Rows": rows, "Ticks": ticks, "Said": said.String(),
	})
	return b.Bytes(), err
}
