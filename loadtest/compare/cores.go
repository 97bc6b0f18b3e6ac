package main

import (
	"context"
	"fmt"
	"time"
)

// batch is how many requests the load of scaleCores sends at once. One at a time costs
// wrk as much as it costs the gateway: on two cores half of the time would be the
// load's, and the gateway's processors would go idle and be woken all the time.
const batch = 8

// scaleCores compares the CPU time of a hit on one core with that on two. On a machine
// with two cores the load takes part of them, so the throughput of two whole cores cannot
// be measured. But two cores have twice the throughput of one if a request costs the same
// CPU time on both, and less by as much as it costs more.
func scaleCores(ctx context.Context, f *field) ([]scaleFigure, error) {
	gateways, end, err := f.onCores(func(name, cpus string) (*contender, func(), error) { return f.fresh(ctx, name, cpus) })
	if err != nil {
		return nil, err
	}
	defer end()
	floors, endFloors, err := f.onCores(func(name, cpus string) (*contender, func(), error) {
		c, err := f.launchFloor(gateways[0], cpus)
		if err != nil {
			return nil, nil, err
		}
		return c, func() { c.Stop(5 * time.Second) }, c.await(ctx)
	})
	if err != nil {
		return nil, err
	}
	defer endFloors()
	var figures [2][2]coreFigure // of the gateway and the floor, in batches and one by one
	for range 5 {
		for i, pair := range [][2]*contender{gateways, floors} {
			for j, atOnce := range []int{batch, 1} {
				if err := figures[i][j].measure(pair, atOnce, f.dir); err != nil {
					return nil, err
				}
			}
		}
	}
	ours := &figures[0][0]
	return []scaleFigure{{What: fmt.Sprintf("throughput of hits from 1 core to 2, %d requests sent at once", batch), Figure: ours.factor(), Unit: "times", Bound: 1.8, Least: true,
		Note: fmt.Sprintf("from CPU time per request, %.1f µs on one core (%.0f %% busy), %.1f µs on two; a fasthttp handler %.2f times. Sent one by one %.2f times, and the handler %.2f",
			ours.alone.perRequest()*1e6, 100*ours.alone.CPU.Seconds()/ours.alone.Wall.Seconds(), ours.both.perRequest()*1e6, figures[1][0].factor(), figures[0][1].factor(), figures[1][1].factor())}}, nil
}

// onCores starts two of the same: one on the first core, one on both.
func (f *field) onCores(start func(name, cpus string) (*contender, func(), error)) (both [2]*contender, end func(), err error) {
	one, endOne, err := start("one-core", "0")
	if err != nil {
		return both, nil, err
	}
	two, endTwo, err := start("two-cores", "0,1")
	if err != nil {
		endOne()
		return both, nil, err
	}
	return [2]*contender{one, two}, func() { endOne(); endTwo() }, nil
}

// coreFigure is the outcome of rounds on one core and on two.
type coreFigure struct {
	factors     []float64
	alone, both sample // the last
}

func (c *coreFigure) factor() float64 { return spreadOf(c.factors).Median }

// measure runs a round on each.
func (c *coreFigure) measure(pair [2]*contender, atOnce int, dir string) (err error) {
	l := load{url: pair[0].url("hit", "1k"), connections: 64, seconds: 1, cpus: "1", atOnce: atOnce}
	if c.alone, err = pair[0].measure(l, dir); err != nil {
		return err
	}
	l.url, l.cpus = pair[1].url("hit", "1k"), ""
	if c.both, err = pair[1].measure(l, dir); err != nil {
		return err
	}
	c.factors = append(c.factors, 2*c.alone.perRequest()/c.both.perRequest())
	return nil
}
