// Package chart draws what the reports show, as HTML that needs no script and nothing
// from elsewhere. It measures no text: labels are HTML, which makes room for them in
// whatever font the reader has, and SVG has lines alone.
package chart

import (
	_ "embed"
	"html/template"
	"math"
	"strconv"
	"strings"
)

//go:embed style.css
var style string

// Style is for a page's <style>: the colours and forms of gateway/admin/status.html.
func Style() template.CSS { return template.CSS(style) }

// Logo is the project's sign: docs/images/logo.svg in the status page's colours.
const Logo template.HTML = `<svg viewBox="0 0 64 64" aria-hidden="true"><circle cx="32" cy="32" r="30" fill="var(--sun)"/><path style="fill:var(--ink)" d="M13 21.5c4-5.5 10.5-6.5 14.5-3.5 3.5-.5 7 .5 10.5 3.5L55 39.5l-9.5-2.2L50 44l-11.5-5.2C33 41.5 25.5 39 23 32.5c-1.3-3.5-1-6.5-1-6.5-2.5-2.5-5.5-3.5-9-4.5z"/><circle cx="22.5" cy="20.8" r="1.3" fill="var(--sun)"/><path style="fill:none;vector-effect:none" d="M28 37l-2 13m-4 2.5l4-2.5 3.5 2.5M32.5 38.5v12.5m-3 3l3-3 3 3M37 38l3.5 11m-2.5 3.5l2.5-3.5 4 2" stroke="var(--ink)" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round"/></svg>`

// Figure formats a number with at least three significant digits, and commas.
func Figure(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v), a >= 99.95:
		return decimal(v, 0)
	case a >= 9.995:
		return decimal(v, 1)
	default:
		return decimal(v, 2)
	}
}

// decimal returns v with so many digits after the point, and commas before it.
func decimal(v float64, digits int) string {
	s := strconv.FormatFloat(v, 'f', digits, 64)
	sign := ""
	if rest, negative := strings.CutPrefix(s, "-"); negative {
		if strings.Trim(rest, "0.") == "" {
			return rest
		}
		sign, s = "−", rest
	}
	whole, fraction, found := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if found {
		whole += "." + fraction
	}
	return sign + whole
}

// axis is a scale with a tick at each multiple of step.
type axis struct {
	from, to, step float64
}

// tick is a label at a place.
type tick struct {
	Label   string
	Percent float64 // of the axis, from its beginning
}

// upTo returns an axis from 0 to the first tick that is not below most, in at most n
// steps of 1, 2 or 5 times a power of ten.
func upTo(most float64, n int) axis {
	if most <= 0 {
		return axis{0, 1, 1}
	}
	step := math.Pow(10, math.Floor(math.Log10(most/float64(n))))
	for _, times := range []float64{1, 2, 5, 10} {
		if count := math.Ceil(most/(times*step) - 1e-9); count <= float64(n) {
			return axis{0, count * times * step, times * step}
		}
	}
	panic("BUG: ten times the step is too short")
}

// at returns where v is, in percent of the axis, to a hundredth; never -0.
func (a axis) at(v float64) float64 { return math.Round(1e4*(v-a.from)/(a.to-a.from))/100 + 0 }

// ticks returns all ticks; a label is the value divided by unit.
func (a axis) ticks(unit float64) (list []tick) {
	digits := int(max(0, -math.Floor(math.Log10(a.step/unit)+1e-9)))
	for i := math.Ceil(a.from/a.step - 1e-9); i*a.step <= a.to+1e-9*a.step; i++ {
		label := decimal(i*a.step/unit, digits)
		if digits > 0 {
			label = strings.TrimRight(strings.TrimRight(label, "0"), ".") // 1, not 1.0
		}
		list = append(list, tick{label, a.at(i * a.step)})
	}
	return list
}
