package gateway

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The parts of the process's memory, for its soft limit, in bytes.
const (
	memoryBase    = 32 << 20 // program, runtime, tables
	memoryPerConn = 32 << 10 // buffers and stack of a busy client connection
)

// usualGCPercent is GOGC while the gateway serves, unless something else is asked for.
// Requests leave next to no garbage, so the runtime's 100 would buy nothing with the
// memory it takes. A handshake with an origin leaves some.
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

// limitMemory sets Go's soft memory limit to what the caches, the connections and
// the stream buffers need, and goes on to do so as they come and go, until stop is
// closed. Without it, what the caches evict would be left lying until it is half as
// much as what they hold. A limit that is set by flag or environment stays.
func (g *Gateway) limitMemory(stop <-chan struct{}) {
	if g.opts.MemoryLimit > 0 || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	last := int64(0)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for tick := time.NewTicker(250 * time.Millisecond); ; {
		if limit := g.memoryNeeded(); limit > 0 {
			// Never below what is alive, whatever that is: the collector would do
			// nothing but run.
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

// memoryNeeded returns the soft limit for now; 0 where no bucket has a cache.
func (g *Gateway) memoryNeeded() int64 {
	cached, pinned := g.Generation.Load().Budgets.Memory()
	if cached == 0 {
		return 0
	}
	rest := int64(g.conns.Len())*memoryPerConn + int64(g.Origins.Buffers.InUse()*g.Origins.Buffers.Size()) + pinned
	// Garbage of a seventh may lie about before it is collected; while that goes on,
	// more comes.
	return (cached+rest)*23/20 + memoryBase
}
