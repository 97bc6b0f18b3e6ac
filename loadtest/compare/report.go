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

	"yatagarasu/loadtest/chart"
)

// report is the outcome of a run. As JSON it is the raw data.
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

// figures are the medians of a contender's rounds.
type figures struct{ CPU, Rate, P50, P99 string }

func (w *work) figures(samples []sample) figures {
	f := figures{
		CPU:  w.show(median(samples, w.figure)),
		Rate: fmt.Sprintf("%.0f/s", median(samples, sample.perSecond)),
		P50:  milliseconds(median(samples, func(s sample) float64 { return s.P50.Seconds() })),
		P99:  milliseconds(median(samples, func(s sample) float64 { return s.P99.Seconds() })),
	}
	if w.perByte {
		f.Rate = fmt.Sprintf("%.2f GB/s", median(samples, func(s sample) float64 { return float64(s.Bytes) / s.Wall.Seconds() / 1e9 }))
	}
	return f
}

// milliseconds formats a latency: "-" for 0, which wrk reports of a round without a
// complete answer.
func milliseconds(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", seconds*1e3)
}

// line is a ratio as the tables show it.
type line struct {
	Work, Subject, Against string
	Ratio, Range, Target   string
	Verdict, Tone          string
	Ours, Theirs           figures
}

func (rep *report) line(w *work, r *result, t ratio) line {
	l := line{
		Work: w.name, Subject: t.Subject, Against: t.Against,
		Ratio: fmt.Sprintf("%.2f", t.CPU.Median), Range: fmt.Sprintf("%.2f-%.2f", t.CPU.Least, t.CPU.Most), Target: "-",
		Ours: w.figures(r.Samples[t.Subject]), Theirs: w.figures(r.Samples[t.Against]),
	}
	l.Verdict, l.Tone = t.verdict()
	if t.Gate > 0 {
		l.Target = fmt.Sprintf("%.2f / %.2f", t.Gate, t.Goal)
	}
	return l
}

// cells returns the columns of a ratio.
func (l line) cells() []string {
	verdict := l.Verdict
	if l.Tone == "bad" {
		verdict = "**" + verdict + "**"
	}
	return []string{
		l.Work, l.Subject, l.Against, l.Ratio, l.Range, l.Target, verdict,
		l.Ours.CPU + ", " + l.Theirs.CPU, l.Ours.Rate + ", " + l.Theirs.Rate,
		l.Ours.P50 + " / " + l.Ours.P99 + " ms, " + l.Theirs.P50 + " / " + l.Theirs.P99 + " ms",
	}
}

var columns = []string{"work", "contender", "against", "ratio", "range", "gate / goal", "", "CPU", "throughput", "p50 / p99"}

// lines returns what the terminal shows of a row.
func (rep *report) lines(w *work, r *result) []string {
	var lines []string
	for _, t := range r.Ratios {
		c := rep.line(w, r, t).cells()
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
			row(rep.line(rep.works[r.Work], r, t).cells())
		}
	}
	if len(rep.Scale) == 0 {
		return b.String()
	}
	b.WriteByte('\n')
	row([]string{"scale", "figure", "bound", "", ""})
	rule(5)
	for _, s := range rep.Scale {
		verdict := s.Verdict()
		if !s.Met() {
			verdict = "**" + verdict + "**"
		}
		row([]string{s.What, s.Shown(), s.Limit(), verdict, s.Note})
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
	text, err := rep.html()
	if err != nil {
		return err
	}
	html, data := filepath.Join(dir, "compare.html"), filepath.Join(dir, "compare.json")
	if err := errors.Join(os.WriteFile(html, text, 0o644), os.WriteFile(data, raw, 0o644)); err != nil {
		return err
	}
	fmt.Printf("report: %s\nraw data: %s\n", html, data)
	return nil
}

// html returns the page.
func (rep *report) html() ([]byte, error) {
	var ratios []chart.Ratio
	var lines []line
	for _, r := range rep.Results {
		for _, t := range r.Ratios {
			l := rep.line(rep.works[r.Work], r, t)
			lines = append(lines, l)
			ratios = append(ratios, chart.Ratio{Group: r.Work, Name: t.Subject, Against: t.Against, Value: t.CPU.Median, Least: t.CPU.Least, Most: t.CPU.Most,
				Gate: t.Gate, Goal: t.Goal, Verdict: l.Verdict, Tone: l.Tone})
		}
	}
	bars, err := chart.Ratios("ratio of CPU times", ratios)
	if err != nil {
		return nil, err
	}
	t, err := template.New("report").Parse(page)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{"Style": chart.Style(), "Logo": chart.Logo, "Report": rep, "Lines": lines, "Bars": bars})
	return b.Bytes(), err
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
