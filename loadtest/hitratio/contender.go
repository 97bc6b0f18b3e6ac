package main

import (
	"encoding/binary"

	"github.com/maypok86/otter/v2"

	"yatagarasu/cache"
)

// contenders are what the columns of the table compare. hits returns how many
// requests of a trace a cache of max bytes answers.
var contenders = []struct {
	name string
	hits func(t *trace, max int64) int
}{
	{cache.PolicyLRU, func(t *trace, max int64) int { return cacheHits(t, max, cache.PolicyLRU) }},
	{cache.PolicyTinyLFU, func(t *trace, max int64) int { return cacheHits(t, max, cache.PolicyTinyLFU) }},
	{"otter", otterHits},
	{"bound", boundHits},
}

// block has the bytes of all bodies.
var block [maxBody]byte

func appendKey(dst []byte, number uint32) []byte {
	return binary.BigEndian.AppendUint32(dst, number)
}

func (t *trace) object(number uint32) *cache.Object {
	n := t.sizes[number]
	return &cache.Object{Key: appendKey(make([]byte, 0, 4), number), Body: block[:n:n]}
}

func cacheHits(t *trace, max int64, policy string) int {
	c := cache.New(cache.Options{MaxBytes: max, MaxObjectBytes: max / 2, Policy: policy})
	hits := 0
	var key [4]byte
	for _, number := range t.ids {
		if c.Get(appendKey(key[:0], number)) != nil {
			hits++
			continue
		}
		c.Put(t.object(number))
	}
	return hits
}

func otterHits(t *trace, max int64) int {
	c := otter.Must(&otter.Options[uint32, int64]{
		MaximumWeight: uint64(max),
		Weigher:       func(_ uint32, size int64) uint32 { return uint32(size) },
		// Its upkeep runs at once, so that it neither lags behind nor holds more
		// than it may.
		Executor: func(f func()) { f() },
	})
	hits := 0
	for i, number := range t.ids {
		if _, ok := c.GetIfPresent(number); ok {
			hits++
		} else {
			c.Set(number, t.object(number).Size())
		}
		if i%16 == 0 {
			c.CleanUp()
		}
	}
	return hits
}
