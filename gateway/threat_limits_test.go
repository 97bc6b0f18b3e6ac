package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

func threatLimits(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	bucket := bucketYAML("a", "/a", origin.URL)
	untrusted := func(server string) string {
		return "server: {ready: config, " + server + "}\nbuckets:\n" + bucket
	}
	// statuses asks for an object once with each header.
	statuses := func(gw *testGateway, headers ...string) string {
		var out []string
		for _, h := range headers {
			r, _ := gw.do("GET", "/a/x", h)
			out = append(out, fmt.Sprint(r.StatusCode))
		}
		return strings.Join(out, " ")
	}
	expect := func(t *testing.T, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("statuses %s, want %s", got, want)
		}
	}

	t.Run("T71_refused_clients_make_no_labels", func(t *testing.T) {
		gw := startGateway(t, limitedYAML("limits: {"+ratePerAddress(1)+"}, deny: [198.51.100.0/24]", bucket), func(o *Options) { o.LogLevel = "error" })
		lines := func() map[string]bool {
			var b bytes.Buffer
			gw.operators.WriteMetrics(&b)
			names := map[string]bool{}
			for line := range strings.Lines(b.String()) {
				names[line[:strings.LastIndexByte(line, ' ')+1]] = true
			}
			return names
		}
		ask := func(i int) {
			for _, a := range []string{fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("198.51.100.%d", i)} {
				gw.do("GET", fmt.Sprintf("/a/x%d?q=%d", i, i), from(a))
			}
		}
		ask(1)
		before := lines()
		for i := range 50 {
			ask(2 + i)
		}
		for name := range lines() {
			// An answer or a fault of the origin that there was none of before has a line of its
			// own, whoever asked; there are as many as the fixed tables have. The runtime's own
			// have nothing of requests.
			if !before[name] && strings.HasPrefix(name, "yatagarasu_") && !originLine.MatchString(name) {
				t.Errorf("requests of 100 clients made the metric %q", name)
			}
		}
		for limit, want := range map[string]float64{"address_rate": 51, "address": 51} {
			if got := gw.metricValue(`yatagarasu_rejected_total{bucket="a",limit="` + limit + `"}`); got != want {
				t.Errorf("%v refused by %s, want %v", got, limit, want)
			}
		}
	})
	t.Run("T81_invented_addresses_are_not_believed", func(t *testing.T) {
		gw := startGateway(t, untrusted("limits: {"+ratePerAddress(2)+"}"))
		expect(t, statuses(gw, from("192.0.2.1"), from("192.0.2.2"), from("192.0.2.3"), from("192.0.2.4, 192.0.2.5"), "X-Real-IP: 192.0.2.6", "Forwarded: for=192.0.2.7"), "200 200 429 429 429 429")
		trusting := startGateway(t, limitedYAML("limits: {"+ratePerAddress(2)+"}", bucket))
		expect(t, statuses(trusting, from("192.0.2.1"), from("203.0.113.5, 192.0.2.1"), from("203.0.113.6, 192.0.2.1"), from("192.0.2.1, 127.0.0.1"), from("192.0.2.9")), "200 200 429 429 200")
	})
	t.Run("T82_other_spellings_are_one_client", func(t *testing.T) {
		gw := startGateway(t, limitedYAML("limits: {"+ratePerAddress(2)+"}", bucket))
		expect(t, statuses(gw, from("192.0.2.1"), from("::ffff:192.0.2.1"), from("::ffff:c000:201"), from("192.0.2.2")), "200 200 429 200")
		expect(t, statuses(gw, from("2001:db8::1"), from("2001:db8::ffff:1"), from("2001:db8:0:0:aaaa::2"), from("2001:db8:0:1::1")), "200 200 429 200")
	})
	t.Run("T83_a_flood_of_addresses_gains_nothing", func(t *testing.T) {
		const clients, burst = 1000, 4
		g := startGateway(t, limitedYAML("limits: {"+ratePerAddress(burst)+"}", bucket), func(o *Options) { o.LimitClients = clients })
		served := 0
		ctx := request(t, "GET /a/x HTTP/1.1\r\nHost: g\r\n\r\n")
		ask := func(a netip.Addr) {
			ctx.Request.Header.Set("X-Forwarded-For", a.String())
			if g.Handle(ctx); ctx.Response.StatusCode() != 429 {
				served++
			}
			ctx.ResetUserValues()
			ctx.Response.Reset()
		}
		own := netip.MustParseAddr("192.0.2.1")
		rnd := rand.New(rand.NewPCG(83, 1))
		for range 200_000 {
			ask(own)
			ask(netip.AddrFrom4([4]byte{10, byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256))}))
		}
		if most := clients * burst; served > most || served < most*9/10 {
			t.Errorf("%d requests were served, want the %d of as many clients as are remembered", served, most)
		}
	})
	t.Run("T84_one_client_beyond_its_limit", func(t *testing.T) {
		gw := startGateway(t, limitedYAML("limits: {"+rateYAML(6)+", "+ratePerAddress(2)+"}", bucket))
		for range 30 {
			gw.do("GET", "/a/x", from("192.0.2.1"))
		}
		expect(t, statuses(gw, from("192.0.2.2"), from("192.0.2.3"), from("192.0.2.2"), from("192.0.2.3"), from("192.0.2.4")), "200 200 200 200 429")
	})
	t.Run("T85_a_denied_address_in_other_spellings", func(t *testing.T) {
		before := len(origin.seen())
		gw := startGateway(t, limitedYAML("deny: [192.0.2.0/24, \"2001:db8::/32\"]", bucket))
		expect(t, statuses(gw, from("192.0.2.1"), from("::ffff:192.0.2.1"), from("203.0.113.1, 192.0.2.255"), from("2001:db8:ffff::1"), from("2001:0DB8:0:0::1")), "403 403 403 403 403")
		direct := startGateway(t, untrusted("deny: [127.0.0.0/8]"))
		expect(t, statuses(direct, "A: b", from("203.0.113.1"), "X-Real-IP: 203.0.113.1"), "403 403 403")
		allowed := startGateway(t, untrusted("allow: [203.0.113.0/24]"))
		expect(t, statuses(allowed, "A: b", from("203.0.113.1"), "Forwarded: for=203.0.113.1"), "403 403 403")
		if n := len(origin.seen()) - before; n > 0 {
			t.Errorf("the origin was asked %d times", n)
		}
	})
	t.Run("T99c_an_address_that_carries_another", func(t *testing.T) {
		gw := startGateway(t, limitedYAML("deny: [10.0.0.1]", bucket))
		expect(t, statuses(gw, from("64:ff9b::10.0.0.1"), from("64:ff9b::a00:1"), from("64:ff9b::10.0.0.2"), from("2002:a00:1::7"), from("2001:0:4136:e378:8000:63bf:f5ff:fffe")), "403 403 200 403 403")
		gw = startGateway(t, limitedYAML("limits: {"+ratePerAddress(2)+"}", bucket))
		expect(t, statuses(gw, from("64:ff9b::192.0.2.1"), from("64:ff9b::192.0.2.1"), from("64:ff9b::192.0.2.1"), from("192.0.2.1"), from("64:ff9b::192.0.2.2"), from("64:ff9b::192.0.2.3")), "200 200 429 429 200 200")
		gw = startGateway(t, limitedYAML("allow: [192.0.2.0/24]", bucket)) // nobody gets in by what an address carries
		expect(t, statuses(gw, from("192.0.2.1"), from("64:ff9b::192.0.2.1"), from("2002:c000:201::1")), "200 403 403")
		gw = startGateway(t, strings.Replace(limitedYAML("deny: [203.0.113.9]", bucket), "[127.0.0.1]", "[127.0.0.1, 192.0.2.1]", 1)) // nor is believed
		expect(t, statuses(gw, from("203.0.113.9, 192.0.2.1"), from("203.0.113.9, 64:ff9b::192.0.2.1"), from("203.0.113.9, 2002:c000:201::1")), "403 200 200")

		gw = startGateway(t, strings.Replace(oneBucket("/a", origin.URL), "server: {ready: config", proxyYAML+", limits: {max_connections_per_address: 1}", 1))
		for _, c := range []struct {
			client string
			want   int
		}{{"[64:ff9b::192.0.2.1]:1", 200}, {"[64:ff9b::192.0.2.2]:1", 200}, {"192.0.2.1:1", 503}} {
			conn := dial(t, gw.addr)
			fmt.Fprintf(conn, "%sGET /a/x HTTP/1.1\r\nHost: g\r\n\r\n", proxyHeader(t, 2, c.client))
			if got := answerOn(t, conn); got != c.want {
				t.Errorf("a connection of %s: %d, want %d", c.client, got, c.want)
			}
		}
	})
	t.Run("T86_a_subject_with_many_tokens_and_addresses", func(t *testing.T) {
		gw := startGateway(t, limitedYAML("", under(privateYAML("a", "/a", origin.URL), "limits: {"+ratePerSubject(2)+"}")))
		var got []string
		for i := range 6 {
			r, _ := gw.do("GET", "/a/x", from(fmt.Sprintf("192.0.2.%d", i)), bearer(`"sub":"alice"`, fmt.Sprintf(`"jti":"%d"`, i)))
			got = append(got, fmt.Sprint(r.StatusCode))
		}
		expect(t, strings.Join(got, " "), "200 200 429 429 429 429")
		for i := range 10 { // a token that is not valid takes nothing from whom it names
			forged := sign256(strings.Repeat("x", 32), b64(`{"alg":"HS256"}`)+"."+b64(`{"sub":"bob","exp":`+in(3600+i)+`}`))
			if r, _ := gw.do("GET", "/a/x", "Authorization: Bearer "+forged); r.StatusCode != 403 {
				t.Errorf("a forged token: status %d", r.StatusCode)
			}
		}
		expect(t, statuses(gw, bearer(`"sub":"bob"`), bearer(`"sub":"bob"`), bearer(`"sub":"bob"`)), "200 200 429")
	})
}

// originLine is a metric of what an origin answers, with nothing of a request in it.
var originLine = regexp.MustCompile(`^yatagarasu_(requests|upstream_requests|upstream_errors)_total\{bucket="a",(origin="127\.0\.0\.1:\d+",|method="GET",)?(code="\d{3}"|reason="[a-z_]+")\} $`)
