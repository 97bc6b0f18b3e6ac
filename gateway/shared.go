package gateway

import (
	"sync"
	"yatagarasu/pool"
)

// shared is what the buckets of all generations share towards their origins. Its fields
// are set before the first request, and it is safe for concurrent use from then on.
type shared struct {
	*observer
	buffers    *pool.Buffers
	pace       *pool.Pace
	background background

	fetches sync.Pool // of *fetch
}

// background runs what no request waits for. The zero value is not usable: panicked has to
// be set. Safe for concurrent use.
type background struct {
	sync.WaitGroup // of what is under way
	panicked       func(p any)
}

// run runs f in a goroutine of its own, where a panic does not end the process.
func (b *background) run(f func()) {
	b.Go(func() { // ends with f
		defer b.recover()
		f()
	})
}

// recover keeps a panic from ending the process. It is for defer alone.
func (b *background) recover() {
	if p := recover(); p != nil {
		b.panicked(p)
	}
}
