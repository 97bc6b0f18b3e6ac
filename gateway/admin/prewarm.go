package admin

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/time/rate"

	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
)

// Bounds of prewarming.
const (
	prewarmRate        = 50 // objects per second, if the call does not say
	prewarmConcurrency = 4
	maxPrewarmRate     = 10_000
	maxPrewarmJobs     = 4  // under way at once
	keptPrewarmJobs    = 16 // in the list, ended ones included
)

// prewarmCall is the body of a call that fills the cache. Either Keys or Prefix is set.
type prewarmCall struct {
	Bucket string   `json:"bucket"`
	Keys   []string `json:"keys"`
	Prefix *string  `json:"prefix"` // of keys that S3 lists
	Rate   int      `json:"rate"`   // objects per second; 0: prewarmRate
}

// PrewarmState is the progress of a job.
type PrewarmState struct {
	ID       string    `json:"id"`
	Bucket   string    `json:"bucket"`
	State    string    `json:"state"` // running, cancelling, done, cancelled or failed
	Error    string    `json:"error,omitempty"`
	Found    int       `json:"found"`   // keys taken from the list so far
	Fetched  int       `json:"fetched"` // objects stored, or found unchanged by the origin
	Skipped  int       `json:"skipped"` // objects that were stored already, are too large, or may not be stored
	Failed   int       `json:"failed"`
	Bytes    int64     `json:"bytes"` // of bodies fetched
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
}

// prewarmJob fills the cache with objects of one bucket.
type prewarmJob struct {
	a      *Server
	cancel context.CancelFunc
	state  PrewarmState // but for ID and Bucket, which stay, guarded by mu of prewarmJobs
}

// prewarmJobs are the jobs under way and the last that ended. The zero value has none. Safe
// for concurrent use.
type prewarmJobs struct {
	mu     sync.Mutex // guards the following fields and the states of jobs
	last   int        // id
	jobs   []*prewarmJob
	closed bool
	wg     sync.WaitGroup // of jobs under way
}

// beginPrewarm starts a job, unless too many are under way, and returns its state.
func (r *call) beginPrewarm() (any, error) {
	var c prewarmCall
	if err := r.decode(&c); err != nil {
		return nil, err
	}
	switch {
	case (len(c.Keys) > 0) == (c.Prefix != nil):
		return nil, badCall(`say what to fetch by one of: "keys": ["a", "b"], "prefix": "photos/"`)
	case c.Rate < 0 || c.Rate > maxPrewarmRate:
		return nil, badCall(`"rate" must be between 1 and %d objects per second`, maxPrewarmRate)
	case slices.ContainsFunc(c.Keys, func(k string) bool { return k == "" || len(k) > request.MaxKeyLen }):
		return nil, badCall(`a key in "keys" is empty, or longer than %d bytes`, request.MaxKeyLen)
	}
	b, err := r.bucket(c.Bucket)
	if err != nil {
		return nil, err
	}
	if b.Cached == nil {
		return nil, badCall("the bucket %q has no cache", b.Name)
	}
	p := &r.a.Prewarms
	p.mu.Lock()
	defer p.mu.Unlock()
	ended := func(j *prewarmJob) bool { return !j.state.Finished.IsZero() }
	running := 0
	for _, j := range p.jobs {
		if !ended(j) {
			running++
		}
	}
	if running >= maxPrewarmJobs || p.closed {
		return nil, &problem.Problem{Status: 429, Code: "too_many_jobs", Message: fmt.Sprintf("%d prewarm jobs are under way; wait for one, or cancel it", running), RetryAfter: 5}
	}
	if len(p.jobs) >= keptPrewarmJobs {
		oldest := slices.IndexFunc(p.jobs, ended)
		p.jobs = slices.Delete(p.jobs, oldest, oldest+1)
	}
	p.last++
	ctx, cancel := context.WithCancel(context.Background())
	j := &prewarmJob{a: r.a, cancel: cancel, state: PrewarmState{ID: strconv.Itoa(p.last), Bucket: b.Name, State: "running", Started: time.Now().UTC()}}
	p.jobs = append(p.jobs, j)
	p.wg.Go(func() { // ends with the keys, or by cancel
		defer cancel()
		list := keysOf(c.Keys)
		if c.Prefix != nil {
			list = b.Origin.Replicas[0].List(ctx, *c.Prefix)
		}
		j.run(ctx, cmp.Or(c.Rate, prewarmRate), list)
	})
	return j.state, nil
}

func keysOf(keys []string) iter.Seq[origin.Listed] {
	return func(yield func(origin.Listed) bool) {
		for _, k := range keys {
			if !yield(origin.Listed{Key: k, Size: -1}) {
				return
			}
		}
	}
}

// Close cancels all jobs and waits for them, until ctx ends: a fetch under way may
// take as long as its origin.
func (p *prewarmJobs) Close(ctx context.Context) {
	p.mu.Lock()
	p.closed = true
	for _, j := range p.jobs {
		j.cancel()
	}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { // ends with the last fetch
		p.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// prewarms returns the states of all jobs.
func (r *call) prewarms() (any, error) {
	p := &r.a.Prewarms
	p.mu.Lock()
	defer p.mu.Unlock()
	states := []PrewarmState{}
	for _, j := range p.jobs {
		states = append(states, j.state)
	}
	return map[string]any{"jobs": states}, nil
}

// prewarm returns the state of the job in the path. With DELETE it cancels the job, which
// begins no more fetches, and ends with those under way.
func (r *call) prewarm() (any, error) {
	p := &r.a.Prewarms
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.jobs, func(j *prewarmJob) bool { return j.state.ID == r.args[0] })
	if i < 0 {
		return nil, &problem.Problem{Status: 404, Code: "no_such_job", Message: "there is no prewarm job of this id; the oldest are forgotten"}
	}
	j := p.jobs[i]
	if r.method == fasthttp.MethodDelete {
		j.cancel()
		if j.state.Finished.IsZero() {
			j.state.State = "cancelling"
		}
	}
	return j.state, nil
}

// update changes the state of j by f, and returns it.
func (j *prewarmJob) update(f func(*PrewarmState)) PrewarmState {
	j.a.Prewarms.mu.Lock()
	defer j.a.Prewarms.mu.Unlock()
	f(&j.state)
	return j.state
}

// run fetches the objects of list, a few at a time and at most perSecond of them each second.
func (j *prewarmJob) run(ctx context.Context, perSecond int, list iter.Seq[origin.Listed]) {
	limit := rate.NewLimiter(rate.Limit(perSecond), 1)
	places := make(chan bool, prewarmConcurrency)
	var fetches sync.WaitGroup
	state, failure := "done", ""
	for k := range list {
		if k.Err != nil {
			state, failure = "failed", k.Err.Error()
			break
		}
		if limit.Wait(ctx) != nil {
			break
		}
		j.update(func(s *PrewarmState) { s.Found++ })
		places <- true
		fetches.Go(func() { // ends with the fetch
			defer func() { <-places }()
			if ctx.Err() == nil {
				j.fetch(ctx, k)
			}
		})
	}
	fetches.Wait()
	if ctx.Err() != nil {
		state, failure = "cancelled", ""
	}
	s := j.update(func(s *PrewarmState) {
		s.State, s.Error, s.Finished = state, cmp.Or(failure, s.Error), time.Now().UTC()
	})
	j.a.Log.Info().Str("bucket", s.Bucket).Str("state", s.State).Str("error", s.Error).Int("fetched", s.Fetched).
		Int("skipped", s.Skipped).Int("failed", s.Failed).Int64("bytes", s.Bytes).Msg("cache prewarmed")
}

// fetch stores one object, unless it is there. While other bodies that arrive, those of this
// job among them, leave no memory for it, fetch tries again: after 10 ms, at last after
// 2.56 s, for five seconds in all.
func (j *prewarmJob) fetch(ctx context.Context, k origin.Listed) {
	defer j.a.Origins.Background.Recover()
	size, stored, err := j.store(k)
	for wait := 10 * time.Millisecond; err == fill.ErrCrowded && wait < 5*time.Second; wait *= 2 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		size, stored, err = j.store(k)
	}
	j.update(func(s *PrewarmState) {
		switch {
		case err != nil:
			s.Failed++
			s.Error = fmt.Sprintf("the last one that failed: %s: %v", k.Key, err)
		case stored:
			s.Fetched++
			s.Bytes += int64(size)
		default:
			s.Skipped++
		}
	})
}

// store fetches an object by the configuration of the moment, and returns the size of its
// body.
func (j *prewarmJob) store(k origin.Listed) (size int, stored bool, err error) {
	b := j.a.Generation.Load().ByName[j.state.Bucket]
	if b == nil {
		return 0, false, fmt.Errorf("the bucket is no longer configured")
	}
	if c := b.Cached; c != nil && k.Size <= c.MaxObjectSize && request.CheckKey([]byte(k.Key), b.Keys) == nil {
		return c.Warm([]byte(k.Key))
	}
	return 0, false, nil
}
