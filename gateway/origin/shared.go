package origin

import (
	"sync"
	"yatagarasu/gateway/observe"
	"yatagarasu/pool"
)

// Shared is what the buckets of all generations share towards their origins. Its fields
// are set before the first request, and it is safe for concurrent use from then on.
type Shared struct {
	*observe.Observer
	Buffers    *pool.Buffers
	Pace       *pool.Pace
	Background Background

	fetches sync.Pool // of *fetch
}

// Background runs what no request waits for. The zero value is not usable: panicked has to
// be set. Safe for concurrent use.
type Background struct {
	sync.WaitGroup // of what is under way
	Panicked       func(p any)
}

// Run runs f in a goroutine of its own, where a panic does not end the process.
func (b *Background) Run(f func()) {
	b.Go(func() { // ends with f
		defer b.Recover()
		f()
	})
}

// Recover keeps a panic from ending the process. It is for defer alone.
func (b *Background) Recover() {
	if p := recover(); p != nil {
		b.Panicked(p)
	}
}
