package main

import (
	"fmt"
	"slices"
)

// work is a row of the comparison: one object asked for in one way.
type work struct {
	name        string
	way         string // hit, tls: from memory; gzip: compressed already; miss, missTLS: through to the origin
	object      string
	connections int
	perByte     bool // the figure is CPU per GB, else per request
	pairs       []pair
}

// pair is two contenders of a row, with targets for the ratio of their CPU times.
// Without targets the ratio is only shown.
type pair struct {
	subject, against string
	gate, goal       float64
}

// works returns the rows; wide adds rows and pairs without targets.
func works(wide bool) []*work {
	all := []*work{
		{name: "hit 1 KB", way: "hit", object: "1k", connections: 64, pairs: []pair{
			{ours, floor, 1.12, 1.05},
			{oursLogged, nginx, 1.10, 1.00},
			{oursToken, ours, 1.06, 1.03},
			{oursAsked, oursToken, 1.06, 1.03},
			{oursSite, ours, 1.06, 1.03},
		}},
		{name: "hit 10 KB", way: "hit", object: "10k", connections: 64, pairs: []pair{{ours, floor, 1.12, 1.05}}},
		{name: "hit 100 KB", way: "hit", object: "100k", connections: 32, pairs: []pair{
			{ours, nginx, 0.75, 0.62},
			{ours, haproxy, 1.05, 0.95},
		}},
		{name: "hit 100 KB, gzip", way: "gzip", object: styles, connections: 64, pairs: []pair{
			{oursGzip, nginxGzip, 1.10, 1.00},
			{oursGzip, caddyGzip, 0.35, 0.25},
		}},
		{name: "hit 1 MB", way: "hit", object: "1m", connections: 16, pairs: []pair{{ours, varnish, 1.12, 1.05}}},
		{name: "miss 1 KB, signed", way: "miss", object: "1k", connections: 64, pairs: []pair{
			{ours, nginx, 1.45, 1.20},
			{ours, haproxy, 1.40, 1.15},
		}},
		{name: "stream 100 KB", way: "miss", object: "100k", connections: 32, pairs: []pair{
			{ours, nginx, 0.55, 0.45},
			{ours, haproxy, 1.10, 0.95},
		}},
		{name: "stream 1 MB", way: "miss", object: "1m", connections: 16, pairs: []pair{
			{ours, nginx, 0.85, 0.60},
			{ours, haproxy, 1.15, 0.95},
		}},
		{name: "stream 100 MB", way: "miss", object: "100m", connections: 4, perByte: true, pairs: []pair{
			{ours, nginx, 0.60, 0.35},
			{ours, haproxy, 0.60, 0.40},
		}},
		{name: "stream 100 MB, HTTPS origin", way: "missTLS", object: "100m", connections: 4, perByte: true, pairs: []pair{{ours, nginx, 1.10, 0.95}}},
		{name: "hit 1 KB over TLS", way: "tls", object: "1k", connections: 64, pairs: []pair{{oursTLS, nginx, 1.25, 1.05}}},
		{name: "hit 100 KB over TLS", way: "tls", object: "100k", connections: 32, pairs: []pair{{oursTLS, nginx, 1.25, 1.05}}},
	}
	if !wide {
		return all
	}
	addPairs := func(w *work, subject string, others ...string) {
		for _, other := range others {
			if !slices.ContainsFunc(w.pairs, func(p pair) bool { return p.subject == subject && p.against == other }) {
				w.pairs = append(w.pairs, pair{subject: subject, against: other})
			}
		}
	}
	for _, w := range all {
		switch w.way {
		case "hit":
			addPairs(w, ours, floor, nginx, nginxFiles, haproxy, varnish)
			if w.object == "1k" {
				addPairs(w, oursToken, floor)
				addPairs(w, oursLogged, ours)
			}
		case "miss":
			addPairs(w, ours, direct)
		case "tls":
			addPairs(w, oursTLS, nginxFiles)
		}
	}
	return append(all,
		&work{name: "stream 10 KB", way: "miss", object: "10k", connections: 64, pairs: []pair{
			{subject: ours, against: nginx}, {subject: ours, against: haproxy}, {subject: ours, against: direct},
		}},
		&work{name: "stream 1 MB, HTTPS origin", way: "missTLS", object: "1m", connections: 16, pairs: []pair{{subject: ours, against: nginx}}},
		&work{name: "hit 10 KB over TLS", way: "tls", object: "10k", connections: 64, pairs: []pair{{subject: oursTLS, against: nginx}}},
		&work{name: "hit 1 MB over TLS", way: "tls", object: "1m", connections: 16, pairs: []pair{{subject: oursTLS, against: nginx}}},
	)
}

// contenders returns the names of the contenders of w, each once.
func (w *work) contenders() []string {
	var names []string
	for _, p := range w.pairs {
		for _, name := range []string{p.subject, p.against} {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// figure returns what w compares: CPU seconds per request, or per byte.
func (w *work) figure(s sample) float64 {
	if w.perByte {
		return s.perByte()
	}
	return s.perRequest()
}

// show formats a figure.
func (w *work) show(figure float64) string {
	if w.perByte {
		return fmt.Sprintf("%.0f ms/GB", figure*1e9*1e3)
	}
	return fmt.Sprintf("%.1f µs", figure*1e6)
}

// result is the outcome of a row. A contender has one sample per round.
type result struct {
	Work    string
	Samples map[string][]sample
	Ratios  []ratio
}

// ratio compares two contenders round by round, so that a drift of the machine's
// speed cancels out.
type ratio struct {
	Subject, Against string
	Gate, Goal       float64 `json:",omitzero"`
	CPU              spread  // of the subject's figure over the other's
}

// verdict also returns its tone: good, warn or bad; both are empty without a gate.
func (r ratio) verdict() (text, tone string) {
	switch {
	case r.Gate == 0:
		return "", ""
	case r.CPU.Median <= r.Goal:
		return "goal met", "good"
	case r.CPU.Median <= r.Gate:
		return "gate met", "warn"
	}
	return "missed", "bad"
}

// ratios fills in r.Ratios.
func (w *work) ratios(r *result) {
	for _, p := range w.pairs {
		var figures []float64
		for i, s := range r.Samples[p.subject] {
			figures = append(figures, w.figure(s)/w.figure(r.Samples[p.against][i]))
		}
		r.Ratios = append(r.Ratios, ratio{p.subject, p.against, p.gate, p.goal, spreadOf(figures)})
	}
}

// median returns the median of f over samples.
func median(samples []sample, f func(sample) float64) float64 {
	var figures []float64
	for _, s := range samples {
		figures = append(figures, f(s))
	}
	return spreadOf(figures).Median
}

// run measures w, rounds rounds of seconds each. In every round the contenders take
// turns, in another order each time.
func (w *work) run(f *field, rounds, seconds int, progress func(string)) (*result, error) {
	r := &result{Work: w.name, Samples: map[string][]sample{}}
	names := w.contenders()
	for _, name := range names {
		c := f.byName[name]
		if err := c.check(w); err != nil {
			return nil, err
		}
		progress(name + ", warming up")
		if _, err := c.measure(w.load(c, 1), f.dir); err != nil {
			return nil, err
		}
	}
	for round := range rounds {
		for i := range names {
			name := names[(i+round)%len(names)]
			if round%2 == 1 {
				name = names[len(names)-1-(i+round)%len(names)]
			}
			progress(fmt.Sprintf("%s, round %d of %d", name, round+1, rounds))
			c := f.byName[name]
			s, err := c.measure(w.load(c, seconds), f.dir)
			if err != nil {
				return nil, err
			}
			r.Samples[name] = append(r.Samples[name], s)
		}
	}
	w.ratios(r)
	return r, nil
}

func (w *work) load(c *contender, seconds int) load {
	return load{url: c.url(w.way, w.object), connections: w.connections, seconds: seconds, header: c.header}
}
