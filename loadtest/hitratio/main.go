// Hitratio prints how many requests of synthetic traces are hits, for each
// policy of the cache, for a library, and at best: an offline algorithm that
// knows the future. The traces are the same each time; the numbers of caches
// whose hash is seeded at random differ by some tenths of a percent.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
)

func main() {
	requests := flag.Int("requests", 500_000, "`number` of requests in each trace")
	objects := flag.Int("objects", 50_000, "`number` of objects that the popular part of each trace asks for")
	flag.Parse()
	if *requests < 1 || *objects < 1 {
		fmt.Fprintln(os.Stderr, "hitratio: -requests and -objects must be positive")
		os.Exit(2)
	}
	run(os.Stdout, *requests, *objects)
}

// fractions are the sizes of the caches, as parts of the bytes of all objects.
var fractions = []float64{0.01, 0.05, 0.20}

// row is one line of the table.
type row struct {
	trace    string
	sizes    string
	fraction float64
	ratios   []float64 // in the order of contenders
}

func run(w io.Writer, requests, objects int) {
	var rows []*row
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for _, sizes := range sizeKinds {
		for _, kind := range traceKinds {
			t := newTrace(kind, sizes, requests, objects)
			for _, fraction := range fractions {
				r := &row{trace: kind.name, sizes: sizes.name, fraction: fraction, ratios: make([]float64, len(contenders))}
				rows = append(rows, r)
				for i, c := range contenders {
					turns <- struct{}{}
					wg.Go(func() {
						defer func() { <-turns }()
						r.ratios[i] = float64(c.hits(t, int64(fraction*float64(t.bytes)))) / float64(len(t.ids))
					})
				}
			}
		}
	}
	wg.Wait()

	fmt.Fprintf(w, "Hit ratios in %% of %d requests for %d objects and more.\n\n| trace | sizes | cache |", requests, objects)
	for _, c := range contenders {
		fmt.Fprintf(w, " %s |", c.name)
	}
	fmt.Fprint(w, "\n|---|---|---:|")
	for range contenders {
		fmt.Fprint(w, "---:|")
	}
	fmt.Fprintln(w)
	for _, r := range rows {
		fmt.Fprintf(w, "| %s | %s | %.0f %% |", r.trace, r.sizes, 100*r.fraction)
		for _, ratio := range r.ratios {
			fmt.Fprintf(w, " %.1f |", 100*ratio)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, `
The size of a cache is in parts of the bytes of all objects. otter is
github.com/maypok86/otter/v2, weighted by size. The bound is Belady's algorithm,
which evicts what is used last in the future, where all sizes are equal; where
they vary it is the upper bound PFOO-L (Berger, Beckmann, Harchol-Balter,
https://arxiv.org/abs/1711.03709), which no algorithm can reach.
`)
}
