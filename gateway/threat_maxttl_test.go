package gateway

import (
	"testing"
	"time"
)

// TestThreatMaxTTL has objects that name lifetimes of decades and are then deleted.
func TestThreatMaxTTL(t *testing.T) {
	const year, day = 365 * 24 * time.Hour, 24 * time.Hour
	for _, c := range []struct {
		name, says string
		lines      []string
		longest    time.Duration // after which it is gone
		freshUntil bool          // until then it is a hit
	}{
		{"T99e_max_age", "Cache-Control: max-age=2147483648", nil, 30 * day, true},
		{"T99e_immutable", "Cache-Control: public, max-age=99999999999999999999, immutable", nil, 30 * day, true},
		{"T99e_s_maxage", "Cache-Control: s-maxage=2147483648", nil, 30 * day, true},
		{"T99e_Expires", "Expires: Fri, 31 Dec 9999 23:59:59 GMT", nil, 30 * day, true},
		{"T99e_configured", "Cache-Control: max-age=2147483648", []string{"max_ttl: 2h"}, 2 * time.Hour, true},
		{"T99e_stale_times_of_the_object", "Cache-Control: max-age=60, stale-while-revalidate=2147483648, stale-if-error=2147483648", nil, 30 * day, false},
		{"T99e_stale_times_of_the_file", "Cache-Control: max-age=2147483648, stale-while-revalidate=2147483648", []string{"stale_while_revalidate: 1h"}, 30*day + time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			origin := startScripted(t, version("v", c.says))
			gw := startGateway(t, cachedYAML(origin.URL, c.lines...))
			clock := gw.withClock()
			miss := gw.expect(t, "/pub/x", 200, "v", "MISS")
			hit := gw.expect(t, "/pub/x", 200, "v", "HIT")
			if miss.Header.Get("Cache-Control") != hit.Header.Get("Cache-Control") || c.says != "Cache-Control: "+hit.Header.Get("Cache-Control") && c.says != "Expires: "+hit.Header.Get("Expires") {
				t.Errorf("%v, then %v; the object says %s", miss.Header, hit.Header, c.says)
			}
			origin.set(s3Answer(404, "NoSuchKey"))
			clock.advance(c.longest - time.Minute)
			if c.freshUntil {
				if r := gw.expect(t, "/pub/x", 200, "v", "HIT"); len(r.Header.Get("Age")) < 4 {
					t.Errorf("Age %s", r.Header.Get("Age"))
				}
			}
			clock.advance(time.Minute)
			gw.expect(t, "/pub/x", 404, "", "MISS")
			clock.advance(-c.longest) // nothing is left of it
			gw.expect(t, "/pub/x", 404, "", "MISS")
		})
	}
	t.Run("T99e_a_validation_begins_it_anew", func(t *testing.T) {
		origin := startScripted(t, version("v", "Cache-Control: max-age=2147483648"))
		gw := startGateway(t, cachedYAML(origin.URL))
		clock := gw.withClock()
		gw.expect(t, "/pub/x", 200, "v", "MISS")
		for range 3 {
			clock.advance(30 * day)
			gw.expect(t, "/pub/x", 200, "v", "REVALIDATED")
			clock.advance(29 * day)
			gw.expect(t, "/pub/x", 200, "v", "HIT")
			clock.advance(-29 * day)
		}
		origin.set(s3Answer(404, "NoSuchKey"))
		clock.advance(year)
		gw.expect(t, "/pub/x", 404, "", "MISS")
	})
	t.Run("T99e_stale_times_end", func(t *testing.T) {
		origin := startScripted(t, version("v", "Cache-Control: max-age=60, stale-while-revalidate=2147483648, stale-if-error=2147483648"))
		gw := startGateway(t, onceYAML(cachedYAML(origin.URL)))
		clock := gw.withClock()
		gw.expect(t, "/pub/x", 200, "v", "MISS")
		origin.set(s3Answer(500, "InternalError"))
		clock.advance(30*day - time.Minute)
		gw.expect(t, "/pub/x", 200, "v", "STALE")
		gw.settleFills(t)
		clock.advance(time.Minute)
		gw.expect(t, "/pub/x", 502, "", "MISS")
	})
}
