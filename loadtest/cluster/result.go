package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// result is what a trial saw. The zero value is empty. Safe for concurrent use.
type result struct {
	mu       sync.Mutex      // guards the following fields
	took     []time.Duration // by purges that were answered
	all      int             // purges that all gateways confirmed
	some     int             // purges that fewer did
	unshared int             // purges that could not be shared at once
	answers  int             // judged
	shared   int             // those that another gateway had put into Valkey
	wrong    map[ground]int
	failed   int               // requests without an answer, or with an error
	firsts   map[ground]string // the first wrong answer of each kind
	flaws    []string          // that are no wrong answers
}

func (r *result) right(shared bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers++
	if shared {
		r.shared++
	}
}

func (r *result) wronged(why ground, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wrong == nil {
		r.wrong, r.firsts = make(map[ground]int), make(map[ground]string)
	}
	if r.wrong[why] == 0 {
		r.firsts[why] = text
	}
	r.answers++
	r.wrong[why]++
}

func (r *result) fail(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == 0 {
		r.flaws = append(r.flaws, "the first request that fails: "+text)
	}
	r.failed++
}

func (r *result) flaw(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flaws = append(r.flaws, text)
}

func (r *result) purged(reply *purgeReply, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took = append(r.took, took)
	switch {
	case reply.everywhere():
		r.all++
	case reply.notShared:
		r.unshared++
	default:
		r.some++
	}
}

func (r *result) wrongs() (n int) {
	for _, count := range r.wrong {
		n += count
	}
	return n
}

// sensible is the share of purges that all gateways must confirm where nothing is out of
// reach: an oracle of purges that nobody confirms proves little.
const sensible = 0.9

// finish adds the flaws that only the end of the trial shows.
func (r *result) finish(t *trial) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, why := range slices.Sorted(maps.Keys(r.firsts)) {
		r.flaws = append(r.flaws, fmt.Sprintf("%d wrong answers although %s; the first: %s", r.wrong[why], why, r.firsts[why]))
	}
	if n := len(r.took); n < t.purges {
		r.flaws = append(r.flaws, fmt.Sprintf("only %d of %d purges were made in time", n, t.purges))
	} else if t.quiet && float64(r.all) < sensible*float64(n) {
		r.flaws = append(r.flaws, fmt.Sprintf("only %d of %d purges were confirmed by all gateways, although nothing was out of reach", r.all, n))
	}
	slices.Sort(r.took)
}

// progress returns a line on a trial that is under way.
func (t *trial) progress() string {
	t.result.mu.Lock()
	defer t.result.mu.Unlock()
	r := &t.result
	return fmt.Sprintf("%-12s %6d of %d purges, %d confirmed by all; %d strikes; %d answers, %d failed, %d wrong",
		t.name, len(r.took), t.purges, r.all, t.strikes.Load(), r.answers, r.failed, r.wrongs())
}

// writeTable writes a row for each trial that has ended.
func writeTable(w io.Writer, trials []*trial) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "fault\tstrikes\tpurges\tconfirmed by all\tunconfirmed\tnot shared\tanswers checked\tfrom Valkey\torigin requests\tfailed\twrong\tp50\tp99\t")
	for _, t := range trials {
		r := &t.result
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t\n", t.name, t.strikes.Load(), len(r.took), r.all, r.some, r.unshared,
			r.answers, r.shared, t.origin.requests.Load(), r.failed, r.wrongs(), percentile(r.took, 50), percentile(r.took, 99))
	}
	return tw.Flush()
}

// percentile returns a percentile of sorted times.
func percentile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*percent/100].Round(100 * time.Microsecond)
}
