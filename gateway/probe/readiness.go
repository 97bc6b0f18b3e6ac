// Package probe asks origins at intervals whether they can be reached, for /ready, metrics and
// breakers.
package probe

import (
	"slices"
	"sync"
	"time"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/problem"
	"yatagarasu/pool"

	"github.com/valyala/fasthttp"
)

// Readiness knows which replicas can be reached, by probes in the background: one at a
// time per origin and credential, whatever the number of buckets there.
type Readiness struct {
	mode    string // any, all or config
	buckets []*origin.Bucket
	Groups  [][]*origin.Replica
	done    chan struct{}
	wg      sync.WaitGroup

	mu     sync.Mutex // guards states
	states map[*origin.Replica]*replicaState
}

// replicaState is what the last probe of a replica found.
type replicaState struct {
	Name      string    `json:"name"`
	Reachable bool      `json:"reachable"`
	Reason    string    `json:"reason,omitempty"`
	Checked   time.Time `json:"checked,omitzero"`
	Breaker   string    `json:"breaker,omitempty"`

	Credentials *CredentialState `json:"credentials,omitempty"` // if they are retrieved
}

// CredentialState tells of credentials that are retrieved.
type CredentialState struct {
	Source    string    `json:"source"`
	Expires   time.Time `json:"expires,omitzero"`
	Retrieved time.Time `json:"retrieved,omitzero"`
	Error     string    `json:"error,omitempty"` // of the last time
}

// CredentialFault is what /ready says in place of an error, which may name accounts,
// roles and files: everybody may ask.
const CredentialFault = "it cannot be retrieved; /admin/status and the log say why"

// CredentialStateOf returns that of p; nil if its credential is static.
func CredentialStateOf(p *origin.Replica) *CredentialState {
	source := p.S3.Credentials.Source
	if source == config.SourceStatic {
		return nil
	}
	s := p.Credentials.State()
	c := &CredentialState{Source: source, Expires: s.Expires.UTC(), Retrieved: s.Retrieved.UTC()}
	if s.Err != nil {
		c.Error = s.Err.Error()
	}
	return c
}

// BucketState is that of the replica that is preferred among the reachable ones.
type BucketState struct {
	replicaState
	Replicas []replicaState `json:"replicas,omitempty"` // if there are several
}

// New returns the readiness of gen. What before knows of the same origins
// and credentials is taken over; before may be nil.
func New(origins []*origin.Bucket, mode string, before *Readiness) *Readiness {
	r := &Readiness{mode: mode, done: make(chan struct{}), buckets: origins, states: make(map[*origin.Replica]*replicaState)}
	index := make(map[origin.Access]int)
	wasReady := false
	if before != nil {
		before.mu.Lock()
		defer before.mu.Unlock()
		wasReady = before.isReady()
	}
	for _, b := range origins {
		for _, p := range b.Replicas {
			if p.S3.ProbeInterval == 0 {
				continue
			}
			r.states[p] = before.stateOf(b, p, wasReady)
			n, ok := index[p.Identity.Access]
			if !ok {
				n = len(r.Groups)
				index[p.Identity.Access] = n
				r.Groups = append(r.Groups, nil)
			}
			r.Groups[n] = append(r.Groups[n], p)
		}
	}
	return r
}

// stateOf returns what is known of a replica of the same bucket, origin and credential.
// A replica of which nothing is known counts, until it is probed, as its bucket did, or
// if that is new, as the gateway did: a reload alone does not make /ready fail. r may be
// nil, else r.mu is held.
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

// of returns what is known of a bucket: of its replicas that are not probed, whether
// their breakers let requests pass. r.mu is held.
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

// Report returns the status and the document of /ready.
func (r *Readiness) Report(draining bool) (int, any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	code, status := fasthttp.StatusOK, "ready"
	switch {
	case draining:
		code, status = fasthttp.StatusServiceUnavailable, "stopping"
	case !r.isReady():
		code, status = fasthttp.StatusServiceUnavailable, "not ready"
	}
	doc := map[string]any{"status": status}
	if r.mode != "config" {
		buckets := make([]BucketState, len(r.buckets))
		for i, b := range r.buckets {
			buckets[i] = r.of(b)
		}
		doc["buckets"] = buckets
	}
	return code, doc
}

// isReady tells whether what is known of the buckets is enough. r.mu is held.
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

// State returns what is known of a bucket; ok is false if it is not probed.
func (r *Readiness) State(b *origin.Bucket) (state BucketState, ok bool) {
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
