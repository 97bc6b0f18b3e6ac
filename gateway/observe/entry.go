package observe

import (
	"net/netip"
	"time"
)

// Entry is what log, audit log, metrics and the list of slow requests are told of one
// request at its end. The exchange of the request owns it and fills it in; who is told
// keeps nothing of it but copies.
//
// The zero value, after reset, is an entry of a request that nothing is known of. Not safe
// for concurrent use.
type Entry struct {
	Start  time.Time
	Method Method
	Client netip.Addr // not valid: not known
	ID     []byte     // X-Request-ID
	Path   []byte     // raw, without the query, shortened
	Query  []byte     // canonical query for the origin: what the allow-list let through

	Bucket *Bucket // of the bucket; nil: none is mounted there
	Route  string  // path prefix of the bucket
	Cached bool    // the bucket has a cache

	Auth      Auth
	LimitedBy Limit
	Cache     Outcome

	Status    int
	Bytes     int64         // of the body
	Reason    string        // typed reason of a failure
	Cause     error         // what broke
	FirstByte time.Duration // from start to the first byte of the answer

	TraceID, ParentSpan []byte // of a trusted proxy's trace; empty: none

	Upstream Upstream
}

// Auth is the verdict on a request's token. The zero value: none was asked for.
type Auth struct {
	Outcome string // public, allowed or denied
	Reason  string // of a denial
	Subject string // of the token
}

// Upstream is what a request had to do with its origin. The zero value: nothing.
type Upstream struct {
	Status   int           // of the latest answer; 0: none
	ID       []byte        // of the request at S3
	Replica  string        // name of the replica asked last; empty: the bucket has one alone
	Tries    int           // beside the first
	Resumes  int           // times that the body was continued
	Queued   time.Duration // wait for a connection
	Dialed   time.Duration // opening one
	Answered time.Time     // arrival of the latest answer's head
}

// Reset clears e for the next request, and keeps its buffers.
func (e *Entry) Reset() {
	id, path, query, s3ID := e.ID, e.Path, e.Query, e.Upstream.ID
	*e = Entry{ID: Emptied(id), Path: Emptied(path), Query: Emptied(query)}
	e.Upstream.ID = Emptied(s3ID)
}

// Method is the class of a request's method.
type Method uint8

const (
	MethodGet Method = iota
	MethodHead
	MethodOther
	numMethods
)

var MethodNames = [numMethods]string{"GET", "HEAD", "other"}

// Outcome says what the cache had to do with an answer.
type Outcome uint8

const (
	Bypass      Outcome = iota // nothing: not cached, or not to be
	Hit                        // from memory
	Miss                       // from the origin
	Stale                      // from memory, past its freshness
	Revalidated                // from memory, as the origin allowed
	Coalesced                  // from another request's fetch
	NumOutcomes
)

// Outcomes has the name of each outcome as label and log field, and as X-Cache.
var Outcomes = [NumOutcomes]struct{ Name, Header string }{
	Bypass:      {"bypass", "BYPASS"},
	Hit:         {"hit", "HIT"},
	Miss:        {"miss", "MISS"},
	Stale:       {"stale", "STALE"},
	Revalidated: {"revalidated", "REVALIDATED"},
	Coalesced:   {"coalesced", "COALESCED"},
}

// Limit is what refused a request, beside its token.
type Limit uint8

const (
	LimitNone Limit = iota
	LimitAddress
	LimitGlobalRate
	LimitBucketRate
	LimitAddressRate
	LimitGlobalInFlight
	LimitBucketInFlight
	LimitSubjectRate
	NumLimits
)

// limitLabels are the values of the metrics' label limit.
var limitLabels = [NumLimits]string{
	LimitAddress: "address", LimitGlobalRate: "global_rate", LimitBucketRate: "bucket_rate", LimitAddressRate: "address_rate",
	LimitGlobalInFlight: "global_in_flight", LimitBucketInFlight: "bucket_in_flight", LimitSubjectRate: "subject_rate",
}

// String returns the value of the metrics' label limit.
func (l Limit) String() string { return limitLabels[l] }

// maxReasons bounds the reasons of verdicts that metrics tell apart.
const maxReasons = 32

// Emptied returns b without its bytes. It keeps its memory unless a request made it large.
func Emptied(b []byte) []byte {
	const keep = 16 << 10
	if cap(b) > keep {
		return nil
	}
	return b[:0]
}
