package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// ownAnswers are requests that the gateway answers by itself.
var ownAnswers = []struct {
	name, head string
	status     int
}{
	{"unknown route", "GET /nowhere HTTP/1.1\r\nHost: g\r\n\r\n", 404},
	{"unknown route, POST", "POST /nowhere HTTP/1.1\r\nHost: g\r\n\r\n", 404},
	{"dots", "GET /pub/../x HTTP/1.1\r\nHost: g\r\n\r\n", 400},
	{"control bytes", "GET /pub/%00 HTTP/1.1\r\nHost: g\r\n\r\n", 400},
	{"a long target", "GET /pub/x?" + strings.Repeat("q", 9<<10) + " HTTP/1.1\r\nHost: g\r\n\r\n", 414},
	{"two hosts", "GET /pub/x HTTP/1.1\r\nHost: g\r\nHost: h\r\n\r\n", 400},
	{"two lengths", "GET /pub/x HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"a body", "GET /pub/x HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\n\r\nhello", 413},
	{"a body for /health", "GET /health HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\n\r\nhello", 413},
	{"another version", "GET /pub/x HTTP/1.2\r\nHost: g\r\n\r\n", 505},
	{"no HTTP", "\x16\x03\x01 hello\r\n\r\n", 400},
	{"a large head", "GET /pub/x HTTP/1.1\r\nHost: g\r\nA: " + strings.Repeat("b", 20<<10) + "\r\n\r\n", 431},
	{"a head that never ends", "GET /pub/x HTTP/1.1\r\nHost: g\r\n", 408},
	{"POST", "POST /pub/x HTTP/1.1\r\nHost: g\r\n\r\n", 405},
	{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n", 405},
	{"no key", "GET /pub/ HTTP/1.1\r\nHost: g\r\n\r\n", 403},
	{"metrics", "GET /metrics HTTP/1.1\r\nHost: g\r\n\r\n", 404},
	{"administrative call without a token", "GET /admin/status HTTP/1.1\r\nHost: g\r\n\r\n", 401},
	{"administrative call with a wrong one", "POST /admin/reload HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer guess\r\n\r\n", 401},
	{"administrative call with a body", "POST /admin/cache/purge HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer guess\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", 401},
	{"administrative call", "GET /admin/status HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer " + adminToken + "\r\n\r\n", 200},
}

// askFrom sends a request from an address of this machine and returns what comes back until the
// connection is closed, or a complete answer has come.
func askFrom(t *testing.T, source, address, request string) string {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go io.WriteString(c, request) // ends with c; the gateway may answer before it has read all
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	var raw strings.Builder
	r := bufio.NewReader(io.TeeReader(c, &raw))
	for length := 0; ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return raw.String()
		}
		fmt.Sscanf(line, "Content-Length: %d", &length)
		if line == "\r\n" && !strings.HasSuffix(raw.String()[:raw.Len()-r.Buffered()], "100 Continue\r\n\r\n") {
			io.CopyN(io.Discard, r, int64(length))
			return raw.String()[:raw.Len()-r.Buffered()]
		}
	}
}

// TestThreatOwnAnswers has limits and lists of addresses hold for what the gateway answers by
// itself.
func TestThreatOwnAnswers(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	const one, other = "127.0.0.1", "127.0.0.2"
	start := func(t *testing.T, server string, tune ...func(*Options)) *testGateway {
		return startGateway(t, strings.Replace(adminYAML(origin.URL, `admin: {token: "`+adminToken+`"}`), "ready: config", "ready: config, "+server, 1),
			append(tune, func(o *Options) { o.HeaderTimeout = time.Second })...)
	}
	const get = "GET /pub/x HTTP/1.1\r\nHost: g\r\n\r\n"
	variable := regexp.MustCompile(`(?m)^(Date|X-Request-ID|Connection|Content-Length): .*\r\n|"request_id":"[^"]*"`)

	t.Run("T97a_a_denied_address_learns_nothing", func(t *testing.T) {
		t.Parallel()
		gw := start(t, "deny: ["+one+"]")
		want := variable.ReplaceAllString(askFrom(t, one, gw.addr, get), "")
		if statusOf(want) != 403 || !strings.Contains(want, "address_denied") {
			t.Fatalf("%s", want)
		}
		for _, c := range ownAnswers {
			raw := askFrom(t, one, gw.addr, c.head)
			if got := variable.ReplaceAllString(raw, ""); got != want {
				t.Errorf("%s: %q, want %q", c.name, got, want)
			}
			if c.status == 400 && !strings.Contains(c.head, "/pub/%00") && !strings.Contains(c.head, "..") && !strings.Contains(raw, "Connection: close") {
				t.Errorf("%s: the connection stays open behind a head that is not sound: %q", c.name, raw)
			}
			if got := statusOf(askFrom(t, other, gw.addr, c.head)); got != c.status {
				t.Errorf("%s, from an address that is not denied: %d, want %d", c.name, got, c.status)
			}
		}
		for _, target := range []string{"/health", "/ready"} {
			if got := statusOf(askFrom(t, one, gw.addr, "GET "+target+" HTTP/1.1\r\nHost: g\r\n\r\n")); got != 200 {
				t.Errorf("%s: %d", target, got)
			}
		}
		if n := gw.metricValue(`yatagarasu_rejected_total{bucket="",limit="address"}`) + gw.metricValue(`yatagarasu_rejected_total{bucket="main",limit="address"}`); n != float64(len(ownAnswers)+1) {
			t.Errorf("%v are counted as refused, want %d", n, len(ownAnswers)+1)
		}
	})
	for _, c := range ownAnswers {
		if c.status == 408 {
			continue // T97g
		}
		t.Run("T97b_each_answer_takes_one_token/"+c.name, func(t *testing.T) {
			t.Parallel()
			gw := start(t, "limits: {"+rateYAML(6)+", "+ratePerAddress(2)+"}")
			for i, want := range []int{c.status, c.status, 429, 429, 429, 429, 429, 429} {
				if got := statusOf(askFrom(t, one, gw.addr, c.head)); got != want {
					t.Errorf("request %d: status %d, want %d", i, got, want)
				}
			}
			if n := gw.InFlight.Load(); n > 1 { // the last answer may be there before the request has ended
				t.Errorf("%d requests are under way", n)
			}
			for i, from := range []string{other, other, "127.0.0.3", "127.0.0.3", "127.0.0.4"} {
				want := 200
				if i == 4 {
					want = 429 // what was refused was given back, and what was answered was not
				}
				if got := statusOf(askFrom(t, from, gw.addr, get)); got != want {
					t.Errorf("request %d of others: status %d, want %d", i, got, want)
				}
			}
			if got := statusOf(askFrom(t, one, gw.addr, "GET /health HTTP/1.1\r\nHost: g\r\n\r\n")); got != 200 {
				t.Errorf("/health: %d", got)
			}
		})
	}
	for _, c := range []struct {
		name, head string
		reset      bool
	}{
		{"silent", "", false},
		{"a head that never ends", "GET /pub/x HTTP/1.1\r\nHost: g\r\n", false},
		{"a connection that is reset", "", true},
	} {
		t.Run("T97g_who_says_nothing_takes_no_token/"+c.name, func(t *testing.T) {
			t.Parallel()
			gw := start(t, "limits: {"+rateYAML(2)+", "+ratePerAddress(2)+"}")
			const many = 10
			var conns sync.WaitGroup
			for range many {
				conns.Go(func() {
					if !c.reset {
						if got := statusOf(askFrom(t, one, gw.addr, c.head)); got != 408 {
							t.Errorf("status %d", got)
						}
						return
					}
					conn := dial(t, gw.addr)
					conn.(*net.TCPConn).SetLinger(0)
					conn.Close()
				})
			}
			conns.Wait()
			eventually(t, "they are closed", func() bool { return gw.conns.Len() == 0 })
			for i, want := range []int{200, 200, 429} {
				if got := statusOf(askFrom(t, one, gw.addr, get)); got != want {
					t.Errorf("request %d: status %d, want %d", i, got, want)
				}
			}
		})
	}
}

// TestThreatGuesses slows guesses at the admin token.
func TestThreatGuesses(t *testing.T) {
	t.Parallel()
	origin := startOrigin(t, serveText("hello"))
	const one, other, burst = "127.0.0.1", "127.0.0.2", 10
	start := func(t *testing.T, server string) *testGateway {
		return startGateway(t, strings.Replace(adminYAML(origin.URL, `admin: {token: "`+adminToken+`"}`), "ready: config", "ready: config, "+server, 1))
	}
	call := func(token, more string) string {
		if token != "" {
			more = "Authorization: " + token + "\r\n" + more
		}
		return "POST /admin/cache/purge HTTP/1.1\r\nHost: localhost\r\n" + more + "\r\n"
	}
	const right, wrong = "Bearer " + adminToken, "Bearer " + adminToken + "x"
	// A body that is announced, and never sent: who is let in waits for it.
	const body, expect = "Content-Length: 2\r\n", "Content-Length: 2\r\nExpect: 100-continue\r\n"
	for _, listener := range []string{"main", "metrics"} {
		for name, more := range map[string]string{"no_body": "", "a_body": body, "an_expectation": expect} {
			t.Run("T97c_guesses_are_slowed/"+listener+"/"+name, func(t *testing.T) {
				gw := start(t, "")
				address, elsewhere := gw.addr, gw.MetricsAddr().String()
				if listener == "metrics" {
					address, elsewhere = elsewhere, address
				}
				expectStatus := func(what, from, address, request string, want int) {
					t.Helper()
					began := time.Now()
					raw := askFrom(t, from, address, request)
					if got := statusOf(raw); got != want || want == 429 && (!strings.Contains(raw, "Retry-After: 1\r\n") || strings.Contains(raw, "100 Continue")) {
						t.Errorf("%s: status %d, want %d: %q", what, got, want, raw)
					}
					if took := time.Since(began); want != 200 && took > 8*time.Second {
						t.Errorf("%s: answered after %s, as if a body was awaited", what, took)
					}
				}
				for range 2 * burst { // nothing to compare, so nothing to slow
					expectStatus("without a token", one, address, call("", more), 401)
					expectStatus("with another scheme", one, address, call("Basic "+adminToken, more), 401)
				}
				for range 2 * burst {
					expectStatus("right", one, address, call(right, ""), 200)
				}
				for range burst {
					expectStatus("a guess", one, address, call(wrong, more), 401)
				}
				// A second later it may guess once more: on a slow machine, before the right token comes.
				eventually(t, "a guess is slowed, and the right token is not looked at", func() bool {
					for range 5 * burst {
						if statusOf(askFrom(t, one, address, call(wrong, more))) == 429 {
							return statusOf(askFrom(t, one, address, call(right, more))) == 429
						}
					}
					return false
				})
				expectStatus("no token beyond", one, address, call("", more), 401)
				expectStatus("the right one from elsewhere", other, address, call(right, ""), 200)
				expectStatus("the right one on the other listener", one, elsewhere, call(right, ""), 200)
				if n := gw.metricValue(`yatagarasu_rejected_total{bucket="",limit="admin_guesses"}`); n < 2 {
					t.Errorf("%v are counted, want 2", n)
				}
				eventually(t, "the address may try again", func() bool { return statusOf(askFrom(t, one, address, call(right, ""))) == 200 })
			})
		}
	}
	t.Run("T97d_a_denied_address_cannot_guess_by_a_body", func(t *testing.T) {
		gw := start(t, "deny: ["+one+"]")
		for _, more := range []string{body, expect} {
			for _, token := range []string{wrong, right} {
				began := time.Now()
				if raw := askFrom(t, one, gw.addr, call(token, more)); statusOf(raw) != 403 || time.Since(began) > 8*time.Second {
					t.Errorf("%.20q, %q after %s", more, raw, time.Since(began))
				}
			}
		}
	})
}

// TestThreatLog bounds what refused requests write.
func TestThreatLog(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	t.Run("T97e_lines_are_bounded", func(t *testing.T) {
		gw := startGateway(t, adminYAML(origin.URL, `admin: {token: "`+adminToken+`"}`))
		for name, target := range map[string]string{
			"bytes that are no text": "/pub/" + strings.Repeat("\xff", 2000),
			"quotes":                 "/nowhere/" + strings.Repeat(`"`, 2000),
			"text":                   "/nowhere/" + strings.Repeat("é", 2000),
			"a long one":             "/nowhere/" + strings.Repeat("x", 7000),
			"an administrative call": "/admin/" + strings.Repeat("\xff", 2000),
		} {
			before := len(gw.log.String())
			_, id, _ := strings.Cut(gw.raw("GET "+target+" HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n"), "X-Request-ID: ")
			id, _, _ = strings.Cut(id, "\r\n")
			gw.log.waitFor(t, id)
			for line := range strings.Lines(gw.log.String()[before:]) {
				if !strings.Contains(line, id) {
					continue // of the start
				}
				if len(line) > 1000 || !strings.Contains(line, `…"`) {
					t.Errorf("%s: a line of %d bytes, or no mark that it is cut: %s", name, len(line), line)
				}
			}
		}
	})
	const flood = 300
	// flooded serves a flood of requests that a denied client makes in turn, each before one
	// that is served. It returns the log, and how many lines of the flood it may have.
	flooded := func(t *testing.T, more string, targets ...string) (gw *testGateway, log string, may int) {
		const most = 5
		gw = startGateway(t, limitedYAML("deny: [192.0.2.1]", bucketYAML("main", "/pub", origin.URL))+more, func(o *Options) { o.LogRefused = most })
		c := dial(t, gw.addr)
		r := bufio.NewReader(c)
		began := time.Now()
		for i := range flood {
			exchangeOn(t, c, r, "GET "+targets[i%len(targets)]+" HTTP/1.1\r\n"+from("192.0.2.1"))
			exchangeOn(t, c, r, "GET /pub/served HTTP/1.1")
		}
		gw.log.waitFor(t, "were left out")
		if err := gw.stop(); err != nil {
			t.Error(err)
		}
		log = gw.log.String()
		if n := strings.Count(log, `"path":"/pub/served"`); n != flood {
			t.Errorf("%d lines of served requests, want %d", n, flood)
		}
		return gw, log, most * (2 + int(time.Since(began)/time.Second))
	}
	t.Run("T97h_health_checks_are_sampled_and_counted", func(t *testing.T) {
		gw, log, may := flooded(t, "", "/health", "/ready")
		n := strings.Count(log, `"path":"/health"`) + strings.Count(log, `"path":"/ready"`)
		if left := gw.metricValue(`yatagarasu_log_left_out_total{log="main"}`); n == 0 || n > may || n+int(left) != flood {
			t.Errorf("%d lines and %v left out of %d, at most %d", n, left, flood, may)
		}
	})
	t.Run("T97f_a_flood_is_sampled_and_counted", func(t *testing.T) {
		audit := filepath.Join(t.TempDir(), "audit.log")
		gw, log, may := flooded(t, "logging: {audit: {enabled: true, output: "+audit+"}}\n", "/pub/x")
		n, left := strings.Count(log, `"reason":"address_denied"`), 0.0
		for line := range strings.Lines(log) {
			var lines float64
			if _, rest, ok := strings.Cut(line, `"lines":`); ok && strings.Contains(line, "left out") {
				fmt.Sscan(rest, &lines)
			}
			left += lines
		}
		if n == 0 || n > may || n+int(left) != flood || gw.metricValue(`yatagarasu_log_left_out_total{log="main"}`) != left {
			t.Errorf("%d lines and %v left out of %d, at most %d; counted %v", n, left, flood, may, gw.metricValue(`yatagarasu_log_left_out_total{log="main"}`))
		}
		n, left = 0, 0
		for _, l := range logLines(t, audit) {
			if l["decision"] == "left_out" {
				left += l["lines"].(float64)
			} else {
				n++
			}
		}
		if n == 0 || n > may || n+int(left) != flood || gw.metricValue(`yatagarasu_log_left_out_total{log="audit"}`) != left {
			t.Errorf("audit: %d lines and %v left out of %d, at most %d", n, left, flood, may)
		}
	})
}
