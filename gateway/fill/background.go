package fill

import (
	"bytes"
	"errors"
	"fmt"
	"yatagarasu/cache"
	"yatagarasu/gateway/observe"
)

// maxFills is how many whole objects a bucket fetches at once because parts of them are
// asked for. No client waits for these: without a bound, one that asks for a byte of each
// object would have them take all connections to the origin, and all that it can send.
const maxFills = 4

// FillInBackground fetches the whole object of which a part is asked for, unless that is
// under way, or too many others are. The arguments are those of refresh.
func (c *Cache) FillInBackground(key, query, id, cacheKey []byte) {
	if c.fills.Add(1) > maxFills || !c.Refresh(key, query, id, cacheKey, func() { c.fills.Add(-1) }) {
		c.fills.Add(-1)
	}
}

// Refresh fetches or validates the object of a key and a query in the background, and then
// calls done. It does neither, and returns false, if that is under way. id is that of the
// request that it is done for, for the log, and cacheKey what AppendKey has for the object.
func (c *Cache) Refresh(key, query, id, cacheKey []byte, done func()) bool {
	f, leads, stale := c.join(cacheKey)
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

// runAlone is run, of a task whose response is of no use but for the cache.
func (t *Task) runAlone(f *cache.Flight, stale *cache.Object) Result {
	defer func() {
		if t.Fetch != nil {
			t.Fetch.Release()
		}
	}()
	return t.Run(f, stale)
}

// ErrCrowded is why an object could not be stored for now.
var ErrCrowded = errors.New("the cache has no memory left for bodies that arrive; try again when fewer do, or raise max_size")

// Warm stores the object of a key, unless it is there, by the flight that requests for it
// would join. It returns the size of the body that was fetched, and whether the object is
// stored by that.
func (c *Cache) Warm(key []byte) (size int, stored bool, err error) {
	cacheKey := c.AppendKey(nil, key, nil)
	f, leads, present := c.join(cacheKey)
	if leads && present != nil && !present.Stale() && present.Freshness.State(c.Options.Now()) == cache.Fresh {
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
