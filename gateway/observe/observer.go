// Package observe is told of every request at its end, and keeps what logs and metrics know:
// the access and audit logs, counters, histograms, and the slowest requests.
package observe

import (
	"runtime/debug"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/config"
)

// Observer is told of every request at its end, and of panics, and keeps what logs and
// metrics know. Safe for concurrent use once the logs are open.
type Observer struct {
	Log     Logger
	Logs    logs
	Metrics *Metrics
	Slow    SlowList

	Logging atomic.Pointer[config.Logging] // in effect
}

// Told counts and logs a request at its end, which took so long.
//
// Hot path: zero allocations, guarded by TestHitAllocs.
func (o *Observer) Told(x *Entry, took time.Duration) {
	m := x.Bucket
	if m == nil {
		m = o.Metrics.unrouted
	}
	m.Request(x.Method, x.Status).Inc()
	m.Answers.Bytes.Add(uint64(x.Bytes))
	a := m.Answers.Outcome(x.Cache)
	a.Duration.Observe(took)
	a.FirstByte.Observe(x.FirstByte)
	o.Slow.note(x, took)
	o.logAccess(x, took)
}

// Panicked counts and logs a panic, from where it is recovered. id is that of the request,
// empty where none waits.
func (o *Observer) Panicked(p any, id []byte) {
	e := o.Log.Error().Interface("panic", p).Bytes("stack", debug.Stack())
	what := "a background fetch panicked"
	if len(id) > 0 {
		e, what = e.Bytes("request_id", id), "request handler panicked"
	}
	e.Msg(what)
	o.Metrics.Panics.Inc()
}
