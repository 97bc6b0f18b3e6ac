package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"
	"golang.org/x/time/rate"

	"yatagarasu/cache"
	"yatagarasu/gateway/config/shared"
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
	numOutcomes
)

// Outcomes are their names in the labels of metrics.
var Outcomes = [numOutcomes]string{"found", "absent", "outdated", "foreign", "failed", "skipped", "written", "dropped"}

const (
	writers      = 4
	maxWaiting   = 8192        // writes, whatever their sizes
	maxInFlight  = 256         // reads, whatever their sizes
	inFlightMost = 64 << 20    // bytes of reads
	headMost     = 4 << 10     // bytes that are read to see whether an object was renewed
	longestHead  = 64 << 10    // bytes of a head that is stored
	absentRate   = 100         // notes of absent objects in a second
	leastLife    = time.Second // below it, an object is not worth storing
)

// store has what the shelves of all buckets share.
type store struct {
	o             *shared.ClusterStore
	breaker       breaker
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
	box    *box
}

// Shelf returns the shelf of a bucket at an origin; nil: nothing is shared.
func (n *Node) Shelf(bucket string, origin []byte) *Shelf {
	c := n.opts.Config
	if !c.Store.Enabled {
		return nil
	}
	return &Shelf{node: n, bucket: bucket, box: newBox(c.Secret.Reveal(), c.Namespace, bucket, origin)}
}

// Place is what was purged at a moment.
type Place struct{ at *place }

// Place returns what is purged now. Call it before the origin is asked for what may be stored.
func (s *Shelf) Place() Place { return Place{s.node.place.Load()} }

// key returns the key of an object at Valkey.
func (s *Shelf) key(cacheKey []byte) string {
	return s.node.keys.objects + s.box.name(cacheKey)
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
	if client == nil || cache.Elapsed(now, verified) > followed || !st.breaker.allows(now) {
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
		most = headerSize + int64(st.o.MaxObjectSize) + longestHead // whatever somebody else has stored there
	}
	// How long it stays is asked first: it is too little for what is stored in between, and never too much.
	replies := client.DoMulti(ctx, client.B().Pttl().Key(key).Build(), client.B().Getrange().Key(key).Start(0).End(most-1).Build())
	left, leftErr := replies[0].AsInt64()
	value, err := replies[1].AsBytes()
	ok := err == nil && leftErr == nil
	if st.breaker.report(ok, now); !ok {
		return nil, Failed
	}
	if len(value) == 0 || left == -2 {
		return nil, Absent
	}
	h, err := readHeader(value)
	if err != nil || left < 0 { // none of ours is without an end
		return nil, Foreign
	}
	if headAlone && headerSize+h.headLen > len(value) {
		return nil, Absent // its head is longer than most
	}
	head, body, err := s.box.open(cacheKey, &h, value, !headAlone)
	if err != nil {
		return nil, Foreign
	}
	if !n.ledger.holds(h.log, h.position, s.bucket, cache.NameOf(cacheKey), tags(head)) {
		return nil, Outdated
	}
	return &Item{Status: h.status, Head: head, Body: body, Freshness: h.freshness(time.Duration(left)*time.Millisecond, verified, now)}, Found
}

// followed is how old the last news of purges may be for what is shared to be used.
const followed = block + 2*time.Second

// freshness returns the freshness of a value that Valkey keeps for the time left, as of an answer
// that has aged on the way. All purges up to the moment verified were looked at: it counts as asked
// for then. now is before Valkey was asked, as a client counts an answer's age (RFC 9111, 4.2.3).
func (h *header) freshness(left time.Duration, verified, now time.Time) cache.Freshness {
	stored := max(h.px-left, time.Duration(now.UnixMilli()-h.storedAt)*time.Millisecond, 0)
	f := h.f
	f.Received = max(f.Received+h.sinceSent+stored-now.Sub(verified), 0)
	f.Sent = verified
	return f
}

// Put stores an object of the cache for all gateways, in the background, if it is worth that. at is
// what was purged when the origin was asked for it.
func (s *Shelf) Put(o *cache.Object, at Place) {
	st := s.node.store
	if at.at == nil || len(o.Body) > int(st.o.MaxObjectSize) || len(o.Header) > longestHead-2*tagSize || o.Status == 404 && !st.absent.Allow() {
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
	if client == nil || !st.breaker.allows(now) {
		return Skipped
	}
	f := &o.Freshness
	sinceSent := max(cache.Elapsed(now, f.Sent), 0)
	keep := min(f.Lifetime-f.Received-sinceSent, st.o.MaxTTL)
	if keep < leastLife {
		return Outdated
	}
	h := header{
		log: hashLog(at.incarnation), position: at.position, sinceSent: sinceSent, f: *f,
		px: keep.Truncate(time.Millisecond), storedAt: now.UnixMilli(), status: o.Status,
	}
	value := s.box.seal(o.Key, &h, o.Header, o.Body)
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	err := client.Do(ctx, client.B().Set().Key(s.key(o.Key)).Value(valkey.BinaryString(value)).Px(h.px).Build()).Error()
	// What takes longer than a request waits is no sign that Valkey can be asked.
	if st.breaker.report(err == nil && time.Since(now) < st.o.Timeout, now); err != nil {
		return Failed
	}
	return Written
}

// breaker leaves Valkey alone for a while after it has failed several times in a row. The zero value
// is closed. Safe for concurrent use.
type breaker struct {
	failures atomic.Int32
	until    atomic.Int64 // Unix nanoseconds; one try is let through then
}

const (
	breakAfter = 5 // failures
	breakFor   = time.Second
)

// allows tells whether Valkey may be asked.
func (b *breaker) allows(now time.Time) bool {
	until := b.until.Load()
	return until == 0 || now.UnixNano() >= until && b.until.CompareAndSwap(until, now.Add(breakFor).UnixNano())
}

// report notes how it went.
func (b *breaker) report(ok bool, now time.Time) {
	if ok {
		b.failures.Store(0)
		b.until.Store(0)
	} else if b.failures.Add(1) >= breakAfter {
		b.until.Store(now.Add(breakFor).UnixNano())
	}
}

// open tells whether Valkey is left alone.
func (b *breaker) open() bool { return b.until.Load() != 0 }
