package gateway

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Parts of the soft memory limit, in bytes.
const (
	memoryBase    = 32 << 20 // program, runtime, tables
	memoryPerConn = 32 << 10 // buffers and stack of a busy client connection
)

// usualGCPercent is GOGC while the gateway serves, without -gc.percent and GOGC. Requests leave
// next to no garbage, so the runtime's 100 would take memory for nothing; only handshakes with
// origins leave some.
const usualGCPercent = 50

// tune applies the settings of the runtime.
func (g *Gateway) tune() {
	switch {
	case g.opts.GCPercent > 0:
		debug.SetGCPercent(g.opts.GCPercent)
	case os.Getenv("GOGC") == "":
		debug.SetGCPercent(usualGCPercent)
	}
	if g.opts.MemoryLimit > 0 {
		debug.SetMemoryLimit(g.opts.MemoryLimit)
	}
}

// limitMemory keeps Go's soft memory limit at what the caches, the connections and the stream
// buffers need, until stop is closed. Without it, evicted objects would stay in memory until
// they are half as much as the caches hold. A limit set by flag or environment stays.
func (g *Gateway) limitMemory(stop <-chan struct{}) {
	if g.opts.MemoryLimit > 0 || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	last := int64(0)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for tick := time.NewTicker(250 * time.Millisecond); ; {
		if limit := g.memoryNeeded(); limit > 0 {
			// Never below the live heap: the collector would run all the time.
			metrics.Read(live)
			limit = max(limit, int64(live[0].Value.Uint64())*5/4+memoryBase)
			if limit != last {
				debug.SetMemoryLimit(limit)
				last = limit
			}
		}
		select {
		case <-tick.C:
		case <-stop:
			tick.Stop()
			return
		}
	}
}

// relieveMemory has slow readers give way where they hold too much memory, until stop is
// closed.
func (g *Gateway) relieveMemory(stop <-chan struct{}) {
	const every = 250 * time.Millisecond
	for tick := time.NewTicker(every); ; {
		select {
		case began := <-tick.C:
			gen := g.Generation.Load()
			gen.Budgets.Relieve(g.Origins.Pace)
			for _, b := range gen.Buckets {
				if b.Pages != nil {
					b.Pages.Room.Relieve(g.Origins.Pace)
				}
			}
			tick.Reset(max(every, 20*time.Since(began))) // at most a twentieth of a core
		case <-stop:
			tick.Stop()
			return
		}
	}
}

// memoryNeeded returns the present soft limit; 0: no bucket has a cache.
func (g *Gateway) memoryNeeded() int64 {
	gen := g.Generation.Load()
	cached, beside := gen.Budgets.Memory()
	if cached == 0 {
		return 0
	}
	for _, b := range gen.Buckets {
		if b.Pages != nil {
			beside += b.Pages.Room.Bytes()
		}
	}
	rest := int64(g.conns.Len())*memoryPerConn + int64(g.Origins.Buffers.InUse()*g.Origins.Buffers.Size()) + beside
	// A seventh may be garbage before it is collected, and more comes meanwhile.
	return (cached+rest)*23/20 + memoryBase
}
