//go:build !race

package cache

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

const million = 1_000_000

// appendBenchKey appends the i-th key, of the length that paths have.
func appendBenchKey(dst []byte, i uint64) []byte {
	var name [64]byte
	return AppendKey(dst, binary.BigEndian.AppendUint64(append(name[:0], "assets/images/2024/photo-"...), i), []byte("bucket"))
}

var benchHeader = []byte("Content-Type: image/jpeg\r\nContent-Length: 1024\r\nETag: \"9a0364b9e99bb480dd25e1f0284c8555\"\r\n")

func benchObject(i uint64, body []byte) *Object {
	return &Object{Key: appendBenchKey(nil, i), Group: "bucket", Header: benchHeader, Body: body, Status: 200}
}

// filled returns a cache of n entries that share one body.
func filled(tb testing.TB, policy string, n, size int) *Cache {
	c := New(Options{MaxBytes: 64 << 30, Policy: policy})
	body := make([]byte, size)
	for i := range n {
		c.Put(benchObject(uint64(i), body))
	}
	if c.Len() != n {
		tb.Fatalf("%d entries, want %d", c.Len(), n)
	}
	return c
}

// requests are keys in the order of their use, one after the other in memory,
// as a request's key is at hand when it is looked up.
type requests struct{ bytes []byte }

const draws = 1 << 20

var benchKeySize = len(appendBenchKey(nil, 0))

func drawRequests(draw func() uint64) *requests {
	r := &requests{bytes: make([]byte, 0, draws*benchKeySize)}
	for range draws {
		// The order of keys is not that in which they were put in.
		r.bytes = appendBenchKey(r.bytes, draw()*7919%million)
	}
	return r
}

func (r *requests) at(i int) []byte {
	i = i % draws * benchKeySize
	return r.bytes[i : i+benchKeySize]
}

// BenchmarkCacheGet hits a cache of a million entries: one of them, a thousand
// or all equally often, or all by Zipf's law with s = 1.01. What is not hot is
// slow because it has to come from main memory; map is a baseline twin, a map
// under a lock, that keeps no order and bounds nothing.
func BenchmarkCacheGet(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	orders := []struct {
		name string
		keys *requests
	}{
		{"one", drawRequests(func() uint64 { return 7 })},
		{"hot1k", drawRequests(func() uint64 { return r.Uint64N(1000) })},
		{"zipf", drawRequests(rand.NewZipf(r, 1.01, 1, million-1).Uint64)},
		{"uniform", drawRequests(func() uint64 { return r.Uint64N(million) })},
	}
	for _, policy := range []string{PolicyLRU, PolicyTinyLFU} {
		b.Run("hit/1M/"+policy, func(b *testing.B) {
			c := filled(b, policy, million, 1024)
			for _, order := range orders {
				b.Run(order.name, func(b *testing.B) { measureGet(b, c.Get, order.keys) })
			}
		})
	}
	b.Run("hit/1M/map", func(b *testing.B) {
		var mu sync.RWMutex
		m := map[string]*Object{}
		for i := range uint64(million) {
			m[string(appendBenchKey(nil, i))] = benchObject(i, nil)
		}
		get := func(key []byte) *Object {
			mu.RLock()
			defer mu.RUnlock()
			return m[string(key)]
		}
		for _, order := range orders {
			b.Run(order.name, func(b *testing.B) { measureGet(b, get, order.keys) })
		}
	})
}

func measureGet(b *testing.B, get func([]byte) *Object, keys *requests) {
	for i := range draws { // as long-running processes have their memory mapped
		if get(keys.at(i)) == nil {
			b.Fatal("a miss")
		}
	}
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if get(keys.at(i)) == nil {
				b.Fatal("a miss")
			}
			i++
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		var begin atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			i := int(begin.Add(draws / 7))
			for pb.Next() {
				if get(keys.at(i)) == nil {
					b.Error("a miss")
				}
				i++
			}
		})
	})
}

// BenchmarkCachePut stores objects of 1 KiB; full evicts one for each.
func BenchmarkCachePut(b *testing.B) {
	for name, max := range map[string]int64{"free": 64 << 30, "full": 64 << 20} {
		for _, policy := range []string{PolicyLRU, PolicyTinyLFU} {
			b.Run("1KiB/"+name+"/"+policy, func(b *testing.B) {
				c := New(Options{MaxBytes: max, Policy: policy})
				body := make([]byte, 1024)
				for i := range uint64(100_000) {
					c.Put(benchObject(i, body))
				}
				b.ReportAllocs()
				i := uint64(100_000)
				for b.Loop() {
					c.Put(benchObject(i, body))
					i++
				}
				if c.Len() == 0 || c.Bytes() > max {
					b.Fatalf("%d entries, %d bytes", c.Len(), c.Bytes())
				}
			})
		}
	}
}
