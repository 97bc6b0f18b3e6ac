package gateway

import (
	"net/netip"
	"time"
)

// entry is what log, audit log, metrics and the list of slow requests are told of one
// request at its end. The exchange of the request owns it and fills it in; who is told
// keeps nothing of it but copies.
//
// The zero value, after reset, is an entry of a request that nothing is known of. Not safe
// for concurrent use.
type entry struct {
	start  time.Time
	method method
	client netip.Addr // not valid: not known
	id     []byte     // X-Request-ID
	path   []byte     // raw, without the query, shortened
	query  []byte     // canonical query for the origin: what the allow-list let through

	metrics *bucketMetrics // of the bucket; nil: none is mounted there
	route   string         // path prefix of the bucket
	cached  bool           // the bucket has a cache

	auth      authEntry
	limitedBy limitKind
	how       cacheOutcome

	status    int
	bytes     int64         // of the body
	reason    string        // typed reason of a failure
	cause     error         // what broke
	firstByte time.Duration // from start to the first byte of the answer

	traceID, parentSpan []byte // of a trusted proxy's trace; empty: none

	upstream upstreamEntry
}

// authEntry is the verdict on a request's token. The zero value: none was asked for.
type authEntry struct {
	outcome string // public, allowed or denied
	reason  string // of a denial
	subject string // of the token
}

// upstreamEntry is what a request had to do with its origin. The zero value: nothing.
type upstreamEntry struct {
	status   int           // of the latest answer; 0: none
	id       []byte        // of the request at S3
	replica  string        // name of the replica asked last; empty: the bucket has one alone
	tries    int           // beside the first
	resumes  int           // times that the body was continued
	queued   time.Duration // wait for a connection
	dialed   time.Duration // opening one
	answered time.Time     // arrival of the latest answer's head
}

// reset clears e for the next request, and keeps its buffers.
func (e *entry) reset() {
	id, path, query, s3ID := e.id, e.path, e.query, e.upstream.id
	*e = entry{id: emptied(id), path: emptied(path), query: emptied(query)}
	e.upstream.id = emptied(s3ID)
}

// method is the class of a request's method.
type method uint8

const (
	methodGet method = iota
	methodHead
	methodOther
	numMethods
)

var methodNames = [numMethods]string{"GET", "HEAD", "other"}

// cacheOutcome says what the cache had to do with an answer.
type cacheOutcome uint8

const (
	outcomeBypass      cacheOutcome = iota // nothing: not cached, or not to be
	outcomeHit                             // from memory
	outcomeMiss                            // from the origin
	outcomeStale                           // from memory, past its freshness
	outcomeRevalidated                     // from memory, as the origin allowed
	outcomeCoalesced                       // from another request's fetch
	numOutcomes
)

// outcomes has the name of each outcome as label and log field, and as X-Cache.
var outcomes = [numOutcomes]struct{ name, header string }{
	outcomeBypass:      {"bypass", "BYPASS"},
	outcomeHit:         {"hit", "HIT"},
	outcomeMiss:        {"miss", "MISS"},
	outcomeStale:       {"stale", "STALE"},
	outcomeRevalidated: {"revalidated", "REVALIDATED"},
	outcomeCoalesced:   {"coalesced", "COALESCED"},
}

// limitKind is what refused a request, beside its token.
type limitKind uint8

const (
	limitNone limitKind = iota
	limitAddress
	limitGlobalRate
	limitBucketRate
	limitAddressRate
	limitGlobalInFlight
	limitBucketInFlight
	limitSubjectRate
	numLimits
)

// limitLabels are the values of the metrics' label limit.
var limitLabels = [numLimits]string{
	limitAddress: "address", limitGlobalRate: "global_rate", limitBucketRate: "bucket_rate", limitAddressRate: "address_rate",
	limitGlobalInFlight: "global_in_flight", limitBucketInFlight: "bucket_in_flight", limitSubjectRate: "subject_rate",
}

// String returns the value of the metrics' label limit.
func (l limitKind) String() string { return limitLabels[l] }

// maxReasons bounds the reasons of verdicts that metrics tell apart.
const maxReasons = 32

// emptied returns b without its bytes. It keeps its memory unless a request made it large.
func emptied(b []byte) []byte {
	const keep = 16 << 10
	if cap(b) > keep {
		return nil
	}
	return b[:0]
}
