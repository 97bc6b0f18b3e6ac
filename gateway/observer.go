package gateway

import (
	"runtime/debug"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/config"
)

// observer is told of every request at its end, and of panics, and keeps what logs and
// metrics know. Safe for concurrent use once the logs are open.
type observer struct {
	log     logger
	logs    logs
	metrics *metricSet
	slow    slowList

	logging atomic.Pointer[config.Logging] // in effect
}

// observe counts and logs a request at its end, which took so long.
//
// Hot path: zero allocations, guarded by TestHitAllocs.
func (o *observer) observe(x *entry, took time.Duration) {
	m := x.metrics
	if m == nil {
		m = o.metrics.unrouted
	}
	m.request(x.method, x.status).Inc()
	m.answers.bytes.Add(uint64(x.bytes))
	a := m.answers.outcome(x.how)
	a.duration.observe(took)
	a.firstByte.observe(x.firstByte)
	o.slow.note(x, took)
	o.logAccess(x, took)
}

// panicked counts and logs a panic, from where it is recovered. id is that of the request,
// empty where none waits.
func (o *observer) panicked(p any, id []byte) {
	e := o.log.Error().Interface("panic", p).Bytes("stack", debug.Stack())
	what := "a background fetch panicked"
	if len(id) > 0 {
		e, what = e.Bytes("request_id", id), "request handler panicked"
	}
	e.Msg(what)
	o.metrics.panics.Inc()
}
