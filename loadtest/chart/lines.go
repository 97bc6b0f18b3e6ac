package chart

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

// Series is a line of a plot.
type Series struct {
	Name string
	X, Y []float64 // of equal length; X in seconds, in order
}

// Plot is up to three lines in a unit. Its y axis starts at 0.
type Plot struct {
	Title, Unit string
	Series      []Series
}

//go:embed lines.html
var linesText string

var linesTemplate = template.Must(template.New("lines").Parse(linesText))

// Lines draws plots over the same seconds, each with a table of its figures. since says
// from when the seconds count.
func Lines(since string, plots ...Plot) (template.HTML, error) {
	type line struct {
		Name                      string
		Class                     int
		Path, Area                string
		Least, Median, Most, Last string
	}
	type drawn struct {
		Plot
		Lines  []line
		X, Y   []tick
		Grid   string
		Origin string // where 0 is, if the axis does not begin there
		Time   string
	}
	x, unit, second := timeAxis(plots)
	var all []drawn
	for _, p := range plots {
		if len(p.Series) > 3 {
			return "", fmt.Errorf("%s: %d lines in a plot, and signs for three", p.Title, len(p.Series))
		}
		most := 0.0
		for _, s := range p.Series {
			if len(s.X) != len(s.Y) || len(s.X) == 0 {
				return "", fmt.Errorf("%s, %s: %d times and %d figures", p.Title, s.Name, len(s.X), len(s.Y))
			}
			most = max(most, slices.Max(s.Y))
		}
		y := upTo(most, 5)
		d := drawn{Plot: p, X: x.ticks(second), Y: y.ticks(1), Time: unit + " " + since}
		for _, t := range d.Y[1:] {
			d.Grid += fmt.Sprintf("M0 %.2fH1000", 100-t.Percent)
		}
		for _, t := range d.X {
			d.Grid += fmt.Sprintf("M%.1f 0V100", 10*t.Percent)
		}
		slices.Reverse(d.Y) // from the top down
		if x.from < 0 {
			d.Origin = fmt.Sprintf("M%.1f 0V100", 10*x.at(0))
		}
		for i, s := range p.Series {
			l := line{Name: s.Name, Class: i, Path: path(s, x, y)}
			if len(p.Series) == 1 {
				l.Area = l.Path + fmt.Sprintf("L%.1f 100L%.1f 100Z", 10*x.at(s.X[len(s.X)-1]), 10*x.at(s.X[0]))
			}
			sorted := slices.Sorted(slices.Values(s.Y))
			n := len(sorted)
			l.Least, l.Most, l.Last = Figure(sorted[0]), Figure(sorted[n-1]), Figure(s.Y[n-1])
			l.Median = Figure((sorted[(n-1)/2] + sorted[n/2]) / 2)
			d.Lines = append(d.Lines, l)
		}
		all = append(all, d)
	}
	var b bytes.Buffer
	err := linesTemplate.Execute(&b, all)
	return template.HTML(b.String()), err
}

// timeAxis returns an axis for all plots, the unit of its labels and its seconds.
func timeAxis(plots []Plot) (x axis, unit string, second float64) {
	x.from, x.to = 0, 1
	for _, p := range plots {
		for _, s := range p.Series {
			if len(s.X) > 0 {
				x.from, x.to = min(x.from, s.X[0]), max(x.to, s.X[len(s.X)-1])
			}
		}
	}
	const minute, hour = 60, 3600
	span := x.to - x.from
	steps := []float64{1, 2, 5, 10, 20}
	unit, second = "seconds", 1
	switch {
	case span > 3*hour:
		unit, second = "hours", hour
		steps = []float64{hour, 2 * hour, 3 * hour, 4 * hour, 6 * hour, 12 * hour, 24 * hour}
	case span > 2*minute:
		unit, second = "minutes", minute
		steps = []float64{minute / 2, minute, 2 * minute, 5 * minute, 10 * minute, 15 * minute, 30 * minute}
	}
	for _, x.step = range steps {
		if span/x.step <= 8 {
			return x, unit, second
		}
	}
	x.step = steps[len(steps)-1] * math.Ceil(span/8/steps[len(steps)-1])
	return x, unit, second
}

// columns is how many points of a line can be told apart.
const columns = 1000

// path returns the line through s on a plane of 1000 by 100. Of a long series it keeps
// the least and the largest of each column, in their order.
func path(s Series, x, y axis) string {
	var b strings.Builder
	point := func(i int) {
		command := byte('L')
		if b.Len() == 0 {
			command = 'M'
		}
		fmt.Fprintf(&b, "%c%.1f %.2f", command, 10*x.at(s.X[i]), 100-y.at(s.Y[i]))
	}
	if len(s.X) <= 2*columns {
		for i := range s.X {
			point(i)
		}
		if len(s.X) == 1 {
			b.WriteString("h0") // a dot
		}
		return b.String()
	}
	column := func(i int) int { return int(x.at(s.X[i]) / 100 * columns) }
	for i := 0; i < len(s.X); {
		least, most, end := i, i, i
		for ; end < len(s.X) && column(end) == column(i); end++ {
			if s.Y[end] < s.Y[least] {
				least = end
			}
			if s.Y[end] > s.Y[most] {
				most = end
			}
		}
		point(min(least, most))
		if least != most {
			point(max(least, most))
		}
		i = end
	}
	return b.String()
}
