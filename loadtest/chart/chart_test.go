package chart

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func labels(ticks []tick) (s string) {
	for _, t := range ticks {
		s += " " + t.Label
	}
	return strings.TrimPrefix(s, " ")
}

// Ticks are round, and the last is the first not below the largest figure.
func TestUpTo(t *testing.T) {
	for most, want := range map[float64]string{
		0: "0 1", 0.003: "0 0.001 0.002 0.003", 0.87: "0 0.2 0.4 0.6 0.8 1", 1: "0 0.2 0.4 0.6 0.8 1", 1.01: "0 0.5 1 1.5",
		7: "0 2 4 6 8", 49.9: "0 10 20 30 40 50", 99.9: "0 20 40 60 80 100", 100.1: "0 50 100 150", 9899: "0 2,000 4,000 6,000 8,000 10,000", 1e6: "0 200,000 400,000 600,000 800,000 1,000,000",
	} {
		a := upTo(most, 5)
		ticks := a.ticks(1)
		if got := labels(ticks); got != want {
			t.Errorf("%v: %s, want %s", most, got, want)
		}
		if last := ticks[len(ticks)-1]; last.Percent != 100 || a.to < most {
			t.Errorf("%v: the axis ends at %v, its last tick is at %v %%", most, a.to, last.Percent)
		}
	}
}

func TestTimeAxis(t *testing.T) {
	for _, c := range []struct {
		from, to     float64
		unit, labels string
	}{
		{0, 0, "seconds", "0 1"},
		{0, 9, "seconds", "0 2 4 6 8"},
		{-3.6, 30.4, "seconds", "0 5 10 15 20 25 30"},
		{0, 120, "seconds", "0 20 40 60 80 100 120"},
		{0, 150, "minutes", "0 0.5 1 1.5 2 2.5"},
		{0, 1800, "minutes", "0 5 10 15 20 25 30"},
		{-65, 10_000, "minutes", "0 30 60 90 120 150"},
		{0, 86_400, "hours", "0 3 6 9 12 15 18 21 24"},
		{0, 20 * 86_400, "hours", "0 72 144 216 288 360 432"},
	} {
		x, unit, second := timeAxis([]Plot{{Series: []Series{{X: []float64{c.from, c.to}}}}})
		if got := labels(x.ticks(second)); got != c.labels || unit != c.unit {
			t.Errorf("%v to %v: %s %s, want %s %s", c.from, c.to, got, unit, c.labels, c.unit)
		}
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 7: "7", 0.349: "0.35", 29.94: "29.9", 1972.4: "1,972", 4499460: "4,499,460", -1234.5: "−1,234", -0.001: "0.00"} {
		if got := Figure(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

func TestLines(t *testing.T) {
	plots := []Plot{
		{"Latency", "ms", []Series{{"p50", []float64{0, 1, 2}, []float64{1, 4, 2}}, {"<p99>", []float64{0, 1, 2}, []float64{9, 10, 5}}}},
		{"Memory", "MB", []Series{{"RSS", []float64{-2, 2}, []float64{20, 10}}}},
	}
	html, err := Lines("since then", plots...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<h3>Latency</h3><span class=\"note\">ms</span>", "seconds since then", "&lt;p99&gt;",
		`d="M500.0 90.00L750.0 60.00L1000.0 80.00"`,                                                // the same seconds in both plots
		`<path class="area" d="M0.0 0.00L1000.0 50.00L1000.0 100L0.0 100Z"/>`,                      // a line that is alone
		`<path class="base" d="M0 100H1000M500.0 0V100"/>`,                                         // the first request
		`<td class="num">1</td><td class="num">2</td><td class="num">4</td><td class="num">2</td>`, // least, median, most, last
		`<div class="ys"><span>10</span><span>8</span><span>6</span><span>4</span><span>2</span><span>0</span></div>`,
		`<span style="left:25%">-1</span>`,
	} {
		if !strings.Contains(strings.ReplaceAll(string(html), "−", "-"), want) {
			t.Errorf("%s is not in %s", want, html)
		}
	}
	for name, bad := range map[string][]Series{
		"no figures":      {{Name: "a"}},
		"a time too many": {{"a", []float64{1, 2}, []float64{1}}},
		"a line too many": {plots[0].Series[0], plots[0].Series[0], plots[0].Series[0], plots[0].Series[0]},
	} {
		if _, err := Lines("", Plot{Title: name, Series: bad}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A day of seconds takes no more room than there are columns, and its one peak stays.
func TestLongLine(t *testing.T) {
	s := Series{Name: "a"}
	for i := range 86_400 {
		s.X, s.Y = append(s.X, float64(i)), append(s.Y, float64(1+i%2))
	}
	s.Y[43_210] = 10
	x, _, _ := timeAxis([]Plot{{Series: []Series{s}}})
	got := path(s, x, upTo(10, 5))
	if n := strings.Count(got, "L"); n > 2*columns+2 {
		t.Errorf("%d points", n)
	}
	if !strings.Contains(got, "L500.1 0.00") {
		t.Error("the peak is gone")
	}
}

func TestRatios(t *testing.T) {
	html, err := Ratios("ratio of times", []Ratio{
		{"hit", "ours", "theirs", 0.5, 0.4, 1.55, 1.2, 1.1, "goal met", "good"},
		{"hit", "ours", "<another>", 2, 1.9, 2.1, 0.6, 0.5, "missed", "bad"},
		{"miss", "ours", "theirs", 1, 1, 1, 0, 0, "", ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	text := string(html)
	for want, n := range map[string]int{
		`<span class="at-one" style="left:40%">1</span>`: 2, // above and below
		`<i class="one" style="left:40%"></i>`:           3, // across each bar
		`<span style="left:0%">0</span><span style="left:20%">0.5</span><span style="left:60%">1.5</span><span style="left:80%">2</span><span style="left:100%">2.5</span>`: 2,
		`<div class="bar" style="width:20%">`:          1,
		`<div class="bar missed" style="width:80%">`:   1,
		`<i class="range" style="left:16%;width:46%">`: 1,
		`<i class="gate" style="left:48%">`:            1,
		`<i class="goal" style="left:44%">`:            1,
		`class="gate"`:                                 3, // one of them is what the sign means
		`<span class="group">hit</span>`:               1,
		`<span class="pill bad">missed</span>`:         1,
		`&lt;another&gt;`:                              1,
		`ratio of times`:                               2,
		`<b>0.50</b>`:                                  1,
	} {
		if got := strings.Count(text, want); got != n {
			t.Errorf("%d times %s, want %d; %s", got, want, n, text)
		}
	}
	for most, want := range map[float64]string{0.3: "1", 1: "1", 3.2: "1", 15: "1", 90: ""} {
		html, err := Ratios("", []Ratio{{Value: most, Most: most}})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(html), fmt.Sprintf(`%%">%s</span></div>`, want)) && want != "" || !strings.Contains(string(html), `<i class="one"`) {
			t.Errorf("up to %v there is no line at 1, labelled %q: %s", most, want, html)
		}
	}
}

// The reports have the status page's colours, light and dark.
func TestColours(t *testing.T) {
	page, err := os.ReadFile("../../gateway/admin/status.html")
	if err != nil {
		t.Fatal(err)
	}
	definition := regexp.MustCompile(`--[a-z-]+: [^;]+;`)
	of := func(text string) []string {
		text, _, _ = strings.Cut(text, "* { box-sizing")
		return definition.FindAllString(text, -1)
	}
	theirs, ours := of(string(page)), of(style)
	if len(theirs) < 20 || !slices.Equal(ours, theirs) {
		t.Errorf("the status page has\n%s\nthe reports\n%s", theirs, ours)
	}
}

// The sign is the same everywhere.
func TestLogo(t *testing.T) {
	sign, err := os.ReadFile("../../docs/images/logo.svg")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../gateway/admin/status.html")
	if err != nil {
		t.Fatal(err)
	}
	shapes := regexp.MustCompile(` d="[^"]+"`).FindAllString(string(sign), -1)
	if len(shapes) != 2 {
		t.Fatal(shapes)
	}
	for _, shape := range shapes {
		if !strings.Contains(string(Logo), shape) || !strings.Contains(string(page), shape) {
			t.Errorf("the reports or the status page lack%s", shape)
		}
	}
}

// A page fetches nothing.
func TestSelfContained(t *testing.T) {
	for _, forbidden := range []string{"http:", "https:", "url(", "@import", "@font-face", "<script"} {
		if strings.Contains(style+linesText+ratiosText+string(Logo), forbidden) {
			t.Errorf("there is %s", forbidden)
		}
	}
}

func ExampleRatios() {
	html, err := Ratios("ratio of CPU times", []Ratio{{Group: "hit 1 KB", Name: "gateway", Against: "nginx", Value: 0.83, Least: 0.75, Most: 0.95}})
	if err != nil {
		panic(err)
	}
	fmt.Println(strings.Contains(string(html), `gateway <span class="meta">against nginx</span>`))
	// Output: true
}
