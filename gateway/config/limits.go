package config

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
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

// maxRate is gateway/limit.MaxPerSecond.
const maxRate = 1_000_000

func (l *Limits) check(d *decoder, o object) {
	l.Rates = o.rates()
	l.TokenFailures = o.rate("token_failures_per_second", "burst_token_failures", tokenFailures)
	if l.MaxConnectionsPerAddress > l.MaxConnections {
		d.fail(o.get("max_connections_per_address"), "has no effect: it is more than max_connections", "lower it, or raise max_connections")
	}
}

// tokenFailures is the default of Limits.TokenFailures.
var tokenFailures = Rate{PerSecond: 5, Burst: 50}

func (l *BucketLimits) check(_ *decoder, o object) { l.Rates = o.rates() }

// checkSubjects reports a limit for subjects where no bucket asks for a token.
func (d *decoder) checkSubjects(c *Config, server object) {
	if c.Server.Limits.Rates.PerSubject == (Rate{}) || len(c.Buckets) == 0 {
		return
	}
	if slices.ContainsFunc(c.Buckets, func(b Bucket) bool { return b.Auth.Enabled }) {
		return
	}
	o := d.within(server.get("limits"))
	d.fail(o.get("requests_per_second_per_subject"), "has no effect: no bucket asks for a token", "set auth.enabled: true on the private buckets, or remove it")
}

// rates decodes the keys of rates among those of a block of limits.
func (o object) rates() Rates {
	of := func(suffix string) Rate { return o.rate("requests_per_second"+suffix, "burst"+suffix, Rate{}) }
	r := Rates{All: of(""), PerAddress: of("_per_address"), PerSubject: of("_per_subject")}
	for _, one := range []struct {
		key string
		Rate
	}{{"requests_per_second_per_address", r.PerAddress}, {"requests_per_second_per_subject", r.PerSubject}} {
		if r.All.PerSecond > 0 && one.PerSecond > r.All.PerSecond && one.Burst >= r.All.Burst {
			o.d.fail(o.get(one.key), "has no effect: it is more than requests_per_second", "lower it, or raise requests_per_second")
		}
	}
	return r
}

// rate decodes the two keys of one rate. Without its burst, that is as many seconds' worth
// as otherwise has, rounded up; one, where that is no limit.
func (o object) rate(key, burst string, otherwise Rate) Rate {
	r, seconds := Rate{PerSecond: o.perSecond(key, otherwise.PerSecond)}, 1.0
	if otherwise.PerSecond > 0 {
		seconds = float64(otherwise.Burst) / otherwise.PerSecond
	}
	r.Burst = o.integer(burst, int(min(math.Ceil(seconds*r.PerSecond), maxCount)), 1, maxCount)
	if r.PerSecond > 0 {
		return r
	}
	if at := o.get(burst); at != nil && !o.has(key) && !o.misspells(key) {
		o.d.fail(at, "has no effect without "+key, "add "+key+", or remove it")
	}
	return Rate{}
}

// perSecond returns the rate of key, or otherwise without one.
func (o object) perSecond(key string, otherwise float64) float64 {
	const fix = "write a number from 0.001 to 1000000 with at most 3 decimals, such as 100 or 0.5, or 0 for no limit"
	return parsed(o, key, otherwise, scalar(kindNumber), fix, func(text string) (float64, error) {
		if _, decimals, _ := strings.Cut(text, "."); !isDecimal(text) || len(decimals) > 3 {
			return 0, errors.New("is no number in decimal notation with at most 3 decimals")
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || v > maxRate {
			return 0, errors.New("is out of range")
		}
		return v, nil
	})
}

// addresses decodes the lists of client addresses of a block.
func (o object) addresses() (allow, deny []netip.Prefix) {
	deny = o.networks("deny", nil)
	return o.networks("allow", deny), deny
}
