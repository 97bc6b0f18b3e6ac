package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/gateway/admin"
	"yatagarasu/gateway/generation"
)

// A rate of 0.001 a second gives no token back during a test: what is served is
// the burst.
const slow = "requests_per_second%[1]s: 0.001, burst%[1]s: %[2]d"

func rateYAML(burst int) string       { return fmt.Sprintf(slow, "", burst) }
func ratePerAddress(burst int) string { return fmt.Sprintf(slow, "_per_address", burst) }
func ratePerSubject(burst int) string { return fmt.Sprintf(slow, "_per_subject", burst) }

// limitedYAML is a configuration that trusts the test as a proxy, with further
// keys of server, and these items of buckets.
func limitedYAML(server string, buckets ...string) string {
	return "server: {ready: config, trusted_proxies: [127.0.0.1], " + server + "}\nbuckets:\n" + strings.Join(buckets, "")
}

// under adds a key to an item of buckets.
func under(bucket, line string) string { return bucket + "    " + line + "\n" }

func from(address string) string { return "X-Forwarded-For: " + address }

func bearer(claims ...string) string {
	return "Authorization: Bearer " + handmade(`{"alg":"HS256"}`, `{"exp":`+in(3600)+strings.Join(append([]string{""}, claims...), ",")+"}")
}

// TestEachLimit asks in turn and has all be answered but the requests named.
func TestEachLimit(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	a, b := bucketYAML("a", "/a", origin.URL), bucketYAML("b", "/b", origin.URL)
	private := privateYAML("private", "/private", origin.URL) + "      rules: [{path: /open, enabled: false}]\n"
	second := privateYAML("second", "/second", origin.URL)
	alice, bob := bearer(`"sub":"alice"`), bearer(`"sub":"bob"`)
	const one, other = "192.0.2.1", "192.0.2.2"

	type ask struct {
		target  string
		headers []string
		limit   string // what refuses it; empty: nothing
	}
	for _, c := range []struct {
		name string
		yaml string
		asks []ask
	}{
		{"global rate, for all buckets and addresses", limitedYAML("limits: {"+rateYAML(3)+"}", a, b), []ask{
			{"/a/x", []string{from(one)}, ""}, {"/b/x", []string{from(one)}, ""}, {"/a/x", []string{from(other)}, ""},
			{"/a/x", []string{from(other)}, "global_rate"}, {"/b/x", []string{from(one)}, "global_rate"},
		}},
		{"bucket rate, for that bucket", limitedYAML("limits: {"+rateYAML(100)+"}", under(a, "limits: {"+rateYAML(2)+"}"), b), []ask{
			{"/a/x", []string{from(one)}, ""}, {"/a/x", []string{from(other)}, ""}, {"/a/x", []string{from(one)}, "bucket_rate"}, {"/b/x", []string{from(one)}, ""},
		}},
		{"address rate, over all buckets", limitedYAML("limits: {"+ratePerAddress(2)+"}", a, b), []ask{
			{"/a/x", []string{from(one)}, ""}, {"/b/x", []string{from(one)}, ""}, {"/a/x", []string{from(one)}, "address_rate"},
			{"/a/x", []string{from(other)}, ""}, {"/b/x", []string{from(one)}, "address_rate"},
		}},
		{"address rate of one bucket", limitedYAML("", under(a, "limits: {"+ratePerAddress(1)+"}"), b), []ask{
			{"/a/x", []string{from(one)}, ""}, {"/a/x", []string{from(one)}, "address_rate"}, {"/a/x", []string{from(other)}, ""}, {"/b/x", []string{from(one)}, ""}, {"/b/x", []string{from(one)}, ""},
		}},
		{"address rates side by side", limitedYAML("limits: {"+ratePerAddress(2)+"}", under(a, "limits: {"+ratePerAddress(1)+"}"), b), []ask{
			{"/a/x", []string{from(one)}, ""}, {"/b/x", []string{from(one)}, ""}, {"/b/x", []string{from(one)}, "address_rate"},
			{"/b/x", []string{from(other)}, ""}, {"/a/x", []string{from(other)}, ""}, {"/a/x", []string{from(other)}, "address_rate"},
		}},
		{"subject rate of a bucket", limitedYAML("", under(private, "limits: {"+ratePerSubject(2)+"}"), second), []ask{
			{"/private/x", []string{alice, from(one)}, ""}, {"/private/x", []string{bearer(`"sub":"alice"`, `"n":2`), from(other)}, ""},
			{"/private/x", []string{alice, from(one)}, "subject_rate"}, {"/private/x", []string{bearer(`"sub":"alice"`, `"n":3`), from(one)}, "subject_rate"},
			{"/private/x", []string{bob, from(one)}, ""}, {"/second/x", []string{alice}, ""}, {"/private/open/x", []string{alice}, ""}, {"/private/open/x", nil, ""},
			{"/private/x", []string{bearer(`"sub":"alice"`, `"iss":"another"`)}, ""},
		}},
		{"subject rate over all buckets", limitedYAML("limits: {"+ratePerSubject(2)+"}", private, second, a), []ask{
			{"/private/x", []string{alice}, ""}, {"/second/x", []string{alice}, ""}, {"/private/x", []string{alice}, "subject_rate"}, {"/second/x", []string{alice}, "subject_rate"},
			{"/second/x", []string{bob}, ""}, {"/a/x", []string{alice}, ""}, {"/private/open/x", []string{alice}, ""},
		}},
		{"tokens without a subject have no such rate", limitedYAML("limits: {"+ratePerSubject(1)+"}", private), []ask{
			{"/private/x", []string{bearer()}, ""}, {"/private/x", []string{bearer()}, ""}, {"/private/x", []string{bearer(`"sub":""`)}, ""}, {"/private/x", []string{bearer(`"sub":7`)}, ""}, {"/private/x", []string{bearer(`"sub":7`)}, ""},
		}},
		{"long subjects are told apart", limitedYAML("limits: {"+ratePerSubject(1)+"}", private), []ask{
			{"/private/x", []string{bearer(`"sub":"` + strings.Repeat("s", 300) + `1"`)}, ""}, {"/private/x", []string{bearer(`"sub":"` + strings.Repeat("s", 300) + `2"`)}, ""},
			{"/private/x", []string{bearer(`"sub":"` + strings.Repeat("s", 300) + `1"`)}, "subject_rate"},
		}},
		{"addresses of server", limitedYAML("allow: [192.0.2.0/24, \"2001:db8::/32\"], deny: [192.0.2.2]", a, b), []ask{
			{"/a/x", []string{from(one)}, ""}, {"/b/x", []string{from(other)}, "address"}, {"/a/x", []string{from("198.51.100.1")}, "address"}, {"/a/x", []string{from("2001:db8::7")}, ""}, {"/a/x", nil, "address"},
		}},
		{"addresses of a bucket", limitedYAML("", under(a, "deny: [192.0.2.2]"), under(b, "allow: [192.0.2.2]")), []ask{
			{"/a/x", []string{from(one)}, ""}, {"/a/x", []string{from(other)}, "address"}, {"/b/x", []string{from(one)}, "address"}, {"/b/x", []string{from(other)}, ""},
		}},
		{"addresses of both", limitedYAML("deny: [192.0.2.2]", under(a, "allow: [192.0.2.0/24]")), []ask{
			{"/a/x", []string{from(one)}, ""}, {"/a/x", []string{from(other)}, "address"}, {"/a/x", []string{from("198.51.100.1")}, "address"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			gw := startGateway(t, c.yaml)
			for i, k := range c.asks {
				before := len(origin.seen())
				bucket, _, _ := strings.Cut(k.target[1:], "/")
				metric := fmt.Sprintf("yatagarasu_rejected_total{bucket=%q,limit=%q}", bucket, k.limit)
				counted := gw.metricValue(metric)
				r, body := gw.do("GET", k.target, k.headers...)
				status, reached := r.StatusCode, len(origin.seen()) > before
				switch {
				case k.limit == "" && (status != 200 || r.Header.Get("Retry-After") != ""):
					t.Errorf("request %d: status %d, %s", i, status, body)
				case k.limit == "":
				case k.limit == "address":
					if status != 403 || !strings.Contains(string(body), `"error":"address_denied"`) || r.Header.Get("Retry-After") != "" {
						t.Errorf("request %d: status %d, %s", i, status, body)
					}
					gw.log.waitFor(t, `"reason":"address_denied"`)
				default:
					seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
					if status != 429 || !strings.Contains(string(body), `"error":"too_many_requests"`) || err != nil || seconds < 900 || seconds > 1000 {
						t.Errorf("request %d: status %d, Retry-After %q, %s", i, status, r.Header.Get("Retry-After"), body)
					}
					gw.log.waitFor(t, `"reason":"`+k.limit+`"`)
				}
				if k.limit != "" && (reached || gw.metricValue(metric) != counted+1) {
					t.Errorf("request %d: reached the origin: %t; %s went from %v to %v", i, reached, metric, counted, gw.metricValue(metric))
				}
			}
			for range 20 {
				for target, want := range map[string]int{"/health": 200, "/ready": 200} {
					if r, _ := gw.do("GET", target, from("192.0.2.2")); r.StatusCode != want {
						t.Errorf("%s: status %d, want %d", target, r.StatusCode, want)
					}
				}
			}
		})
	}
}

// TestBucketInFlight counts the requests for a bucket until the last byte of their
// bodies, those for other buckets apart.
func TestBucketInFlight(t *testing.T) {
	const size = 4 << 20
	gate := make(chan struct{})
	gw := startGateway(t, limitedYAML("limits: {max_in_flight: 3}",
		under(bucketYAML("main", "/pub", gatedOrigin(t, size, gate).URL), "limits: {max_in_flight: 1}"),
		bucketYAML("other", "/other", startOrigin(t, serveText("hello")).URL)))
	first := beginDownload(t, gw, size)
	defer first.Body.Close()
	r, body := gw.do("GET", "/pub/x")
	if r.StatusCode != 429 || r.Header.Get("Retry-After") != "1" {
		t.Errorf("status %d, Retry-After %q, %s", r.StatusCode, r.Header.Get("Retry-After"), body)
	}
	gw.log.waitFor(t, `"reason":"bucket_in_flight"`)
	if r, _ := gw.do("GET", "/other/x"); r.StatusCode != 200 {
		t.Errorf("another bucket: status %d", r.StatusCode)
	}
	polled(5*time.Second, func() bool { return gw.InFlight.Load() == 1 }) // the client has its answer before it is counted out
	for _, b := range gw.Generation.Load().Buckets {
		if n, want := b.Limits.InFlight.Load(), map[string]int64{"main": 1}[b.Name]; n != want {
			t.Errorf("%d requests of %s are under way, want %d", n, b.Name, want)
		}
	}
	if n := gw.InFlight.Load(); n != 1 {
		t.Errorf("%d requests are under way, want 1", n)
	}

	// The next generation counts on, and may lower the limit.
	swapGeneration(t, gw, limitedYAML("limits: {max_in_flight: 1}", bucketYAML("main", "/pub", "http://127.0.0.1:1"), bucketYAML("other", "/other", "http://127.0.0.1:1")))
	if r, _ := gw.do("GET", "/other/x"); r.StatusCode != 429 {
		t.Errorf("beyond a lowered limit: status %d", r.StatusCode)
	}
	gw.log.waitFor(t, `"reason":"global_in_flight"`)
	close(gate)
	io.Copy(io.Discard, first.Body)
	eventually(t, "requests end", func() bool { return gw.InFlight.Load() == 0 })
	if n := gw.Generation.Load().Buckets[0].Limits.InFlight.Load(); n != 0 {
		t.Errorf("%d requests of the bucket are under way", n)
	}
}

// swapGeneration puts a generation for yaml in the place of the one that serves.
func swapGeneration(t *testing.T, gw *testGateway, yaml string) {
	t.Helper()
	gen, err := generation.New(mustConfig(t, yaml), gw.generationOptions(), gw.Generation.Load())
	if err != nil {
		t.Fatal(err)
	}
	old := gw.Generation.Swap(gen)
	t.Cleanup(func() { generation.Close(old) })
	var r admin.ReloadResult
	compare(&r, old.Config, gen.Config)
	outdate(gen.Budgets, &r)
}

// TestRefusedRequestsCostOthersNothing has one client ask beyond its own limit: the
// rates that others share stay as they are.
func TestRefusedRequestsCostOthersNothing(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	for name, c := range map[string]struct {
		limits, bucket string
		greedy         []string
		limit          string
	}{
		"address":   {ratePerAddress(1), bucketYAML("a", "/a", origin.URL), []string{from("192.0.2.1")}, "address_rate"},
		"subject":   {ratePerSubject(1), privateYAML("a", "/a", origin.URL), []string{bearer(`"sub":"greedy"`)}, "subject_rate"},
		"in flight": {"max_in_flight: 1", bucketYAML("a", "/a", origin.URL), nil, "bucket_in_flight"},
	} {
		t.Run(name, func(t *testing.T) {
			gw := startGateway(t, limitedYAML("limits: {"+rateYAML(4)+"}", under(c.bucket, "limits: {"+rateYAML(3)+", "+c.limits+"}")))
			counter := gw.Generation.Load().Buckets[0].Limits.InFlight
			if name == "in flight" {
				counter.Add(1)
			} else if r, _ := gw.do("GET", "/a/x", c.greedy...); r.StatusCode != 200 {
				t.Fatalf("status %d", r.StatusCode)
			}
			for range 20 {
				if r, _ := gw.do("GET", "/a/x", c.greedy...); r.StatusCode != 429 {
					t.Fatalf("status %d", r.StatusCode)
				}
			}
			if n := gw.metricValue(`yatagarasu_rejected_total{bucket="a",limit="` + c.limit + `"}`); n != 20 {
				t.Errorf("%v refused by %s, want 20", n, c.limit)
			}
			if name == "in flight" {
				counter.Add(-1)
				if r, _ := gw.do("GET", "/a/x", from("192.0.2.9")); r.StatusCode != 200 {
					t.Errorf("afterwards: status %d", r.StatusCode)
				}
				gw.settle(t)
			}
			for i, want := range []int{200, 200, 429} {
				client := fmt.Sprintf("192.0.2.%d", 10+i)
				if r, body := gw.do("GET", "/a/x", from(client), bearer(`"sub":"`+client+`"`)); r.StatusCode != want {
					t.Errorf("another client, request %d: status %d, want %d: %s", i, r.StatusCode, want, body)
				}
				gw.settle(t) // a request counts as in flight until its end, which its client does not see
			}
		})
	}
}

// TestRefusedByABucketCostsNothingElsewhere has a client ask beyond what one bucket gives
// it: of what it has in all buckets, that takes only what was served.
func TestRefusedByABucketCostsNothingElsewhere(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	for name, c := range map[string]struct {
		all    func(burst int) string
		own    func(burst int) string
		bucket func(name, prefix string) string
	}{
		"address":                {ratePerAddress, ratePerAddress, func(name, prefix string) string { return bucketYAML(name, prefix, origin.URL) }},
		"subject":                {ratePerSubject, ratePerSubject, func(name, prefix string) string { return privateYAML(name, prefix, origin.URL) }},
		"subject, of an address": {ratePerAddress, ratePerSubject, func(name, prefix string) string { return privateYAML(name, prefix, origin.URL) }},
	} {
		t.Run(name, func(t *testing.T) {
			gw := startGateway(t, limitedYAML("limits: {"+c.all(5)+"}", under(c.bucket("a", "/a"), "limits: {"+c.own(1)+"}"), c.bucket("b", "/b")))
			client := []string{from("192.0.2.1"), bearer(`"sub":"alice"`)}
			expect := func(target string, want ...int) {
				t.Helper()
				for i, status := range want {
					if r, body := gw.do("GET", target, client...); r.StatusCode != status {
						t.Errorf("%s, request %d: status %d, want %d: %s", target, i, r.StatusCode, status, body)
					}
				}
			}
			expect("/a/x", 200, 429, 429, 429, 429, 429)
			expect("/b/x", 200, 200, 200, 200, 429)
		})
	}
}

// TestLimitsOutliveGenerations keeps the state of what a new configuration leaves
// as it is.
func TestLimitsOutliveGenerations(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	private := privateYAML("a", "/a", origin.URL)
	yaml := func(server, bucket string) string { return limitedYAML(server, under(private, bucket)) }
	server := "limits: {" + rateYAML(50) + ", " + ratePerAddress(2) + "}"
	bucket := "limits: {" + ratePerSubject(2) + "}"
	gw := startGateway(t, yaml(server, bucket))
	expect := func(step string, status int, address, subject string) {
		t.Helper()
		if r, body := gw.do("GET", "/a/x", from(address), bearer(`"sub":"`+subject+`"`)); r.StatusCode != status {
			t.Errorf("%s: status %d, want %d: %s", step, r.StatusCode, status, body)
		}
	}
	expect("at first", 200, "192.0.2.1", "alice")
	expect("at first", 200, "192.0.2.1", "alice")
	expect("too often for the address", 429, "192.0.2.1", "bob")
	expect("too often for the subject", 429, "192.0.2.2", "alice")

	swapGeneration(t, gw, yaml(server+", deny: [192.0.2.66]", bucket))
	expect("the address after an unrelated change", 429, "192.0.2.1", "bob")
	expect("the subject after it", 429, "192.0.2.3", "alice")
	expect("the new list", 403, "192.0.2.66", "bob")

	if _, err := generation.New(mustConfig(t, yaml(server, "limits: {"+ratePerSubject(7)+"}")), gw.generationOptions(), gw.Generation.Load()); err != nil {
		t.Fatal(err)
	}
	expect("a generation that never serves", 429, "192.0.2.4", "alice")

	swapGeneration(t, gw, yaml(server, "limits: {"+ratePerSubject(3)+"}"))
	expect("the subject after a change of its rate", 200, "192.0.2.5", "alice")
	expect("the address after that", 429, "192.0.2.1", "bob")

	swapGeneration(t, gw, limitedYAML("", private))
	for range 5 {
		expect("without limits", 200, "192.0.2.1", "alice")
	}
	swapGeneration(t, gw, yaml(server, bucket))
	expect("with limits again", 200, "192.0.2.1", "alice")
}

// TestLimitsUnderLoad has many clients at once, while generations are swapped: just
// the burst of each limit is served, and nothing stays under way.
func TestLimitsUnderLoad(t *testing.T) {
	const clients, burst = 8, 20
	origin := startOrigin(t, serveText("hello"))
	bucket := bucketYAML("a", "/a", origin.URL)
	yaml := func(i int) string {
		return limitedYAML("limits: {"+ratePerAddress(burst)+fmt.Sprintf(", max_in_flight: %d}", 1000+i), under(bucket, "limits: {"+rateYAML(clients*burst-5)+"}"))
	}
	gw := startGateway(t, yaml(0), func(o *Options) { o.LogLevel = "error" })
	var served, refused atomic.Int64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			for range 2 * burst {
				r, err := http.NewRequest(http.MethodGet, gw.url("/a/x"), nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("X-Forwarded-For", fmt.Sprintf("2001:db8:0:%x::%x", n, n))
				resp, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				switch resp.StatusCode {
				case 200:
					served.Add(1)
				case 429:
					refused.Add(1)
				default:
					t.Errorf("status %d", resp.StatusCode)
				}
			}
		})
	}
	for i := range 50 {
		swapGeneration(t, gw, yaml(i))
	}
	wg.Wait()
	if s, r := served.Load(), refused.Load(); s != clients*burst-5 || r != clients*burst+5 {
		t.Errorf("%d served and %d refused, want %d and %d", s, r, clients*burst-5, clients*burst+5)
	}
	eventually(t, "requests end", func() bool { return gw.InFlight.Load() == 0 })
	if n := gw.Generation.Load().Buckets[0].Limits.InFlight.Load(); n != 0 {
		t.Errorf("%d requests of the bucket are under way", n)
	}
}
