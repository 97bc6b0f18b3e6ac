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
	"io"
	"sync"
	"sync/atomic"
)

// DefaultBufferSize is the size in bytes of one stream buffer.
const DefaultBufferSize = 64 << 10

// Buffers hands out read buffers of two fixed sizes. Each exchange with an origin
// holds one, from when it has a connection: first a small one for the response head,
// which is also enough for a body that is copied piece by piece, since no read of TLS
// brings more than a record; one of full size takes its place for a body that fits
// into that. A large first read would copy the begin of larger bodies, which the kernel
// moves itself; so an exchange begins with a full one only where the last body from the
// same origin was of that size.
//
// A Buffers is safe for concurrent use. Use NewBuffers; the zero value is not
// usable.
type Buffers struct {
	size  int
	max   int64 // of buffers in use; 0: no limit
	inUse atomic.Int64
	small sync.Pool // of *bufio.Reader, of smallSize bytes
	full  sync.Pool // of *bufio.Reader, of size bytes
}

// smallSize is a whole response head, or the largest record of TLS (RFC 8446, 5.1).
const smallSize = maxHead

// NewBuffers returns buffers of size bytes each, at least 16 KiB, the largest
// response head. At most limit of them are in use at once; 0 means no limit.
func NewBuffers(size, limit int) *Buffers {
	if size < maxHead {
		size = maxHead
	}
	b := &Buffers{size: size, max: int64(limit)}
	b.small.New = func() any { return bufio.NewReaderSize(nil, smallSize) }
	b.full.New = func() any { return bufio.NewReaderSize(nil, size) }
	return b
}

// Size returns the size of one buffer in bytes.
func (b *Buffers) Size() int { return b.size }

// acquire returns a buffer, a small one or one of full size, that the caller owns until
// release, or nil when all are in use.
func (b *Buffers) acquire(full bool) *bufio.Reader {
	if n := b.inUse.Add(1); b.max > 0 && n > b.max {
		b.inUse.Add(-1)
		return nil
	}
	if full {
		return b.full.Get().(*bufio.Reader)
	}
	return b.small.Get().(*bufio.Reader)
}

// exhausted tells whether acquire would return nil now.
func (b *Buffers) exhausted() bool { return b.max > 0 && b.inUse.Load() >= b.max }

// widen returns a buffer of full size in place of br, which is taken back, with all
// that br holds in it. It reads on from source.
func (b *Buffers) widen(br *bufio.Reader, source *joined) *bufio.Reader {
	wide := b.full.Get().(*bufio.Reader)
	source.first = br
	wide.Reset(source)
	wide.Peek(br.Buffered()) // no error: they are there
	source.first = nil
	b.put(br)
	return wide
}

// joined reads what first holds, and then the Reader.
type joined struct {
	first *bufio.Reader // nil: nothing
	io.Reader
}

// Read implements io.Reader.
func (j *joined) Read(b []byte) (int, error) {
	if j.first != nil {
		return j.first.Read(b)
	}
	return j.Reader.Read(b)
}

// release takes br back; the caller must not touch it afterwards.
func (b *Buffers) release(br *bufio.Reader) {
	b.put(br)
	b.inUse.Add(-1)
}

func (b *Buffers) put(br *bufio.Reader) {
	br.Reset(nil)
	if br.Size() == smallSize {
		b.small.Put(br)
	} else {
		b.full.Put(br)
	}
}

// InUse returns how many buffers are in use now.
func (b *Buffers) InUse() int { return int(b.inUse.Load()) }
