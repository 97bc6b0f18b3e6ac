package probe

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"yatagarasu/gateway/origin"
	"yatagarasu/pool"
)

// probeRetry is the probe interval while a replica is not reachable.
const probeRetry = time.Second

// probeSpacing is the time between the first probes of two origins: a thousand at once would
// take the processors, and the connections of the origin, from the first requests.
const probeSpacing = time.Millisecond

// Start begins to probe, in one goroutine per origin and credential. In mode config nothing is
// probed.
func (r *Readiness) Start(log *zerolog.Logger) {
	if r.mode == "config" {
		return
	}
	var delay time.Duration
	for _, group := range r.Groups {
		first := delay
		r.wg.Go(func() { r.run(log, group, first) }) // ended by Stop
		delay += probeSpacing
	}
}

// Stop ends the probes, and waits for those under way. It is called once.
func (r *Readiness) Stop() {
	close(r.done)
	r.wg.Wait()
}

// run probes the replicas of a group in turn: after start all of them, if one is unknown, then
// one each interval, or each second while probes fail. Beside that, it probes a replica whose
// breaker waits for it, one each second.
func (r *Readiness) run(log *zerolog.Logger, group []*origin.Replica, start time.Duration) {
	due := soon(max(r.firstPause(group), start))
	for turn, beside := 0, 0; ; {
		p, ok := r.await(group, beside, due)
		switch {
		case !ok:
			return
		case p != nil:
			beside++
			r.probe(log, group, p)
			continue
		}
		p = group[turn%len(group)]
		turn++
		reason, shared := r.probe(log, group, p)
		switch {
		case turn < len(group) && !shared:
			due = time.Now()
		case reason != "":
			due = soon(min(probeRetry, p.S3.ProbeInterval))
		default:
			due = soon(p.S3.ProbeInterval)
		}
	}
}

// soon returns the end of a pause of about this length, so that edge nodes do not probe in
// step.
func soon(pause time.Duration) time.Time {
	return time.Now().Add(pause*4/5 + rand.N(pause*2/5+1))
}

// await waits until due and returns nil, or returns a replica earlier whose breaker waits for
// a probe, searching from the one at index first. ok is false when the probes end.
func (r *Readiness) await(group []*origin.Replica, first int, due time.Time) (p *origin.Replica, ok bool) {
	for {
		left := time.Until(due)
		select {
		case <-time.After(min(left, probeRetry)):
		case <-r.done:
			return nil, false
		}
		if left <= probeRetry {
			return nil, true
		}
		for i := range group {
			if p := group[(first+i)%len(group)]; p.Health.Breaker.AwaitsProbe() {
				return p, true
			}
		}
	}
}

// probe probes a replica of a group, and notes the result, also for breakers. A fault of
// the origin or the credential holds for the whole group. It logs changes, as /ready tells
// everybody on the clients' listener no more than how many buckets cannot be reached.
func (r *Readiness) probe(log *zerolog.Logger, group []*origin.Replica, p *origin.Replica) (reason string, shared bool) {
	reason, shared = Probe(p)
	unsent := slices.Contains([]string{pool.ReasonQueue.String(), pool.ReasonBuffers.String(), pool.ReasonDescriptors.String()}, reason)
	now := time.Now().UTC()
	var changed []*origin.Replica
	r.mu.Lock()
	defer func() {
		r.mu.Unlock()
		for _, o := range changed {
			event, what := log.Info(), "the origin can be reached again"
			if reason != "" {
				event, what = log.Warn().Str("reason", reason), "the origin cannot be reached"
			}
			event.Str("bucket", o.Metrics.Bucket).Str("origin", o.Name).Msg(what)
		}
	}()
	if unsent {
		return r.states[p].Reason, false // no news of the origin
	}
	for _, o := range group {
		if o == p || shared {
			s := r.states[o]
			if (reason == "") != (s.Reachable || s.Checked.IsZero()) {
				changed = append(changed, o)
			}
			s.Reachable, s.Reason, s.Checked = reason == "", reason, now
			o.Health.Breaker.Probe(s.Reachable)
			r.brief.Store(nil)
		}
	}
	return reason, shared
}

// firstPause returns how long the first probe of a group can wait.
func (r *Readiness) firstPause(group []*origin.Replica) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	pause := group[0].S3.ProbeInterval
	for _, p := range group {
		switch s := r.states[p]; {
		case s.Checked.IsZero():
			return 0
		case !s.Reachable:
			pause = min(probeRetry, pause)
		}
	}
	return pause
}

// Probe asks a replica for its bucket. An empty reason means that the bucket is reachable;
// shared, that other buckets of the same origin and credential have the fault, too.
func Probe(p *origin.Replica) (reason string, shared bool) {
	a, err := p.InquireBucket(false)
	if err != nil {
		return origin.NewError(err).Reason, true
	}
	if a.Status < 300 {
		return "", false
	}
	o := a.Doc.Kind(a.Status)
	switch o.Reason {
	case "access_denied":
		return "", false // the credential may still read objects
	case "no_such_bucket", "no_such_key":
		return "no_such_bucket", false // the answer to HEAD is a bare 404
	case "redirect_region":
		return o.Reason, false
	}
	return o.Reason, true
}
