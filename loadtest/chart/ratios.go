package chart

import (
	"bytes"
	_ "embed"
	"html/template"
)

// Ratio is a bar from 0, with a mark at its gate and one at its goal.
type Ratio struct {
	Group, Name, Against string
	Value, Least, Most   float64
	Gate, Goal           float64 // 0: no mark
	Verdict              string  // "" without a gate
	Tone                 string  // of the verdict: good, warn or bad
}

//go:embed ratios.html
var ratiosText string

var ratiosTemplate = template.Must(template.New("ratios").Parse(ratiosText))

// Ratios draws bars from the top down over one scale, across which a line stands at 1.
// Those of a group come one after the other. unit says what the ratios are of.
func Ratios(unit string, ratios []Ratio) (template.HTML, error) {
	type row struct {
		Ratio
		First                                     bool // of its group
		Figure                                    string
		Width, RangeAt, RangeWide, AtGate, AtGoal float64
	}
	most := 1.0
	for _, r := range ratios {
		most = max(most, r.Value, r.Most, r.Gate, r.Goal)
	}
	x := upTo(most, 8)
	var rows []row
	for i, r := range ratios {
		rows = append(rows, row{
			Ratio: r, First: i == 0 || r.Group != ratios[i-1].Group,
			Figure: decimal(r.Value, 2),
			Width:  x.at(r.Value), RangeAt: x.at(r.Least), RangeWide: x.at(r.Most) - x.at(r.Least),
			AtGate: x.at(r.Gate), AtGoal: x.at(r.Goal),
		})
	}
	ticks := x.ticks(1)
	one := tick{"1", x.at(1)}
	for i, t := range ticks {
		if t.Percent == one.Percent {
			ticks = append(ticks[:i:i], ticks[i+1:]...)
			break
		}
	}
	if x.step > 2 {
		one.Label = "" // too near to 0
	}
	var b bytes.Buffer
	err := ratiosTemplate.Execute(&b, map[string]any{"Unit": unit, "Rows": rows, "Ticks": ticks, "One": one})
	return template.HTML(b.String()), err
}
