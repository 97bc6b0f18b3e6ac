package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"
	"golang.org/x/time/rate"

	"yatagarasu/cache"
	"yatagarasu/gateway/config/shared"
	"yatagarasu/gateway/limit"
	"yatagarasu/gateway/sealed"
)

// Outcome is what came of asking Valkey for an object, or giving it one.
type Outcome uint8

// The outcomes.
const (
	Found    Outcome = iota // it is there, and good
	Absent                  // nothing is there
	Outdated                // it was purged, is too old, or may have been purged unseen
	Foreign                 // it was not sealed by a gateway with this secret, or not for this object
	Failed                  // Valkey did not answer in time
	Skipped                 // Valkey was not asked: the breaker is open, too many ask, or purges are not followed
	Written                 // it is stored
	Dropped                 // the queue is full
	Marked                  // it is the first time that it was to be stored, and the second counts
	numOutcomes
)

// Outcomes are their names in the labels of metrics.
var Outcomes = [numOutcomes]string{"found", "absent", "outdated", "foreign", "failed", "skipped", "written", "dropped", "marked"}

const (
	writers      = 4
	maxWaiting   = 8192        // writes, whatever their sizes
	maxInFlight  = 256         // reads, whatever their sizes
	inFlightMost = 64 << 20    // bytes of reads
	headMost     = 4 << 10     // bytes that are read to see whether an object was renewed
	longestHead  = 64 << 10    // bytes of a head that is stored
	absentRate   = 100         // notes of absent objects in a second
	leastLife    = time.Second // below it, an object is not worth storing
	mark         = "1"         // in place of an object that was fetched once; shorter than any
)

// store has what the shelves of all buckets share.
type store struct {
	o             *shared.ClusterStore
	breaker       limit.Breaker
	reading       chan struct{} // one for each read under way
	absent        *rate.Limiter
	queue         chan write
	queued        atomic.Int64 // bytes
	reads, writes [numOutcomes]atomic.Uint64
}

// write is an object on its way to Valkey.
type write struct {
	shelf  *Shelf
	object *cache.Object
	at     *place
}

func newStore(c *shared.ClusterStore) *store {
	return &store{
		o: c, queue: make(chan write, maxWaiting), absent: rate.NewLimiter(absentRate, absentRate),
		reading: make(chan struct{}, min(max(inFlightMost/max(int(c.MaxObjectSize), 1), 1), maxInFlight)),
	}
}

// Shelf is the part of one bucket in what gateways share. Get one by Node.Shelf. It does not change,
// and is safe for concurrent use.
type Shelf struct {
	node   *Node
	bucket string
	box    *sealed.Box
}

// Shelf returns the shelf of a bucket at an origin; nil: nothing is shared.
func (n *Node) Shelf(bucket string, origin []byte) *Shelf {
	c := n.opts.Config
	if !c.Store.Enabled {
		return nil
	}
	return &Shelf{node: n, bucket: bucket, box: sealed.NewBox(c.Secret.Reveal(), c.Namespace, bucket, origin)}
}

// Place is what was purged at a moment.
type Place struct{ at *place }

// Place returns what is purged now. Call it before the origin is asked for what may be stored.
func (s *Shelf) Place() Place { return Place{s.node.place.Load()} }

// key returns the key of an object at Valkey.
func (s *Shelf) key(cacheKey []byte) string {
	return s.node.keys.objects + s.box.Name(cacheKey)
}

// Item is an object that gateways share.
type Item struct {
	Status     int
	Head, Body []byte
	Freshness  cache.Freshness
}

// Get returns the object with a key of the cache, if a gateway has stored it and it was not purged
// since. With headAlone, it returns no body: that is enough to see whether an object in memory was
// renewed. now is the present. It takes no longer than store.timeout.
func (s *Shelf) Get(cacheKey []byte, headAlone bool, tags func(head []byte) []string, now time.Time) (*Item, bool) {
	st := s.node.store
	item, outcome := s.get(cacheKey, headAlone, tags, now)
	st.reads[outcome].Add(1)
	return item, outcome == Found
}

func (s *Shelf) get(cacheKey []byte, headAlone bool, tags func(head []byte) []string, now time.Time) (*Item, Outcome) {
	n, st := s.node, s.node.store
	verified, client := n.Lease.Verified(), n.ready()
	if client == nil || cache.Elapsed(now, verified) > followed || !st.breaker.Allows(now) {
		return nil, Skipped
	}
	select {
	case st.reading <- struct{}{}:
		defer func() { <-st.reading }()
	default:
		return nil, Skipped
	}
	ctx, cancel := context.WithTimeout(context.Background(), st.o.Timeout)
	defer cancel()
	key := s.key(cacheKey)
	most := int64(headMost)
	if !headAlone {
		most = sealed.HeaderSize + int64(st.o.MaxObjectSize) + longestHead // whatever somebody else has stored there
	}
	// How long it stays is asked first: it is too little for what is stored in between, and never too much.
	replies := client.DoMulti(ctx, client.B().Pttl().Key(key).Build(), client.B().Getrange().Key(key).Start(0).End(most-1).Build())
	left, leftErr := replies[0].AsInt64()
	value, err := replies[1].AsBytes()
	ok := err == nil && leftErr == nil
	if st.breaker.Report(ok, now); !ok {
		return nil, Failed
	}
	if len(value) == 0 || left == -2 || string(value) == mark {
		return nil, Absent
	}
	h, err := sealed.ReadHeader(value)
	if err != nil || left < 0 { // none of ours is without an end
		return nil, Foreign
	}
	if headAlone && h.HeadEnd() > len(value) {
		return nil, Absent // its head is longer than most
	}
	head, body, err := s.box.Open(cacheKey, &h, value, !headAlone)
	if err != nil {
		return nil, Foreign
	}
	if !n.ledger.holds(h.Log, h.Position, s.bucket, cache.NameOf(cacheKey), tags(head)) {
		return nil, Outdated
	}
	return &Item{Status: h.Status, Head: head, Body: body, Freshness: h.FreshnessAt(time.Duration(left)*time.Millisecond, verified, now)}, Found
}

// followed is how old the last news of purges may be for what is shared to be used.
const followed = block + 2*time.Second

// Put stores an object of the cache for all gateways, in the background, if it is worth that. at is
// what was purged when the origin was asked for it.
func (s *Shelf) Put(o *cache.Object, at Place) {
	st := s.node.store
	if at.at == nil || len(o.Body) > int(st.o.MaxObjectSize) || len(o.Header) > longestHead-2*sealed.TagSize || o.Status == 404 && !st.absent.Allow() {
		return
	}
	size := int64(len(o.Body) + len(o.Header))
	if st.queued.Add(size) <= int64(st.o.WriteQueue) {
		select {
		case st.queue <- write{s, o, at.at}:
			return
		default:
		}
	}
	st.queued.Add(-size)
	st.writes[Dropped].Add(1)
}

// write stores what is queued until ctx ends.
func (n *Node) write(ctx context.Context) {
	for {
		select {
		case w := <-n.store.queue:
			n.store.writes[w.shelf.put(w.object, w.at)].Add(1)
			n.store.queued.Add(-int64(len(w.object.Body) + len(w.object.Header)))
		case <-ctx.Done():
			return
		}
	}
}

func (s *Shelf) put(o *cache.Object, at *place) Outcome {
	n, st, now := s.node, s.node.store, time.Now()
	client := n.ready()
	if client == nil || !st.breaker.Allows(now) {
		return Skipped
	}
	f := &o.Freshness
	sinceSent := max(cache.Elapsed(now, f.Sent), 0)
	keep := min(f.Lifetime-f.Received-sinceSent, st.o.MaxTTL)
	if keep < leastLife {
		return Outdated
	}
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	key := s.key(o.Key)
	if st.o.Admit == shared.AdmitSecond {
		err := client.Do(ctx, client.B().Set().Key(key).Value(mark).Nx().Px(st.o.MaxTTL).Build()).Error()
		if !valkey.IsValkeyNil(err) { // then something is there: the mark of an earlier fetch, or what was stored after it
			return st.wrote(err, Marked, now)
		}
	}
	h := sealed.Header{
		Log: sealed.HashLog(at.incarnation), Position: at.position, SinceSent: sinceSent, Freshness: *f,
		PX: keep.Truncate(time.Millisecond), StoredAt: now.UnixMilli(), Status: o.Status,
	}
	value := s.box.Seal(o.Key, &h, o.Header, o.Body)
	err := client.Do(ctx, client.B().Set().Key(key).Value(valkey.BinaryString(value)).Px(h.PX).Build()).Error()
	return st.wrote(err, Written, now)
}

// wrote tells the breaker how a write went that began at a moment; well is the outcome without an error.
func (st *store) wrote(err error, well Outcome, began time.Time) Outcome {
	// What takes longer than a request waits is no sign that Valkey can be asked.
	if st.breaker.Report(err == nil && time.Since(began) < st.o.Timeout, began); err != nil {
		return Failed
	}
	return well
}
