package gateway

import (
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/config"
	"yatagarasu/pool"
)

// readiness knows which replicas can be reached, by probes in the background: one at a
// time per origin and credential, whatever the number of buckets there.
type readiness struct {
	mode    string // any, all or config
	buckets []*originBucket
	groups  [][]*replica
	done    chan struct{}
	wg      sync.WaitGroup

	mu     sync.Mutex // guards states
	states map[*replica]*replicaState
}

// replicaState is what the last probe of a replica found.
type replicaState struct {
	Name      string    `json:"name"`
	Reachable bool      `json:"reachable"`
	Reason    string    `json:"reason,omitempty"`
	Checked   time.Time `json:"checked,omitzero"`
	Breaker   string    `json:"breaker,omitempty"`

	Credentials *credentialState `json:"credentials,omitempty"` // if they are retrieved
}

// credentialState tells of credentials that are retrieved.
type credentialState struct {
	Source    string    `json:"source"`
	Expires   time.Time `json:"expires,omitzero"`
	Retrieved time.Time `json:"retrieved,omitzero"`
	Error     string    `json:"error,omitempty"` // of the last time
}

// credentialFault is what /ready says in place of an error, which may name accounts,
// roles and files: everybody may ask.
const credentialFault = "it cannot be retrieved; /admin/status and the log say why"

// credentialStateOf returns that of p; nil if its credential is static.
func credentialStateOf(p *replica) *credentialState {
	source := p.s3.Credentials.Source
	if source == config.SourceStatic {
		return nil
	}
	s := p.credentials.State()
	c := &credentialState{Source: source, Expires: s.Expires.UTC(), Retrieved: s.Retrieved.UTC()}
	if s.Err != nil {
		c.Error = s.Err.Error()
	}
	return c
}

// bucketState is that of the replica that is preferred among the reachable ones.
type bucketState struct {
	replicaState
	Replicas []replicaState `json:"replicas,omitempty"` // if there are several
}

// newReadiness returns the readiness of gen. What before knows of the same origins
// and credentials is taken over; before may be nil.
func newReadiness(origins []*originBucket, mode string, before *readiness) *readiness {
	r := &readiness{mode: mode, done: make(chan struct{}), buckets: origins, states: make(map[*replica]*replicaState)}
	index := make(map[access]int)
	wasReady := false
	if before != nil {
		before.mu.Lock()
		defer before.mu.Unlock()
		wasReady = before.isReady()
	}
	for _, b := range origins {
		for _, p := range b.replicas {
			if p.s3.ProbeInterval == 0 {
				continue
			}
			r.states[p] = before.stateOf(b, p, wasReady)
			n, ok := index[p.identity.access]
			if !ok {
				n = len(r.groups)
				index[p.identity.access] = n
				r.groups = append(r.groups, nil)
			}
			r.groups[n] = append(r.groups[n], p)
		}
	}
	return r
}

// stateOf returns what is known of a replica of the same bucket, origin and credential.
// A replica of which nothing is known counts, until it is probed, as its bucket did, or
// if that is new, as the gateway did: a reload alone does not make /ready fail. r may be
// nil, else r.mu is held.
func (r *readiness) stateOf(b *originBucket, p *replica, wasReady bool) *replicaState {
	s := &replicaState{Name: p.name, Reachable: wasReady}
	if r != nil && r.mode != "config" {
		for _, own := range r.buckets {
			if own.name != b.name {
				continue
			}
			if same := own.replicaOf(p.identity); same != nil && same.s3.Bucket == p.s3.Bucket && r.states[same] != nil {
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
func (r *readiness) of(b *originBucket) (s bucketState) {
	for i, p := range b.replicas {
		state, opens := p.health.breaker.State()
		one := replicaState{Name: p.name, Reachable: state != pool.BreakerOpen}
		if known := r.states[p]; known != nil {
			one = *known
		} else if !one.Reachable {
			one.Reason = problemBreaker.reason
		}
		if one.Credentials = credentialStateOf(p); one.Credentials != nil && one.Credentials.Error != "" {
			one.Credentials.Error = credentialFault
		}
		if opens > 0 {
			one.Breaker = state.String()
		}
		if i == 0 || one.Reachable && !s.Reachable {
			s.replicaState = one
		}
		if len(b.replicas) > 1 {
			s.Replicas = append(s.Replicas, one)
		}
	}
	s.Name = b.name
	return s
}

// report returns the status and the document of /ready.
func (r *readiness) report(draining bool) (int, any) {
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
		buckets := make([]bucketState, len(r.buckets))
		for i, b := range r.buckets {
			buckets[i] = r.of(b)
		}
		doc["buckets"] = buckets
	}
	return code, doc
}

// isReady tells whether what is known of the buckets is enough. r.mu is held.
func (r *readiness) isReady() bool {
	reachable := func(b *originBucket) bool { return r.of(b).Reachable }
	switch r.mode {
	case "config":
		return true
	case "all":
		return !slices.ContainsFunc(r.buckets, func(b *originBucket) bool { return !reachable(b) })
	}
	return slices.ContainsFunc(r.buckets, reachable)
}

// state returns what is known of a bucket; ok is false if it is not probed.
func (r *readiness) state(b *originBucket) (state bucketState, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of(b), r.mode != "config"
}

// known yields what is known of each bucket whose origins are probed, and of those origins.
func (r *readiness) known() iter.Seq2[bucketState, []replicaState] {
	return func(yield func(bucketState, []replicaState) bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.mode == "config" {
			return
		}
		for _, b := range r.buckets {
			var probed []replicaState
			for _, p := range b.replicas {
				if s := r.states[p]; s != nil {
					probed = append(probed, *s)
				}
			}
			if !yield(r.of(b), probed) {
				return
			}
		}
	}
}
