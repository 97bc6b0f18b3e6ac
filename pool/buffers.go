// Package pool owns the connections to origins and the buffers that bodies
// stream through.
//
// An [Upstream] is a bounded set of keep-alive connections to one origin under
// one credential. [Upstream.Do] sends a request that was assembled elsewhere
// and reads the response head into an [Exchange], which then delivers exactly
// Content-Length body bytes, in constant memory. A [Pace] cuts responses whose
// reader, or whose origin, is too slow to be worth a connection.
package pool

import (
	"bufio"
	"sync"
	"sync/atomic"
)

// DefaultBufferSize is the size in bytes of one stream buffer.
const DefaultBufferSize = 64 << 10

// Buffers hands out read buffers of one fixed size. Each exchange with an
// origin holds at most one: it receives the response head, all of a body that
// fits, and, where the kernel cannot move the bytes itself, larger bodies piece
// by piece.
//
// A Buffers is safe for concurrent use. Use NewBuffers; the zero value is not
// usable.
type Buffers struct {
	size  int
	max   int64 // most buffers in use at once; 0: no limit
	inUse atomic.Int64
	pool  sync.Pool // of *bufio.Reader
}

// NewBuffers returns buffers of size bytes each, at least 16 KiB, the largest
// response head. At most limit of them are in use at once; 0 means no limit.
func NewBuffers(size, limit int) *Buffers {
	if size < maxHead {
		size = maxHead
	}
	b := &Buffers{size: size, max: int64(limit)}
	b.pool.New = func() any { return bufio.NewReaderSize(nil, size) }
	return b
}

// Size returns the size of one buffer in bytes.
func (b *Buffers) Size() int { return b.size }

// acquire returns a buffer that the caller owns until release, or nil when all
// are in use.
func (b *Buffers) acquire() *bufio.Reader {
	if n := b.inUse.Add(1); b.max > 0 && n > b.max {
		b.inUse.Add(-1)
		return nil
	}
	return b.pool.Get().(*bufio.Reader)
}

// release takes br back; the caller must not touch it afterwards.
func (b *Buffers) release(br *bufio.Reader) {
	br.Reset(nil)
	b.inUse.Add(-1)
	b.pool.Put(br)
}

// InUse returns how many buffers are in use now.
func (b *Buffers) InUse() int { return int(b.inUse.Load()) }
