package cache_test

import (
	"fmt"
	"sync"
	"time"

	"yatagarasu/cache"
)

// A response is stored, found, and marked stale by a purge; the origin then says
// that it has not changed.
func Example() {
	c := cache.New(cache.Options{MaxBytes: 64 << 20})

	key := cache.AppendKey(nil, []byte("photos/cat.jpg"), []byte("public"))
	now := time.Date(2024, time.May, 24, 0, 0, 0, 0, time.UTC)
	epoch := c.Epoch("public", key) // before the origin is asked
	c.PutSince(&cache.Object{
		Key:       key,
		Group:     "public",
		Header:    []byte("Content-Type: image/jpeg\r\n"),
		Body:      []byte("meow"),
		Tags:      []string{"cats"},
		ETag:      `"1"`,
		Freshness: cache.Freshness{Sent: now, Lifetime: time.Hour},
		Status:    200,
	}, epoch)

	hit := c.Get(key)
	fmt.Printf("%s, fresh: %v\n", hit.Body, !hit.Stale() && hit.Freshness.State(now) == cache.Fresh)

	fmt.Println("marked:", c.PurgePrefix("public", []byte("photos/"), true))
	fmt.Println("fresh:", !hit.Stale())

	revalidated := hit.Clone()
	revalidated.Freshness.Sent = now
	fmt.Println("replaced:", c.Replace(hit, revalidated, c.Epoch("public", key)))
	fmt.Println("fresh:", !c.Get(key).Stale())

	fmt.Println("dropped:", c.PurgeTag("public", "cats", false))
	fmt.Println("found:", c.Get(key) != nil)
	// Output:
	// meow, fresh: true
	// marked: 1
	// fresh: false
	// replaced: true
	// fresh: true
	// dropped: 1
	// found: false
}

// Three requests miss the same object: one asks the origin, and all of them read
// the body as it arrives.
func ExampleFlights() {
	c := cache.New(cache.Options{MaxBytes: 64 << 20})
	flights := cache.NewFlights()
	key := cache.AppendKey(nil, []byte("photos/cat.jpg"), []byte("public"))

	always := func(*cache.Object) bool { return true }
	f, leads := flights.JoinIf(key, c.Epoch("public", key), always)
	fmt.Println("the first leads:", leads)

	var bodies [2]string
	var followers sync.WaitGroup
	for i := range bodies {
		f, leads := flights.JoinIf(key, c.Epoch("public", key), always)
		fmt.Println("another leads:", leads)
		followers.Go(func() { // ends with the flight
			if state, _, _ := f.Await(); state != cache.Streaming && state != cache.Landed {
				return
			}
			for {
				b, err := f.Read(len(bodies[i]))
				if len(b) == 0 || err != nil {
					return
				}
				bodies[i] += string(b)
			}
		})
	}

	o := &cache.Object{Key: key, Group: "public", Body: make([]byte, 4), Status: 200}
	f.Stream(o)
	for i, piece := range []string{"me", "ow"} {
		copy(o.Body[2*i:], piece) // as the origin sends it
		f.Filled(2*i + 2)
	}
	c.PutSince(o, f.Epoch())
	f.Land(o)
	followers.Wait()
	fmt.Println(bodies[0], bodies[1], flights.Len())
	// Output:
	// the first leads: true
	// another leads: false
	// another leads: false
	// meow meow 0
}
