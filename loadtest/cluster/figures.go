package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"yatagarasu/loadtest/balance"
)

const (
	figureObjects = 500
	figurePurges  = 500
	figureMisses  = 400
	limitedRate   = 200 // requests in a second to the bucket "limited", of cluster.yaml; its burst is as much
	warmClients   = 16
)

// figure is what was measured, and what it should be.
type figure struct {
	name, value, goal string
	held              bool
}

// figures measures what sharing gives and costs.
type figures struct {
	*fleet
	out    io.Writer
	all    []figure
	limits time.Duration // for which limits are measured
}

// measure prints the figures of gateways that share a Valkey. It returns an error if one does not hold.
func measure(ctx context.Context, out io.Writer, within, limits time.Duration) error {
	c, err := startFleet(ctx, &fault{name: "figures"}, within)
	if err != nil {
		return err
	}
	defer c.stop()
	f := &figures{fleet: c, out: out, limits: limits}
	for _, step := range []func(context.Context) error{f.fetches, f.restart, f.purges, f.misses, f.rates, f.throughput} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	missed := 0
	for _, x := range f.all {
		if !x.held {
			missed++
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d figures do not hold", missed, len(f.all))
	}
	return nil
}

func (f *figures) say(name, goal string, held bool, format string, args ...any) {
	x := figure{name, fmt.Sprintf(format, args...), goal, held}
	f.all = append(f.all, x)
	verdict := "held"
	if !held {
		verdict = "NOT held"
	}
	fmt.Fprintf(f.out, "%s: %s (%s: %s)\n", x.name, x.value, x.goal, verdict)
}

// get asks for a URL. It returns the status, what the cache had to do with the answer, and the time until
// all of it is there.
func (f *figures) get(ctx context.Context, url string) (status int, cache string, took time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", 0, err
	}
	begin := time.Now()
	r, err := f.gateways[0].client.Do(request)
	if err != nil {
		return 0, "", 0, err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	return r.StatusCode, r.Header.Get("X-Cache"), time.Since(begin), err
}

// path is the path of a figure's object in a bucket; set tells those of one measurement.
func path(bucket, set string, i int) string {
	return fmt.Sprintf("/%s%s%s-%d", bucket, figurePrefix, set, i) // "/two/figure/fetched-1"
}

// fetches counts the requests to the origin for objects that each gateway is asked for.
func (f *figures) fetches(ctx context.Context) error {
	for _, bucket := range []string{"one", "two"} {
		before := f.origin.requests.Load()
		for round := range gateways {
			for i := range figureObjects {
				g := f.gateways[(i+round)%gateways]
				if status, _, _, err := f.get(ctx, g.url+path(bucket, "fetched", i)); err != nil || status != http.StatusOK {
					return errors.Join(fmt.Errorf("%s answers %d", g, status), err)
				}
			}
		}
		each := float64(f.origin.requests.Load()-before) / figureObjects
		if bucket == "one" {
			f.say("origin requests for each object, three gateways, nothing shared", "3", each > 2.99 && each < 3.01, "%.2f", each)
		} else {
			f.say("the same with the store", "at most 1.1", each <= 1.1, "%.2f", each)
		}
	}
	return nil
}

// restart asks a gateway that has just started for what the others have shared.
func (f *figures) restart(ctx context.Context) error {
	g := f.gateways[0]
	if err := g.process.Stop(10 * time.Second); err != nil {
		return err
	}
	p, err := g.launch(ctx)
	if err != nil {
		return err
	}
	g.process = p
	if err := f.settle(ctx); err != nil {
		return err
	}
	before := f.origin.requests.Load()
	for i := range figureObjects {
		if _, _, _, err := f.get(ctx, g.url+path("two", "fetched", i)); err != nil {
			return err
		}
	}
	part := 1 - float64(f.origin.requests.Load()-before)/figureObjects
	f.say("small hot objects that a restarted gateway serves without the origin", "at least 95 %", part >= 0.95, "%.1f %%", 100*part)
	return nil
}

// purges times purges while clients read from all gateways.
func (f *figures) purges(ctx context.Context) error {
	reading, stop := context.WithCancel(ctx)
	var clients sync.WaitGroup
	var reads atomic.Int64
	for n := range warmClients {
		clients.Go(func() { // ends with reading
			for i := n; reading.Err() == nil; i++ {
				f.get(reading, f.gateways[i%gateways].url+path([]string{"one", "two"}[i%2], "fetched", i%figureObjects))
				reads.Add(1)
			}
		})
	}
	defer clients.Wait()
	defer stop()
	var times []time.Duration
	unconfirmed, began := 0, time.Now()
	for i := range figurePurges {
		begin := time.Now()
		r, err := f.gateways[i%gateways].purge(ctx, fmt.Sprintf(`{"bucket": "two", "key": "%s"}`, strings.TrimPrefix(path("two", "fetched", i), "/two/")))
		if err != nil {
			return err
		}
		times = append(times, time.Since(begin))
		if !r.everywhere() {
			unconfirmed++
		}
	}
	rate := float64(reads.Load()) / time.Since(began).Seconds()
	f.say("a purge until all three have made it, while clients read", "p99 below 50 ms, all confirmed", quantile(times, 0.99) < 50*time.Millisecond && unconfirmed == 0,
		"p50 %s, p99 %s, %d not confirmed, %.0f reads a second", brief(quantile(times, 0.5)), brief(quantile(times, 0.99)), unconfirmed, rate)
	return nil
}

// misses times misses with and without the store, in turns, and with a server that does not answer.
func (f *figures) misses(ctx context.Context) error {
	g := f.gateways[1]
	both := func(set string) (alone, shared []time.Duration, err error) {
		for i := range figureMisses {
			for _, bucket := range []string{"one", "two"} {
				_, cache, took, err := f.get(ctx, g.url+path(bucket, set, i))
				if err != nil || cache != "MISS" {
					return nil, nil, errors.Join(fmt.Errorf("%q is no miss of %s", cache, bucket), err)
				}
				if bucket == "one" {
					alone = append(alone, took)
				} else {
					shared = append(shared, took)
				}
			}
		}
		return alone, shared, nil
	}
	added := func(alone, shared []time.Duration, q float64) time.Duration {
		return quantile(shared, q) - quantile(alone, q)
	}
	alone, shared, err := both("missed")
	if err != nil {
		return err
	}
	p50, p99 := added(alone, shared, 0.5), added(alone, shared, 0.99)
	f.say("what the store adds to a miss", "p50 below 0.5 ms, p99 below 25 ms", p50 < 500*time.Microsecond && p99 < 25*time.Millisecond,
		"p50 %s to %s, p99 %s to %s", brief(p50), brief(quantile(alone, 0.5)), brief(p99), brief(quantile(alone, 0.99)))
	f.valkey.Freeze()
	defer f.valkey.Thaw()
	for begin, i := time.Now(), 0; time.Since(begin) < 1200*time.Millisecond; i++ {
		f.get(ctx, g.url+path("two", "freezing", i))
	}
	if alone, shared, err = both("frozen"); err != nil {
		return err
	}
	p50 = added(alone, shared, 0.5)
	f.say("the same with a Valkey that has been frozen for a second", "p50 below 1 ms", p50 < time.Millisecond, "p50 %s, p99 %s", brief(p50), brief(added(alone, shared, 0.99)))
	f.valkey.Thaw()
	return f.settle(ctx)
}

// rates asks three gateways for more than their limit lets in together.
func (f *figures) rates(ctx context.Context) error {
	running, stop := context.WithTimeout(ctx, f.limits)
	defer stop()
	var clients sync.WaitGroup
	var in, out atomic.Int64
	for n := range 4 * gateways {
		clients.Go(func() { // ends with running
			for tick := time.Tick(10 * time.Millisecond); running.Err() == nil; {
				if status, _, _, err := f.get(running, f.gateways[n%gateways].url+path("limited", "limited", 0)); err == nil && status == http.StatusOK {
					in.Add(1)
				} else if err == nil {
					out.Add(1)
				}
				<-tick
			}
		})
	}
	began := time.Now()
	clients.Wait()
	want := limitedRate * time.Since(began).Seconds()
	off := (float64(in.Load()) - want) / want
	f.say(fmt.Sprintf("let in by three gateways at %d a second together, in %s", limitedRate, f.limits.Round(time.Second)),
		fmt.Sprintf("%.0f within 5 %%, and the bursts", want), off > -0.05 && float64(in.Load()) <= want*1.05+gateways*limitedRate, "%d, %d refused", in.Load(), out.Load())
	return nil
}

// share is the part of a processor that each gateway has where their throughput is measured, in
// hundredths: as little as leaves HAProxy and the clients enough of two.
const share = 4

// throughput measures hits of one, two and three gateways behind HAProxy, each with a part of a
// processor.
func (f *figures) throughput(ctx context.Context) error {
	const what = "hits a second of one, two and three gateways behind HAProxy, each with a 25th of a processor"
	binary, err := exec.LookPath("haproxy")
	if err != nil {
		fmt.Fprintf(f.out, "%s: not measured, haproxy is not installed\n", what)
		return nil
	}
	for _, g := range f.gateways { // into the memory of each
		for i := range figureObjects {
			if status, _, _, err := f.get(ctx, g.url+path("one", "loaded", i)); err != nil || status != http.StatusOK {
				return errors.Join(fmt.Errorf("%s answers %d", g, status), err)
			}
		}
	}
	var remove []func()
	defer func() {
		for _, r := range remove {
			r()
		}
	}()
	for i, g := range f.gateways {
		r, err := limitCPU(fmt.Sprint("yatagarasu-figures-", os.Getpid(), "-", i), g.process.Pid(), share)
		if err != nil {
			fmt.Fprintf(f.out, "%s: not measured, %v\n", what, err)
			return nil
		}
		remove = append(remove, r)
	}
	var hits []float64
	for n := 1; n <= gateways; n++ {
		addresses := slices.Repeat([]string{"127.0.0.1:1"}, gateways) // where nobody listens
		for i, g := range f.gateways[:n] {
			addresses[i] = strings.TrimPrefix(g.url, "http://")
		}
		// In turns: parts by the path are even to a tenth or two, which says nothing of the gateways.
		b, err := balance.HAProxy.Start(ctx, binary, f.dir, addresses, nil, "balance uri path-only", "balance roundrobin")
		if err != nil {
			return err
		}
		pause(ctx, 4*time.Second) // until HAProxy has found out
		rate, err := f.load(ctx, b.URL, 96*n)
		b.Kill()
		if err != nil {
			return err
		}
		hits = append(hits, rate)
	}
	two, three := hits[1]/hits[0]/2, hits[2]/hits[0]/3
	f.say(what, "linear within 10 %", two > 0.9 && three > 0.9, "%.0f, %.0f, %.0f; %.2f and %.2f of linear", hits[0], hits[1], hits[2], two, three)
	return nil
}

// load returns the hits a second of objects in memory behind a URL, asked for by a number of clients.
func (f *figures) load(ctx context.Context, url string, number int) (float64, error) {
	const warm, measured = 2 * time.Second, 6 * time.Second
	running, stop := context.WithTimeout(ctx, warm+measured)
	defer stop()
	var clients sync.WaitGroup
	var hits, misses atomic.Int64
	begin := time.Now()
	for n := range number {
		clients.Go(func() { // ends with running
			for i := n; running.Err() == nil; i += 7 {
				_, cache, _, err := f.get(running, url+path("one", "loaded", i%figureObjects))
				switch {
				case err != nil, time.Since(begin) < warm:
				case cache == "HIT":
					hits.Add(1)
				default:
					misses.Add(1)
				}
			}
		})
	}
	clients.Wait()
	if misses.Load()*100 > hits.Load() {
		return 0, fmt.Errorf("%d of the requests were no hits, %d were", misses.Load(), hits.Load())
	}
	return float64(hits.Load()) / measured.Seconds(), nil
}

// limitCPU gives a process hundredths of a processor. The function that it returns takes the limit
// back.
func limitCPU(name string, pid, hundredths int) (remove func(), err error) {
	const period = 25_000 // microseconds; the least quota is 1,000
	quota := fmt.Sprint(period * hundredths / 100)
	for _, c := range []struct{ group, file, text string }{
		{"/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", quota}, // version 1, in which 100 ms is the period
		{"/sys/fs/cgroup", "cpu.max", quota + " " + fmt.Sprint(period)},
	} {
		group := filepath.Join(c.group, name)
		if err = os.Mkdir(group, 0o755); err != nil {
			continue
		}
		remove = func() {
			os.WriteFile(filepath.Join(c.group, "cgroup.procs"), []byte(fmt.Sprint(pid)), 0o644)
			os.Remove(group)
		}
		if c.file == "cpu.cfs_quota_us" {
			err = os.WriteFile(filepath.Join(group, "cpu.cfs_period_us"), []byte(fmt.Sprint(period)), 0o644)
		}
		if err = errors.Join(err, os.WriteFile(filepath.Join(group, c.file), []byte(c.text), 0o644),
			os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(fmt.Sprint(pid)), 0o644)); err == nil {
			return remove, nil
		}
		remove()
	}
	return nil, fmt.Errorf("no control group can be made: %w", err)
}

// quantile returns the q-quantile of times.
func quantile(times []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func brief(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
