// Package probe asks origins at intervals whether they can be reached, for /ready, metrics and
// breakers.
package probe

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/config/upstream"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/pool"
)

// Readiness knows which replicas can be reached, by probes in the background: one at a
// time per origin and credential, whatever the number of buckets there. Use New, then Start;
// Stop ends the probes. Safe for concurrent use.
type Readiness struct {
	mode    string // server.ready: any, all or config
	buckets []*origin.Bucket
	Groups  map[origin.Access][]*origin.Replica
	done    chan struct{}
	wg      sync.WaitGroup

	mu     sync.Mutex // guards states, and the making of brief
	states map[*origin.Replica]*replicaState
	brief  atomic.Pointer[brief] // nil: a probe has found something since
}

// brief is what everybody may know. It is kept for briefTime, for whoever asks without end.
type brief struct {
	made        time.Time
	ready       bool
	unreachable int
}

const briefTime = 100 * time.Millisecond

// replicaState is what the last probe of a replica found.
type replicaState struct {
	Name      string    `json:"name"`
	Reachable bool      `json:"reachable"`
	Reason    string    `json:"reason,omitempty"`
	Checked   time.Time `json:"checked,omitzero"`
	Breaker   string    `json:"breaker,omitempty"`

	Credentials *CredentialState `json:"credentials,omitempty"` // if they are retrieved
}

// CredentialState is the state of credentials that are retrieved.
type CredentialState struct {
	Source    string    `json:"source"`
	Expires   time.Time `json:"expires,omitzero"`
	Retrieved time.Time `json:"retrieved,omitzero"`
	Error     string    `json:"error,omitempty"` // of the last retrieval
}

// CredentialFault stands in /ready for the error of a retrieval: who may ask for it need not have
// admin.token, and the error may name accounts, roles and files.
const CredentialFault = "it cannot be retrieved; /admin/status and the log say why"

// CredentialStateOf returns the state of p's credentials; nil if they are static.
func CredentialStateOf(p *origin.Replica) *CredentialState {
	source := p.S3.Credentials.Source
	if source == upstream.SourceStatic {
		return nil
	}
	s := p.Credentials.State()
	c := &CredentialState{Source: source, Expires: s.Expires.UTC(), Retrieved: s.Retrieved.UTC()}
	if s.Err != nil {
		c.Error = s.Err.Error()
	}
	return c
}

// BucketState is the state of a bucket: that of the preferred replica among the reachable
// ones.
type BucketState struct {
	replicaState
	Replicas []replicaState `json:"replicas,omitempty"` // if there are several
}

// New returns the readiness of origins. It takes over what before knows of the same replicas;
// before may be nil.
func New(origins []*origin.Bucket, mode string, before *Readiness) *Readiness {
	r := &Readiness{mode: mode, done: make(chan struct{}), buckets: origins, Groups: make(map[origin.Access][]*origin.Replica), states: make(map[*origin.Replica]*replicaState)}
	wasReady := false
	if before != nil {
		before.mu.Lock()
		defer before.mu.Unlock()
		wasReady = before.isReady()
	}
	for _, b := range origins {
		for _, p := range b.Replicas {
			if p.S3.ProbeInterval > 0 {
				r.states[p] = before.stateOf(b, p, wasReady)
				r.Groups[p.Identity.Access] = append(r.Groups[p.Identity.Access], p)
			}
		}
	}
	return r
}

// stateOf returns what r knows of p, a replica of a bucket of the same name, origin and
// credential. Until an unknown replica is probed, it counts as reachable if its bucket was, or
// for a new bucket, if the gateway was ready: a reload alone does not make /ready fail. r may
// be nil; else r.mu is held.
func (r *Readiness) stateOf(b *origin.Bucket, p *origin.Replica, wasReady bool) *replicaState {
	s := &replicaState{Name: p.Name, Reachable: wasReady}
	if r != nil && r.mode != "config" {
		for _, own := range r.buckets {
			if own.Name != b.Name {
				continue
			}
			if same := own.ReplicaOf(p.Identity); same != nil && same.S3.Bucket == p.S3.Bucket && r.states[same] != nil {
				state := *r.states[same]
				return &state
			}
			s.Reachable = r.of(own).Reachable
		}
	}
	if !s.Reachable {
		s.Reason = "not probed yet"
	}
	return s
}

// of returns the state of a bucket. A replica that is not probed is reachable if its breaker
// lets requests pass. r.mu is held.
func (r *Readiness) of(b *origin.Bucket) (s BucketState) {
	for i, p := range b.Replicas {
		state, opens := p.Health.Breaker.State()
		one := replicaState{Name: p.Name, Reachable: state != pool.BreakerOpen}
		if known := r.states[p]; known != nil {
			one = *known
		} else if !one.Reachable {
			one.Reason = problem.Breaker.Reason
		}
		if one.Credentials = CredentialStateOf(p); one.Credentials != nil && one.Credentials.Error != "" {
			one.Credentials.Error = CredentialFault
		}
		if opens > 0 {
			one.Breaker = state.String()
		}
		if i == 0 || one.Reachable && !s.Reachable {
			s.replicaState = one
		}
		if len(b.Replicas) > 1 {
			s.Replicas = append(s.Replicas, one)
		}
	}
	s.Name = b.Name
	return s
}

// Report returns the status code and the document of /ready. Everybody may ask for it on the
// clients' listener, where it counts the buckets that cannot be reached. The whole one, for
// operators, has the state of each.
func (r *Readiness) Report(draining, whole bool) (int, any) {
	short, buckets := r.brief.Load(), []BucketState(nil)
	if whole || short == nil || time.Since(short.made) > briefTime {
		short, buckets = r.look(whole)
	}
	code, status := fasthttp.StatusOK, "ready"
	switch {
	case draining:
		code, status = fasthttp.StatusServiceUnavailable, "stopping"
	case !short.ready:
		code, status = fasthttp.StatusServiceUnavailable, "not ready"
	}
	doc := map[string]any{"status": status}
	if r.mode == "config" {
		return code, doc
	}
	doc["unreachable"] = short.unreachable
	if whole {
		doc["buckets"] = buckets
	}
	return code, doc
}

// look returns the state of all buckets, which no other caller need look at for a while; the whole
// one beside the brief if it is wanted.
func (r *Readiness) look(whole bool) (*brief, []BucketState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if short := r.brief.Load(); !whole && short != nil && now.Sub(short.made) <= briefTime {
		return short, nil // another caller has just looked
	}
	short := &brief{made: now, ready: r.isReady()}
	var buckets []BucketState
	for _, b := range r.buckets {
		state := r.of(b)
		if !state.Reachable {
			short.unreachable++
		}
		if whole {
			buckets = append(buckets, state)
		}
	}
	r.brief.Store(short)
	return short, buckets
}

// isReady tells whether as many buckets are reachable as the mode wants. r.mu is held.
func (r *Readiness) isReady() bool {
	reachable := func(b *origin.Bucket) bool { return r.of(b).Reachable }
	switch r.mode {
	case "config":
		return true
	case "all":
		return !slices.ContainsFunc(r.buckets, func(b *origin.Bucket) bool { return !reachable(b) })
	}
	return slices.ContainsFunc(r.buckets, reachable)
}

// State returns the state of a bucket; probed is false in mode config.
func (r *Readiness) State(b *origin.Bucket) (state BucketState, probed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of(b), r.mode != "config"
}

// Reachable tells whether the last probe of p reached it; probed is false if there is none.
func (r *Readiness) Reachable(p *origin.Replica) (reachable, probed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.states[p]
	if s == nil || r.mode == "config" {
		return false, false
	}
	return s.Reachable, true
}
