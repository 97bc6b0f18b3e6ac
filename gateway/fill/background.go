package fill

import (
	"bytes"
	"errors"
	"fmt"

	"yatagarasu/cache"
	"yatagarasu/gateway/observe"
)

// maxFills is the number of whole objects that a bucket fetches at once because clients ask
// for parts of them. No client waits for these. Without a bound, a client that asks for a byte
// of each object would take all connections to the origin, and all its bandwidth.
const maxFills = 4

// always has any flight joined.
func always(*cache.Object) bool { return true }

// FillInBackground fetches the whole object of which a client asks for a part, unless that is
// under way, or maxFills others are. The arguments are those of Refresh.
func (c *Cache) FillInBackground(key, query, id, cacheKey []byte) {
	if c.fills.Add(1) > maxFills || !c.Refresh(key, query, id, cacheKey, func() { c.fills.Add(-1) }) {
		c.fills.Add(-1)
	}
}

// Refresh fetches or revalidates the object of a key and a query in the background, and then
// calls done. It does neither, and returns false, if a flight for the object is under way. id
// is the client request's, for the log; cacheKey is AppendKey's for the object. All arguments
// are copied.
func (c *Cache) Refresh(key, query, id, cacheKey []byte, done func()) bool {
	f, leads, stale := c.Join(cacheKey, always)
	if !leads {
		return false
	}
	t := &Task{Cache: c, Fetch: c.bucket.NewFetch(nil, key, query, id, nil), Key: bytes.Clone(cacheKey)}
	c.bucket.Shared.Background.Run(func() { // ends with the fetch
		defer done()
		if r := t.runAlone(f, stale); r.Flight != nil {
			r.Flight.Read(len(r.Object.Body)) // until it has ended
		}
	})
	return true
}

// runAlone runs a task whose response nobody but the cache uses, and releases its fetch.
func (t *Task) runAlone(f *cache.Flight, stale *cache.Object) Result {
	defer func() {
		if t.Fetch != nil {
			t.Fetch.Release()
		}
	}()
	return t.Run(f, stale)
}

// ErrCrowded is the error of an object that cannot be stored for now.
var ErrCrowded = errors.New("the cache has no memory left for bodies that arrive; try again when fewer do, or raise max_size")

// Warm stores the object of a key, unless it is stored and fresh, by a flight that requests for
// it can join. It returns the size of the body that was fetched, and whether the object was
// stored by this.
func (c *Cache) Warm(key []byte) (size int, stored bool, err error) {
	cacheKey := c.AppendKey(nil, key, nil)
	f, leads, present := c.Join(cacheKey, always)
	if now := c.Options.Now(); leads && present != nil && c.Cache.FreshnessAt(present, now).State(now) == cache.Fresh {
		if present.Status == StatusPass {
			f.Pass()
		} else {
			f.Land(present)
		}
		return 0, false, nil
	}
	var r Result
	lead := func() {
		t := &Task{Cache: c, Fetch: c.bucket.NewFetch(nil, key, nil, nil, nil), Key: cacheKey, wanted: true}
		r = t.runAlone(f, present)
	}
	if leads {
		lead()
	}
	state, o, err := f.Await()
	for state == cache.Orphaned {
		lead()
		state, o, err = f.Await()
	}
	if state != cache.Streaming && state != cache.Landed {
		if r.crowded {
			err = ErrCrowded
		}
		return 0, false, err
	}
	_, err = f.Read(len(o.Body)) // until the flight has ended
	if err == nil && o.Status != 200 {
		err = fmt.Errorf("the origin answers %d", o.Status)
	}
	// Not all that lands is stored: a purge came, it has surplus bytes, or it was led
	// by a client's request, and the policy prefers others.
	stored = err == nil && c.Cache.Peek(cacheKey) == o
	if stored && r.Outcome != observe.Revalidated {
		size = len(o.Body)
	}
	return size, stored, err
}
