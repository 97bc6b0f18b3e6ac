package probe

import (
	"math/rand/v2"
	"time"
	"yatagarasu/gateway/origin"
	"yatagarasu/pool"

	"github.com/rs/zerolog"
)

// probeRetry is the probe interval while a replica is not reachable.
const probeRetry = time.Second

// probeSpacing is between the first probes of two origins: a thousand at once would
// take the processors, and the connections of the origin, from the first requests.
const probeSpacing = time.Millisecond

// Start begins to probe, one goroutine per origin and credential; stop ends
// them. In mode config nothing is probed.
func (r *Readiness) Start(log *zerolog.Logger) {
	if r.mode == "config" {
		return
	}
	for i, group := range r.Groups {
		r.wg.Go(func() { r.run(log, group, time.Duration(i)*probeSpacing) })
	}
}

func (r *Readiness) Stop() {
	close(r.done)
	r.wg.Wait()
}

// run probes the replicas of a group in turn: all at start, if any is not known, then
// one each interval, or each second while the last one failed. Those whose breaker waits
// for a probe get one beside that, one of them each second. The first comes after start.
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

// soon returns the time after about pause, so that edge nodes do not probe in step.
func soon(pause time.Duration) time.Time {
	return time.Now().Add(pause*4/5 + rand.N(pause*2/5+1))
}

// await waits until due, or until there is a replica whose breaker waits for a probe,
// and returns that; the search begins at the first-th. ok is false at the end.
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

// probe probes a replica of a group, and records what it finds.
func (r *Readiness) probe(log *zerolog.Logger, group []*origin.Replica, p *origin.Replica) (reason string, shared bool) {
	reason, shared = Probe(p)
	if reason == pool.ReasonQueue.String() || reason == pool.ReasonBuffers.String() {
		return r.last(p), false // it never left: no news of the origin
	}
	r.record(group, p, reason, shared)
	if reason != "" {
		log.Debug().Str("bucket", p.Metrics.Bucket).Str("origin", p.Name).Str("reason", reason).Msg("the origin is not reachable")
	}
	return reason, shared
}

// firstPause returns when to probe a group first.
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

// last returns the reason that the last probe of p found.
func (r *Readiness) last(p *origin.Replica) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states[p].Reason
}

// record notes the result of probing p, also for its breaker. A fault of the origin or
// the credential holds for the whole group.
func (r *Readiness) record(group []*origin.Replica, p *origin.Replica, reason string, shared bool) {
	now := time.Now().UTC()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range group {
		if o == p || shared {
			s := r.states[o]
			s.Reachable, s.Reason, s.Checked = reason == "", reason, now
			o.Health.Breaker.Probe(s.Reachable)
		}
	}
}

// Probe asks the origin for the bucket. An empty reason means that it is
// reachable; shared, that the fault is not the bucket's own.
func Probe(p *origin.Replica) (reason string, shared bool) {
	a, err := p.InquireBucket(false)
	if err != nil {
		return origin.ReasonOf(err), true
	}
	if a.Status < 300 {
		return "", false
	}
	o := a.Doc.Kind(a.Status)
	switch o.Reason {
	case "access_denied":
		return "", false // the key may read objects, only not list them
	case "no_such_bucket", "no_such_key":
		return "no_such_bucket", false // a HEAD of a bucket says 404 alone
	case "redirect_region":
		return o.Reason, false
	}
	return o.Reason, true
}
