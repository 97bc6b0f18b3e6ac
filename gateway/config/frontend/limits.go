package frontend

import (
	"errors"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"yatagarasu/gateway/config/file"
)

// Limits bound the use of the gateway as a whole.
type Limits struct {
	// MaxConnections bounds the open client connections. Default 65536.
	MaxConnections int `least:"1"`

	// MaxConnectionsPerAddress bounds the connections of one client address, or one /64
	// of IPv6. Default 0: no limit.
	MaxConnectionsPerAddress int

	// MaxInFlight bounds the requests under way, counted until their bodies are sent.
	// Default 0: no limit.
	MaxInFlight int

	// Rates bound the requests to all buckets together.
	Rates Rates

	// TokenFailures bounds the signatures that are verified in vain for each client address,
	// or one /64 of IPv6. Default 5 in a second, 50 at once.
	TokenFailures Rate
}

// BucketLimits bound the use of one bucket.
type BucketLimits struct {
	// MaxInFlight bounds the requests under way, counted until their bodies are sent.
	// Default 0: no limit.
	MaxInFlight int

	// Rates bound the requests to the bucket.
	Rates Rates
}

// Rates bound the requests of clients.
type Rates struct {
	// All is for all clients together, PerAddress for each client address (each
	// /64 of IPv6), PerSubject for each subject of a valid token.
	All, PerAddress, PerSubject Rate
}

// Rate is a rate of requests. The zero value is no limit.
type Rate struct {
	// PerSecond is the rate in the long run, from 0.001 to 1,000,000, to three
	// decimals.
	PerSecond float64

	// Burst is the number of requests at once after a pause. Default: those of one
	// second, rounded up; of failures, those of ten.
	Burst int
}

const (
	maxRate   = 1_000_000 // gateway/limit.MaxPerSecond
	mostBurst = math.MaxInt32
)

// Check implements file.Checker.
func (l *Limits) Check(d *file.Decoder, o file.Object) {
	l.Rates = decodeRates(d, o)
	l.TokenFailures = decodeRate(d, o, "token_failures_per_second", "burst_token_failures", tokenFailures)
	if l.MaxConnectionsPerAddress > l.MaxConnections {
		d.Fail(o.Get("max_connections_per_address"), "has no effect: it is more than max_connections", "lower it, or raise max_connections")
	}
}

// tokenFailures is the default of Limits.TokenFailures.
var tokenFailures = Rate{PerSecond: 5, Burst: 50}

// Check implements file.Checker.
func (l *BucketLimits) Check(d *file.Decoder, o file.Object) { l.Rates = decodeRates(d, o) }

// decodeRates decodes the keys of rates among those of a block of limits.
func decodeRates(d *file.Decoder, o file.Object) Rates {
	of := func(suffix string) Rate {
		return decodeRate(d, o, "requests_per_second"+suffix, "burst"+suffix, Rate{})
	}
	r := Rates{All: of(""), PerAddress: of("_per_address"), PerSubject: of("_per_subject")}
	for _, one := range []struct {
		key string
		Rate
	}{{"requests_per_second_per_address", r.PerAddress}, {"requests_per_second_per_subject", r.PerSubject}} {
		if r.All.PerSecond > 0 && one.PerSecond > r.All.PerSecond && one.Burst >= r.All.Burst {
			d.Fail(o.Get(one.key), "has no effect: it is more than requests_per_second", "lower it, or raise requests_per_second")
		}
	}
	return r
}

// decodeRate decodes the two keys of one rate. Without its burst, that is as many seconds' worth
// as otherwise has, rounded up; one, where that is no limit.
func decodeRate(d *file.Decoder, o file.Object, key, burst string, otherwise Rate) Rate {
	r, seconds := Rate{PerSecond: decodePerSecond(o, key, otherwise.PerSecond)}, 1.0
	if otherwise.PerSecond > 0 {
		seconds = float64(otherwise.Burst) / otherwise.PerSecond
	}
	r.Burst = o.Integer(burst, int(min(math.Ceil(seconds*r.PerSecond), mostBurst)), 1, mostBurst)
	if r.PerSecond > 0 {
		return r
	}
	if at := o.Get(burst); at != nil && !o.Has(key) && !o.Misspells(key) {
		d.Fail(at, "has no effect without "+key, "add "+key+", or remove it")
	}
	return Rate{}
}

// decodePerSecond returns the rate of key, or otherwise without one.
func decodePerSecond(o file.Object, key string, otherwise float64) float64 {
	const fix = "write a number from 0.001 to 1000000 with at most 3 decimals, such as 100 or 0.5, or 0 for no limit"
	return file.Parsed(o, key, otherwise, file.Scalar(file.Number), fix, func(text string) (float64, error) {
		if _, decimals, _ := strings.Cut(text, "."); !file.IsDecimal(text) || len(decimals) > 3 {
			return 0, errors.New("is no number in decimal notation with at most 3 decimals")
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || v > maxRate {
			return 0, errors.New("is out of range")
		}
		return v, nil
	})
}

// DecodeAddresses decodes the lists of client addresses of a block.
func DecodeAddresses(o file.Object) (allow, deny []netip.Prefix) {
	deny = o.Networks("deny", nil)
	return o.Networks("allow", deny), deny
}
