package limit

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

func BenchmarkRate(b *testing.B) {
	b.Run("taken/parallel", func(b *testing.B) {
		r := NewRate(Limit{MaxPerSecond, 1 << 30})
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for now := time.Duration(0); pb.Next(); now += time.Microsecond {
				if r.Take(now) != 0 {
					b.Error("refused")
				}
			}
		})
	})
	b.Run("refused", func(b *testing.B) {
		r := NewRate(Limit{0.001, 1})
		r.Take(0)
		b.ReportAllocs()
		for b.Loop() {
			if r.Take(0) == 0 {
				b.Fatal("taken")
			}
		}
	})
}

func BenchmarkTable(b *testing.B) {
	for _, c := range []struct {
		name string
		keys uint64
	}{{"1 key", 1}, {"100000 keys", 100_000}, {"flood", 1 << 62}} {
		b.Run(c.name+"/parallel", func(b *testing.B) {
			table := NewTable(Limit{0.001, 1 << 30}, 1<<17)
			var next atomic.Uint64
			for i := range min(c.keys, 1<<20) {
				table.Take(i, 0)
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				key := next.Add(1) << 40
				for pb.Next() {
					key++
					if table.Take(key%c.keys, 0) != 0 {
						b.Error("refused")
					}
				}
			})
		})
	}
}

func BenchmarkAddresses(b *testing.B) {
	var deny []netip.Prefix
	for i := range 10_000 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(2*i)<<12)
		deny = append(deny, netip.PrefixFrom(netip.AddrFrom4(a), 20))
	}
	s := NewAddresses(nil, deny)
	in, out := netip.MustParseAddr("2.0.1.1"), netip.MustParseAddr("2.0.17.1")
	b.Run("10000 networks", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if s.Allow(in) || !s.Allow(out) {
				b.Fatal("wrong")
			}
		}
	})
}
