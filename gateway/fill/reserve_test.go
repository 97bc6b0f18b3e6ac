package fill

import (
	"fmt"
	"net"
	"testing"
	"time"

	"yatagarasu/cache"
	"yatagarasu/gateway/origin"
	"yatagarasu/pool"
)

// TestReserve has bodies arrive while others are read that are not stored.
func TestReserve(t *testing.T) {
	const size = 10_000 // of the body that arrives
	for name, c := range map[string]struct {
		pinned   int64 // in percent of the cache
		client   uint64
		readers  uint64 // client of those who read
		popular  bool   // the object that arrives
		wanted   bool
		arriving int64 // in percent
		want     bool
	}{
		"nothing is read":                           {want: true},
		"as much is read as may be":                 {pinned: 25, want: true},
		"more, and the policy would not store it":   {pinned: 30, readers: 1, client: 2},
		"more, and the policy would":                {pinned: 30, readers: 1, client: 2, popular: true, want: true},
		"more, and it is prewarmed":                 {pinned: 30, readers: 1, wanted: true, want: true},
		"more, by the client that asks":             {pinned: 30, readers: 1, client: 1, popular: true},
		"more, and it is the gateway's own":         {pinned: 30, popular: true, want: true},
		"much more":                                 {pinned: 55, readers: 1, client: 2, popular: true, want: true},
		"much more, by the client that asks":        {pinned: 55, readers: 1, client: 1, popular: true},
		"too much":                                  {pinned: 80, readers: 1, client: 2, popular: true},
		"what arrives takes its room":               {arriving: 25, want: false},
		"what arrives takes its room, nothing else": {arriving: 20, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := cache.Options{MaxBytes: 1 << 20, Policy: cache.PolicyTinyLFU}
			b := &Budget{Cache: cache.New(o), Options: o}
			full := int64(1 << 20)
			for range 8 { // what is stored is asked for often
				for i := range 110 {
					key := []byte(fmt.Sprint("stored", i))
					if b.Cache.Get(key) == nil {
						b.Cache.Put(&cache.Object{Key: key, Body: make([]byte, 10_000)})
					}
				}
			}
			pace := pool.NewPace(0, time.Minute)
			defer pace.Stop()
			if c.pinned > 0 {
				read := &cache.Object{Body: make([]byte, full*c.pinned/100)}
				b.Cache.Pin(read)
				client, other := net.Pipe()
				defer client.Close()
				defer other.Close()
				var s pool.Sending
				s.Begin(client, pace, b.Claim(read, c.readers, len(read.Body)))
				defer s.End()
			}
			if c.arriving > 0 && !b.Cache.Reserve(new(cache.Object), full*c.arriving/100, full) {
				t.Fatal("nothing arrives")
			}
			key := []byte("x")
			for range 60 {
				if c.popular {
					b.Cache.Get(key)
				}
			}
			task := &Task{wanted: c.wanted, Fetch: &origin.Fetch{Client: c.client, Bucket: &origin.Bucket{Shared: &origin.Shared{Pace: pace}}}}
			if got := b.reserve(task, &cache.Object{Key: key}, size); got != c.want {
				t.Errorf("%t, want %t", got, c.want)
			}
		})
	}
}
