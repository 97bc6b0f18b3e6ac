package cluster

import (
	"io"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"yatagarasu/cache"
	"yatagarasu/gateway/limit"
	"yatagarasu/loadtest/redisserver"
)

// limited is a node with one limit.
type limited struct {
	*Node
	table *limit.Table
	began time.Time
}

func startLimited(t *testing.T, server *redisserver.Server, l limit.Limit) *limited {
	c := storeConfig(server.Address(), testSecret)
	c.Limits.Enabled, c.Limits.Sync = true, 50*time.Millisecond
	x := &limited{table: limit.NewTable(l, 1000), began: time.Now()}
	x.table.Share()
	log := zerolog.New(io.Discard)
	x.Node = New(Options{
		Config: c, Log: &log, Apply: func(string, *cache.Purges, bool) {}, Outdate: func() {},
		Limits: func() ([]Limit, time.Duration) { return []Limit{{"address", x.table}}, time.Since(x.began) },
	})
	x.Start()
	t.Cleanup(x.Close)
	return x
}

// take takes as many tokens as there are, of a number, and returns how many.
func (x *limited) take(most int) (taken int) {
	for range most {
		if x.table.Take(7, time.Since(x.began)) == 0 {
			taken++
		}
	}
	return taken
}

// TestLimits has three gateways asked as fast as can be: together they let in what one would, but for
// their bursts.
func TestLimits(t *testing.T) {
	server := redisserver.ForTest(t, redisserver.Options{})
	const rate, burst = 200, 20
	var nodes []*limited
	for range 3 {
		nodes = append(nodes, startLimited(t, server, limit.Limit{PerSecond: rate, Burst: burst}))
	}
	began, taken := time.Now(), 0
	for time.Since(began) < 5*time.Second {
		for _, x := range nodes {
			taken += x.take(3)
		}
		time.Sleep(time.Millisecond) // the rate of requests: 9,000 in a second at most
	}
	took := time.Since(began).Seconds()
	if most, least := rate*took*1.05+3*burst, rate*took*0.85; float64(taken) > most || float64(taken) < least {
		t.Errorf("%d let in in %.1f s at %d a second: want from %.0f to %.0f", taken, took, rate, least, most)
	}

	server.Freeze() // each holds the rate by itself
	began, taken = time.Now(), 0
	for time.Since(began) < 2*time.Second {
		taken += nodes[0].take(3)
		time.Sleep(time.Millisecond) // the same
	}
	if most := rate*time.Since(began).Seconds()*1.05 + burst; float64(taken) > most || float64(taken) < most/4 {
		t.Errorf("without Valkey %d let in, want some, and at most %.0f", taken, most)
	}
	server.Thaw()
	if keys, err := server.Do(t.Context(), "KEYS", "y:{test}:l:*"); err != nil || len(keys.([]any)) != 1 {
		t.Errorf("%v, %v: want one bucket", keys, err)
	}
}

// TestLimitNames has names that tell nobody whose a bucket is, and the same on all gateways.
func TestLimitNames(t *testing.T) {
	a, b := New(Options{Config: storeConfig("", testSecret)}), New(Options{Config: storeConfig("", testSecret)})
	other := New(Options{Config: storeConfig("", testSecret+"x")})
	name := a.limitName("server address", 7)
	if name != b.limitName("server address", 7) {
		t.Error("two gateways have two names for one bucket")
	}
	for _, another := range []string{a.limitName("server address", 8), a.limitName("server subject", 7), other.limitName("server address", 7)} {
		if name == another {
			t.Error("two buckets have one name")
		}
	}
}
