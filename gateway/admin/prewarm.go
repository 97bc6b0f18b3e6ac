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
	"yatagarasu/gateway/fill"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"

	"golang.org/x/time/rate"
)

// Bounds of prewarming.
const (
	prewarmRate        = 50 // objects per second, if the call does not say
	prewarmConcurrency = 4
	maxPrewarmRate     = 10_000
	maxPrewarmJobs     = 4  // under way at once
	keptPrewarmJobs    = 16 // finished ones that can be asked about
)

// prewarmCall is the body of a call that fills the cache.
type prewarmCall struct {
	Bucket string   `json:"bucket"`
	Keys   []string `json:"keys"`   // these objects
	Prefix *string  `json:"prefix"` // or those whose keys begin so, as S3 lists them
	Rate   int      `json:"rate"`   // objects per second
}

// PrewarmState is how far a job got.
type PrewarmState struct {
	ID       string    `json:"id"`
	Bucket   string    `json:"bucket"`
	State    string    `json:"state"` // running, cancelling, done, cancelled or failed
	Error    string    `json:"error,omitempty"`
	Found    int       `json:"found"`   // keys taken from the list so far
	Fetched  int       `json:"fetched"` // or validated, and stored
	Skipped  int       `json:"skipped"` // stored already, too large, or not stored
	Failed   int       `json:"failed"`
	Bytes    int64     `json:"bytes"` // of bodies fetched
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
}

// prewarmJob fills the cache with objects of one bucket.
type prewarmJob struct {
	a      *Server
	bucket string
	cancel context.CancelFunc

	mu    sync.Mutex // guards state
	state PrewarmState
}

// prewarmJobs are those under way and the last that ended.
type prewarmJobs struct {
	mu     sync.Mutex // guards the following fields
	last   int        // id
	jobs   []*prewarmJob
	closed bool
	wg     sync.WaitGroup // of jobs under way
}

// beginPrewarm starts a job and returns its state.
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
	list := func(context.Context) iter.Seq[origin.Listed] { return keysOf(c.Keys) }
	if c.Prefix != nil {
		list = func(ctx context.Context) iter.Seq[origin.Listed] { return b.Origin.Replicas[0].List(ctx, *c.Prefix) }
	}
	return r.a.Prewarms.begin(r.a, b.Name, cmp.Or(c.Rate, prewarmRate), list)
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

// begin starts a job, unless too many are under way.
func (p *prewarmJobs) begin(a *Server, bucket string, perSecond int, list func(context.Context) iter.Seq[origin.Listed]) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	running := 0
	for _, j := range p.jobs {
		if j.report().Finished.IsZero() {
			running++
		}
	}
	if running >= maxPrewarmJobs || p.closed {
		return nil, &problem.Problem{Status: 429, Code: "too_many_jobs", Message: fmt.Sprintf("%d prewarm jobs are under way; wait for one, or cancel it", running), RetryAfter: 5}
	}
	if len(p.jobs) >= keptPrewarmJobs {
		oldest := slices.IndexFunc(p.jobs, func(j *prewarmJob) bool { return !j.report().Finished.IsZero() })
		p.jobs = slices.Delete(p.jobs, oldest, oldest+1)
	}
	p.last++
	ctx, cancel := context.WithCancel(context.Background())
	j := &prewarmJob{a: a, bucket: bucket, cancel: cancel}
	j.state = PrewarmState{ID: strconv.Itoa(p.last), Bucket: bucket, State: "running", Started: time.Now().UTC()}
	p.jobs = append(p.jobs, j)
	p.wg.Go(func() { // ends with the list, or by cancel
		defer cancel()
		j.run(ctx, perSecond, list(ctx))
	})
	return j.report(), nil
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

// find returns the job that the path names.
func (r *call) findPrewarm() (*prewarmJob, error) {
	p := &r.a.Prewarms
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, j := range p.jobs {
		if j.state.ID == r.args[0] {
			return j, nil
		}
	}
	return nil, &problem.Problem{Status: 404, Code: "no_such_job", Message: "there is no prewarm job of this id; the oldest are forgotten"}
}

// prewarm answers how far a job got.
func (r *call) prewarm() (any, error) {
	j, err := r.findPrewarm()
	if err != nil {
		return nil, err
	}
	return j.report(), nil
}

// prewarms answers how far all jobs got.
func (r *call) prewarms() (any, error) {
	p := &r.a.Prewarms
	p.mu.Lock()
	defer p.mu.Unlock()
	states := []PrewarmState{}
	for _, j := range p.jobs {
		states = append(states, j.report())
	}
	return map[string]any{"jobs": states}, nil
}

// cancelPrewarm ends a job early: it fetches nothing more, and is over once what it is
// fetching has come, or failed.
func (r *call) cancelPrewarm() (any, error) {
	j, err := r.findPrewarm()
	if err != nil {
		return nil, err
	}
	j.cancel()
	j.update(func(s *PrewarmState) {
		if s.Finished.IsZero() {
			s.State = "cancelling"
		}
	})
	return j.report(), nil
}

func (j *prewarmJob) report() PrewarmState {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state
}

func (j *prewarmJob) update(f func(*PrewarmState)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(&j.state)
}

// run fetches what list yields, a few at a time and at most so many per second.
func (j *prewarmJob) run(ctx context.Context, perSecond int, list iter.Seq[origin.Listed]) {
	limit := rate.NewLimiter(rate.Limit(perSecond), 1)
	keys := make(chan origin.Listed)
	var workers sync.WaitGroup
	for range prewarmConcurrency {
		workers.Go(func() { // ends with keys or ctx
			for k := range keys {
				if ctx.Err() != nil {
					return
				}
				j.fetch(ctx, k)
			}
		})
	}
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
		select {
		case keys <- k:
		case <-ctx.Done():
		}
	}
	close(keys)
	workers.Wait()
	if ctx.Err() != nil {
		state, failure = "cancelled", ""
	}
	j.update(func(s *PrewarmState) {
		s.State, s.Error, s.Finished = state, cmp.Or(failure, s.Error), time.Now().UTC()
	})
	s := j.report()
	j.a.Log.Info().Str("bucket", s.Bucket).Str("state", s.State).Str("error", s.Error).Int("fetched", s.Fetched).
		Int("skipped", s.Skipped).Int("failed", s.Failed).Int64("bytes", s.Bytes).Msg("cache prewarmed")
}

// fetch stores one object, unless it is there. Where there is no memory for its body
// because of others that arrive, those of this job among them, it waits for some.
func (j *prewarmJob) fetch(ctx context.Context, k origin.Listed) {
	defer j.a.Origins.Background.Recover()
	size, stored, err := j.store(k)
	for wait := crowdedWait; err == fill.ErrCrowded && wait <= maxCrowdedWait; wait *= 2 {
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

// The waits for memory double from the one to the other: five seconds in all.
const (
	crowdedWait    = 10 * time.Millisecond
	maxCrowdedWait = 256 * crowdedWait
)

// store fetches an object. The bucket is that of the present configuration.
func (j *prewarmJob) store(k origin.Listed) (size int, stored bool, err error) {
	b := j.a.Generation.Load().Bucket(j.bucket)
	if b == nil {
		return 0, false, fmt.Errorf("the bucket is no longer configured")
	}
	if c := b.Cached; c != nil && k.Size <= c.MaxObjectSize {
		return c.Warm([]byte(k.Key))
	}
	return 0, false, nil
}
