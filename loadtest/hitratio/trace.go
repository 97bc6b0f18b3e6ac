package main

import (
	"math"
	"math/rand/v2"
	"sort"
)

// trace is a sequence of requests for objects, which are numbered from 0.
type trace struct {
	ids   []uint32
	sizes []int32 // of each object's body
	bytes int64   // what all objects take in a cache
	equal bool    // all sizes are equal
}

// traceKind is one way to make a trace: it returns the next object, of which
// the first n are the popular ones.
type traceKind struct {
	name string
	make func(r *rand.Rand, requests, n int) func(i int) uint32
}

var traceKinds = []traceKind{
	{"Zipf 1.01", func(r *rand.Rand, _, n int) func(int) uint32 {
		z := newZipf(r, 1.01, n)
		return func(int) uint32 { return z.draw() }
	}},
	{"Zipf 0.8", func(r *rand.Rand, _, n int) func(int) uint32 {
		z := newZipf(r, 0.8, n)
		return func(int) uint32 { return z.draw() }
	}},
	// A quarter of the requests come from scans, each of objects that are asked
	// for once only.
	{"Zipf 0.9 with scans", func(r *rand.Rand, _, n int) func(int) uint32 {
		z := newZipf(r, 0.9, n)
		scanned := uint32(n)
		return func(i int) uint32 {
			if i%20_000 >= 15_000 {
				scanned++
				return scanned
			}
			return z.draw()
		}
	}},
	// All popular objects change at once, eight times.
	{"Zipf 0.9 shifting", func(r *rand.Rand, requests, n int) func(int) uint32 {
		z := newZipf(r, 0.9, n)
		return func(i int) uint32 {
			phase := i * 8 / requests
			return (z.draw() + uint32(phase*n/8)) % uint32(n)
		}
	}},
}

// sizeKind is one way to choose the sizes of bodies.
type sizeKind struct {
	name  string
	equal bool
	draw  func(r *rand.Rand) int32
}

var sizeKinds = []sizeKind{
	{"equal", true, func(*rand.Rand) int32 { return 8 << 10 }},
	{"varying", false, func(r *rand.Rand) int32 {
		// The sizes of files on the web: log-normal, median 8 KiB.
		return int32(min(max(8192*math.Exp(1.5*r.NormFloat64()), 100), maxBody))
	}},
}

const maxBody = 1 << 20

func newTrace(kind traceKind, sizes sizeKind, requests, n int) *trace {
	r := rand.New(rand.NewPCG(1, 2))
	t := &trace{equal: sizes.equal}
	next := kind.make(r, requests, n)
	numbers := map[uint32]uint32{}
	for i := range requests {
		id := next(i)
		number, known := numbers[id]
		if !known {
			number = uint32(len(numbers))
			numbers[id] = number
		}
		t.ids = append(t.ids, number)
	}
	drawSize := rand.New(rand.NewPCG(3, 4))
	for range numbers {
		t.sizes = append(t.sizes, sizes.draw(drawSize))
	}
	for number := range t.sizes {
		t.bytes += t.object(uint32(number)).Size()
	}
	return t
}

// zipf draws from 0 to n-1, where the k-th has the weight 1/k^s. Unlike
// rand.Zipf it allows any s.
type zipf struct {
	r   *rand.Rand
	sum []float64 // of the weights up to each
}

func newZipf(r *rand.Rand, s float64, n int) *zipf {
	z := &zipf{r: r, sum: make([]float64, n)}
	total := 0.0
	for k := range z.sum {
		total += math.Pow(float64(k+1), -s)
		z.sum[k] = total
	}
	return z
}

func (z *zipf) draw() uint32 {
	x := z.r.Float64() * z.sum[len(z.sum)-1]
	return uint32(sort.SearchFloat64s(z.sum, x))
}
