// Package chart draws the plots of the reports as SVG.
package chart

import (
	"bytes"
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Series is a line of a plot.
type Series struct {
	Name string
	X, Y []float64 // of equal length
}

// Bar is a horizontal bar with marks across it.
type Bar struct {
	Name       string
	Value      float64
	Gate, Goal float64 // 0: no mark
}

var colors = []color.Color{
	color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}, color.RGBA{R: 0xd6, G: 0x27, B: 0x28, A: 0xff},
	color.RGBA{R: 0x2c, G: 0xa0, B: 0x2c, A: 0xff}, color.RGBA{R: 0x94, G: 0x67, B: 0xbd, A: 0xff},
}

// Lines draws series over seconds. The y axis starts at 0.
func Lines(title, unit string, series ...Series) ([]byte, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, "seconds", unit
	p.Y.Min = 0
	p.Add(plotter.NewGrid())
	for i, s := range series {
		points := make(plotter.XYs, len(s.X))
		for j := range s.X {
			points[j] = plotter.XY{X: s.X[j], Y: s.Y[j]}
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", title, s.Name, err)
		}
		line.Color, line.Width = colors[i%len(colors)], vg.Points(1.5)
		p.Add(line)
		p.Legend.Add(s.Name, line)
	}
	p.Legend.Top = true
	p.Y.Max *= 1.2 // room for the legend
	return render(p, 16*vg.Centimeter, 7*vg.Centimeter)
}

// Bars draws bars from the top down, a red mark at each gate, a green one at each
// goal.
func Bars(title, unit string, bars []Bar) ([]byte, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = title, unit
	p.X.Min = 0
	values := make(plotter.Values, len(bars))
	names := make([]string, len(bars))
	var gates, goals plotter.XYs
	for i, b := range bars {
		y := len(bars) - 1 - i
		values[y], names[y] = b.Value, b.Name
		if b.Gate > 0 {
			gates = append(gates, plotter.XY{X: b.Gate, Y: float64(y)})
		}
		if b.Goal > 0 {
			goals = append(goals, plotter.XY{X: b.Goal, Y: float64(y)})
		}
	}
	drawn, err := plotter.NewBarChart(values, vg.Points(10))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", title, err)
	}
	drawn.Horizontal, drawn.Color, drawn.LineStyle.Width = true, colors[0], 0
	p.Add(drawn)
	for _, mark := range []struct {
		name  string
		at    plotter.XYs
		color color.Color
	}{{"gate", gates, colors[1]}, {"goal", goals, colors[2]}} {
		if len(mark.at) == 0 {
			continue
		}
		points, err := plotter.NewScatter(mark.at)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", title, err)
		}
		points.GlyphStyle = draw.GlyphStyle{Color: mark.color, Radius: vg.Points(5), Shape: draw.PlusGlyph{}}
		p.Add(points)
		p.Legend.Add(mark.name, points)
	}
	p.NominalY(names...)
	p.Legend.Top = true
	return render(p, 20*vg.Centimeter, vg.Length(len(bars)+4)*0.8*vg.Centimeter)
}

func render(p *plot.Plot, width, height vg.Length) ([]byte, error) {
	canvas := vgsvg.New(width, height)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, err
	}
	_, svg, found := bytes.Cut(b.Bytes(), []byte("<svg")) // without the XML head, to stand in HTML
	if !found {
		return nil, fmt.Errorf("%s: no SVG was drawn", p.Title.Text)
	}
	return append([]byte("<svg"), svg...), nil
}
