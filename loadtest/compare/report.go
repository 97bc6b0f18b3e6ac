package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"
	"time"

	"yatagarasu/loadtest/chart"
)

// report is everything that a run gave; it is also the raw data, as JSON.
type report struct {
	Machine         machine
	Rounds, Seconds int
	Results         []*result
	Scale           []scaleFigure

	works map[string]*work
}

func (rep *report) add(w *work, r *result) {
	if rep.works == nil {
		rep.works = map[string]*work{}
	}
	rep.works[w.name] = w
	rep.Results = append(rep.Results, r)
}

// cells are the columns of a ratio.
func (rep *report) cells(w *work, r *result, t ratio) []string {
	target := "-"
	if t.Gate > 0 {
		target = fmt.Sprintf("%.2f / %.2f", t.Gate, t.Goal)
	}
	cpu := func(name string) string { return w.show(median(r.Samples[name], w.figure)) }
	rate := func(name string) string {
		if w.perByte {
			return fmt.Sprintf("%.2f GB/s", median(r.Samples[name], func(s sample) float64 { return float64(s.Bytes) / s.Wall.Seconds() / 1e9 }))
		}
		return fmt.Sprintf("%.0f/s", median(r.Samples[name], sample.perSecond))
	}
	latency := func(name string) string {
		at := func(f func(sample) time.Duration) string {
			d := time.Duration(median(r.Samples[name], func(s sample) float64 { return float64(f(s)) }))
			return fmt.Sprintf("%.2f", d.Seconds()*1e3)
		}
		return at(func(s sample) time.Duration { return s.P50 }) + " / " + at(func(s sample) time.Duration { return s.P99 }) + " ms"
	}
	return []string{
		w.name, t.Subject, t.Against, fmt.Sprintf("%.2f", t.CPU.Median), fmt.Sprintf("%.2f-%.2f", t.CPU.Least, t.CPU.Most), target, t.verdict(),
		cpu(t.Subject) + ", " + cpu(t.Against), rate(t.Subject) + ", " + rate(t.Against), latency(t.Subject) + ", " + latency(t.Against),
	}
}

var columns = []string{"work", "contender", "against", "ratio", "range", "gate / goal", "", "CPU", "throughput", "p50 / p99"}

// lines are what the terminal shows of a row.
func (rep *report) lines(w *work, r *result) []string {
	var lines []string
	for _, t := range r.Ratios {
		c := rep.cells(w, r, t)
		lines = append(lines, fmt.Sprintf("%s / %s: %s (%s), gate and goal %s %s; CPU %s; %s; %s", c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9]))
	}
	return lines
}

// markdown returns the tables as docs/PERFORMANCE.md shows them.
func (rep *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores (%s), %s, commit %s. %s. %d rounds of %d s.\n\n", rep.Machine.Date, rep.Machine.Cores, rep.Machine.CPU, rep.Machine.Kernel, rep.Machine.Commit, strings.Join(rep.Machine.Versions, "; "), rep.Rounds, rep.Seconds)
	row := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	rule := func(n int) { b.WriteString(strings.Repeat("|---", n) + "|\n") }
	row(columns)
	rule(len(columns))
	for _, r := range rep.Results {
		for _, t := range r.Ratios {
			row(rep.cells(rep.works[r.Work], r, t))
		}
	}
	if len(rep.Scale) == 0 {
		return b.String()
	}
	b.WriteByte('\n')
	row([]string{"scale", "figure", "bound", "", ""})
	rule(5)
	for _, s := range rep.Scale {
		sign, verdict := "<= ", "met"
		if s.Least {
			sign = ">= "
		}
		if !s.met() {
			verdict = "**missed**"
		}
		row([]string{s.What, s.show(s.Figure), sign + s.show(s.Bound), verdict, s.Note})
	}
	return b.String()
}

//go:embed report.html
var page string

// write writes the raw data and the page into dir.
func (rep *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(rep, "", "\t")
	if err != nil {
		return err
	}
	var bars []chart.Bar
	var rows [][]string
	for _, r := range rep.Results {
		for _, t := range r.Ratios {
			bars = append(bars, chart.Bar{Name: r.Work + ": " + t.Subject + " / " + t.Against, Value: t.CPU.Median, Gate: t.Gate, Goal: t.Goal})
			cells := rep.cells(rep.works[r.Work], r, t)
			cells[6] = strings.Trim(cells[6], "*")
			rows = append(rows, cells)
		}
	}
	var plots []template.HTML
	if len(bars) > 0 {
		svg, err := chart.Bars("CPU time over the other's; shorter is better", "ratio", bars)
		if err != nil {
			return err
		}
		plots = append(plots, template.HTML(svg)) // drawn here, from figures and names of this program
	}
	t, err := template.New("report").Parse(page)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, map[string]any{"Report": rep, "Columns": columns, "Rows": rows, "Plots": plots}); err != nil {
		return err
	}
	html, data := filepath.Join(dir, "compare.html"), filepath.Join(dir, "compare.json")
	if err := errors.Join(os.WriteFile(html, b.Bytes(), 0o644), os.WriteFile(data, raw, 0o644)); err != nil {
		return err
	}
	fmt.Printf("report: %s\nraw data: %s\n", html, data)
	return nil
}

// The lines between which the tables stand.
const (
	tablesBegin = "<!-- make compare UPDATE=1 writes what follows -->"
	tablesEnd   = "<!-- end of what make compare writes -->"
)

// update puts the tables into a document.
func (rep *report) update(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := replaceTables(string(b), rep.markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func replaceTables(text, tables string) (string, error) {
	head, rest, found := strings.Cut(text, tablesBegin)
	_, tail, closed := strings.Cut(rest, tablesEnd)
	if !found || !closed {
		return "", fmt.Errorf("the lines %q and %q are not there", tablesBegin, tablesEnd)
	}
	return head + tablesBegin + "\n\n" + tables + "\n" + tablesEnd + tail, nil
}
