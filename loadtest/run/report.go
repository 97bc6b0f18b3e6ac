package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"path/filepath"
	"text/tabwriter"

	"yatagarasu/loadtest/chart"
)

var columns = []string{"script", "requests", "per second", "failed", "dropped", "p50", "p95", "p99", "max", "CPU", "CPU per request", "peak memory", "hits", "thresholds"}

// cells returns the columns of a result.
func (r *result) cells() []string {
	ms := func(v float64) string { return fmt.Sprintf("%.1f ms", v) }
	hits := "-"
	if r.HitRatio >= 0 {
		hits = fmt.Sprintf("%.1f %%", r.HitRatio)
	}
	held := 0
	for _, t := range r.Thresholds {
		if t.Held {
			held++
		}
	}
	return []string{
		r.Script, count(r.Requests), count(int(math.Round(r.Rate))), count(r.Failed), count(r.Dropped),
		ms(r.P50), ms(r.P95), ms(r.P99), ms(r.Max), fmt.Sprintf("%.0f %%", 100*r.CPU), fmt.Sprintf("%.0f µs", r.CPUPerRequest),
		fmt.Sprintf("%.0f MB", float64(r.PeakRSS)/mb), hits, fmt.Sprintf("%d of %d held", held, len(r.Thresholds)),
	}
}

// count formats a number of things, with commas.
func count(n int) string { return chart.Figure(float64(n)) }

// printTable prints the results, and notes below.
func printTable(w io.Writer, results []*result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cells []string) {
		for _, c := range cells {
			fmt.Fprint(t, c, "\t")
		}
		fmt.Fprintln(t)
	}
	line(columns)
	for _, r := range results {
		line(r.cells())
	}
	t.Flush()
	for _, r := range results {
		for _, note := range r.Notes {
			fmt.Fprintf(w, "%s: %s\n", r.Script, note)
		}
	}
}

//go:embed report.html
var page string

// shown is a result as the page shows it.
type shown struct {
	*result
	Cells []cell
	Plots template.HTML
}

// cell is a field of the page's first table.
type cell struct{ Column, Text string }

// writePage writes the page of all raw data in folder.
func writePage(folder string) error {
	var all []shown
	for _, script := range scripts {
		r, err := load(folder, script)
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		s := shown{result: r}
		for i, text := range r.cells() {
			s.Cells = append(s.Cells, cell{columns[i], text})
		}
		if s.Plots, err = chart.Lines("since the first request", r.plots()...); err != nil {
			return err
		}
		all = append(all, s)
	}
	t, err := template.New("report").Funcs(template.FuncMap{"count": count}).Parse(page)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, map[string]any{"Style": chart.Style(), "Logo": chart.Logo, "Columns": columns, "Results": all}); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "index.html"), b.Bytes(), 0o644)
}

// plots returns the plots of a result over time, without those that have no data.
func (r *result) plots() (seen []chart.Plot) {
	of := func(name string, f func(second) float64) chart.Series {
		s := chart.Series{Name: name}
		for _, v := range r.Series {
			if r.Seconds-float64(v.At) < 0.9 {
				continue // only a part of the last second was measured
			}
			s.X, s.Y = append(s.X, float64(v.At)), append(s.Y, f(v))
		}
		return s
	}
	// f has two samples in a row: of a counter the difference is shown.
	process := func(name string, f func(now, before sample) (float64, bool)) chart.Series {
		s := chart.Series{Name: name}
		for i := 1; i < len(r.Samples); i++ {
			if y, ok := f(r.Samples[i], r.Samples[i-1]); ok {
				s.X, s.Y = append(s.X, r.Samples[i].At), append(s.Y, y)
			}
		}
		return s
	}
	for _, p := range []chart.Plot{
		{Title: "Latency", Unit: "ms", Series: []chart.Series{
			of("p50", func(v second) float64 { return v.P50 }),
			of("p95", func(v second) float64 { return v.P95 }),
			of("p99", func(v second) float64 { return v.P99 }),
		}},
		{Title: "Throughput", Unit: "a second", Series: []chart.Series{
			of("requests", func(v second) float64 { return float64(v.Requests) }),
			of("failed", func(v second) float64 { return float64(v.Failed) }),
			of("dropped iterations", func(v second) float64 { return float64(v.Dropped) }),
		}},
		{Title: "CPU time of the gateway", Unit: "% of a core", Series: []chart.Series{
			process("user and system", func(now, before sample) (float64, bool) {
				return 100 * (now.CPU - before.CPU) / (now.At - before.At), true
			}),
		}},
		{Title: "Resident memory of the gateway", Unit: "MB", Series: []chart.Series{
			process("RSS", func(now, _ sample) (float64, bool) { return float64(now.RSS) / mb, true }),
		}},
		{Title: "Hits", Unit: "% of answers through the cache", Series: []chart.Series{
			process("hit ratio", func(now, before sample) (float64, bool) {
				n := now.Answers - before.Answers
				return 100 * (now.Hits - before.Hits) / max(n, 1), n > 0
			}),
		}},
		{Title: "Held by the gateway", Unit: "number", Series: []chart.Series{
			process("descriptors", func(now, _ sample) (float64, bool) { return float64(now.Descriptors), true }),
			process("connections of clients", func(now, _ sample) (float64, bool) { return float64(now.Connections), true }),
			process("goroutines", func(now, _ sample) (float64, bool) { return float64(now.Goroutines), true }),
		}},
	} {
		if len(p.Series[0].X) > 0 { // else nothing of the kind was seen
			seen = append(seen, p)
		}
	}
	return seen
}
