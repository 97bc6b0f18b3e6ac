package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"yatagarasu/loadtest/chart"
)

var columns = []string{"script", "requests", "per second", "failed", "dropped", "p50", "p95", "p99", "max", "CPU", "CPU per request", "peak memory", "hits", "thresholds"}

// cells are the columns of a result.
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
		r.Script, fmt.Sprint(r.Requests), fmt.Sprintf("%.0f", r.Rate), fmt.Sprint(r.Failed), fmt.Sprint(r.Dropped),
		ms(r.P50), ms(r.P95), ms(r.P99), ms(r.Max), fmt.Sprintf("%.0f %%", 100*r.CPU), fmt.Sprintf("%.0f µs", r.CPUPerRequest),
		fmt.Sprintf("%.0f MB", float64(r.PeakRSS)/mb), hits, fmt.Sprintf("%d of %d held", held, len(r.Thresholds)),
	}
}

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
	Cells []string
	Plots []template.HTML
}

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
		s := shown{result: r, Cells: r.cells()}
		if s.Plots, err = r.plots(); err != nil {
			return err
		}
		all = append(all, s)
	}
	t, err := template.New("report").Parse(page)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, map[string]any{"Columns": columns, "Results": all}); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "index.html"), b.Bytes(), 0o644)
}

// plots draws a result over time.
func (r *result) plots() ([]template.HTML, error) {
	of := func(name string, f func(second) float64) chart.Series {
		s := chart.Series{Name: name}
		for _, v := range r.Series {
			if r.Seconds-float64(v.At) < 0.9 {
				continue // the last one, of which only a part was measured
			}
			s.X, s.Y = append(s.X, float64(v.At)), append(s.Y, f(v))
		}
		return s
	}
	// Each value of the process is of two samples, for what is counted.
	process := func(name string, f func(now, before sample) (float64, bool)) chart.Series {
		s := chart.Series{Name: name}
		for i := 1; i < len(r.Samples); i++ {
			if y, ok := f(r.Samples[i], r.Samples[i-1]); ok {
				s.X, s.Y = append(s.X, r.Samples[i].At), append(s.Y, y)
			}
		}
		return s
	}
	var all []template.HTML
	for _, p := range []struct {
		title, unit string
		series      []chart.Series
	}{
		{"latency", "ms", []chart.Series{
			of("p50", func(v second) float64 { return v.P50 }),
			of("p95", func(v second) float64 { return v.P95 }),
			of("p99", func(v second) float64 { return v.P99 }),
		}},
		{"throughput", "a second", []chart.Series{
			of("requests", func(v second) float64 { return float64(v.Requests) }),
			of("failed", func(v second) float64 { return float64(v.Failed) }),
			of("dropped iterations", func(v second) float64 { return float64(v.Dropped) }),
		}},
		{"CPU time of the gateway", "% of a core", []chart.Series{
			process("user and system", func(now, before sample) (float64, bool) {
				return 100 * (now.CPU - before.CPU) / (now.At - before.At), true
			}),
		}},
		{"resident memory of the gateway", "MB", []chart.Series{
			process("RSS", func(now, _ sample) (float64, bool) { return float64(now.RSS) / mb, true }),
		}},
		{"hits", "% of answers through the cache", []chart.Series{
			process("hit ratio", func(now, before sample) (float64, bool) {
				n := now.Answers - before.Answers
				return 100 * (now.Hits - before.Hits) / max(n, 1), n > 0
			}),
		}},
		{"descriptors, connections and goroutines of the gateway", "number", []chart.Series{
			process("descriptors", func(now, _ sample) (float64, bool) { return float64(now.Descriptors), true }),
			process("connections of clients", func(now, _ sample) (float64, bool) { return float64(now.Connections), true }),
			process("goroutines", func(now, _ sample) (float64, bool) { return float64(now.Goroutines), true }),
		}},
	} {
		if len(p.series[0].X) == 0 {
			continue // nothing of the kind was seen
		}
		svg, err := chart.Lines(p.title, p.unit, p.series...)
		if err != nil {
			return nil, err
		}
		all = append(all, template.HTML(svg)) // drawn here, from figures and names of this program
	}
	return all, nil
}
