package introspect

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yatagarasu/gateway/limit"
)

// reads takes {"active":true, ...} and {"active":false} for answers.
func reads(answer []byte) (bool, error) {
	switch text := strings.TrimSpace(string(answer)); {
	case strings.HasPrefix(text, `{"active":true`):
		return true, nil
	case text == `{"active":false}`:
		return false, nil
	}
	return false, errors.New("it is no answer")
}

// clientOf returns a client of an issuer at this URL that has a second.
func clientOf(url string) *Client {
	return New(Options{Endpoint: func() string { return url }, ClientID: "gate:way", ClientSecret: "s%+ é", Timeout: time.Second})
}

// issuer starts an issuer that answers by handler, and returns a client of it.
func issuer(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return clientOf(s.URL + "/introspect")
}

// answers is a handler that answers with JSON.
func answers(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		io.WriteString(w, text)
	}
}

func Example() {
	issuer := httptest.NewServer(answers(`{"active":true,"sub":"alice"}`))
	defer issuer.Close()
	c := New(Options{Endpoint: func() string { return issuer.URL }, ClientID: "gateway", ClientSecret: "secret", Timeout: time.Second})
	a := c.Ask([]byte("2YotnFZFEjr1zCsicMWpAA"), reads)
	fmt.Println(Outcomes[a.Outcome], string(a.Claims))
	// Output: active {"active":true,"sub":"alice"}
}

// TestRequest holds what an issuer is asked against RFC 7662 (2.1) and RFC 6749 (2.3.1).
func TestRequest(t *testing.T) {
	const token = "a.b~c+/d=="
	for name, inBody := range map[string]bool{"basic": false, "in the body": true} {
		t.Run(name, func(t *testing.T) {
			var got *http.Request
			var form url.Values
			c := issuer(t, func(w http.ResponseWriter, r *http.Request) {
				r.ParseForm()
				got, form = r, r.PostForm
				answers(`{"active":false}`)(w, r)
			})
			c.o.InBody = inBody
			if a := c.Ask([]byte(token), reads); a.Outcome != Inactive || a.Claims != nil || a.Err != nil {
				t.Fatalf("%+v", a)
			}
			if got.Method != "POST" || got.URL.String() != "/introspect" || got.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || got.Header.Get("Accept") != "application/json" {
				t.Errorf("%s %s, %v", got.Method, got.URL, got.Header)
			}
			if form.Get("token") != token || form.Get("token_type_hint") != "access_token" {
				t.Errorf("form %v", form)
			}
			want, header := "Basic "+base64.StdEncoding.EncodeToString([]byte("gate%3Away:s%25%2B+%C3%A9")), got.Header.Get("Authorization")
			if inBody {
				want = ""
				if form.Get("client_id") != "gate:way" || form.Get("client_secret") != "s%+ é" {
					t.Errorf("form %v", form)
				}
			} else if form.Has("client_id") || form.Has("client_secret") {
				t.Errorf("form %v", form)
			}
			if header != want {
				t.Errorf("Authorization %q, want %q", header, want)
			}
		})
	}
}

// TestFailures has issuers that give no verdict: an error says why, and never has token or secret.
func TestFailures(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			io.WriteString(w, `{"active":true}`)
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		down    bool // it counts against the issuer, though it was right a moment ago
		want    string
	}{
		"our credential is wrong": {status(401), true, "does not accept the gateway's client_id and client_secret (status 401)"},
		"we may not ask":          {status(403), false, "does not accept the gateway's client_id and client_secret (status 403)"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/introspect" {
				http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
			} else {
				answers(`{"active":true}`)(w, r)
			}
		}, false, "it redirects (status 307)"},
		"no such place":    {status(404), false, "there is no introspection at this URL (status 404)"},
		"another method":   {status(405), false, "there is no introspection at this URL (status 405)"},
		"bad request":      {status(400), false, "answers with status 400"},
		"created":          {status(201), false, "answers with status 201"},
		"it stumbles":      {status(500), false, "answers with status 500"},
		"too many":         {status(429), true, "overloaded (status 429)"},
		"behind a gateway": {status(502), true, "overloaded (status 502)"},
		"overloaded":       {status(503), true, "overloaded (status 503)"},
		"a page": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, `{"active":true}`)
		}, false, "no JSON, by its Content-Type"},
		"no type": {func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil
			io.WriteString(w, `{"active":true}`)
		}, false, "no JSON, by its Content-Type"},
		"no answer": {answers(`{"active":"true"}`), false, "it is no answer"},
		"too long":  {answers(`{"active":true,"a":"` + strings.Repeat("x", MaxAnswer) + `"}`), false, "longer than 64 KiB"},
		"compressed": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			answers("\x1f\x8b")(w, r)
		}, false, "it is no answer"},
		"broken off": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			answers(`{"active":true}`)(w, r)
		}, true, "unexpected EOF"},
		"silent": {func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }, true, "does not answer in time"},
		"drips": {func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // else nobody notices that the client has gone
			w.Header().Set("Content-Type", "application/json")
			for _, c := range `{"active":true` + strings.Repeat(" ", 100) {
				fmt.Fprintf(w, "%c", c)
				http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(50 * time.Millisecond): // as slow as that
				}
			}
		}, true, "does not answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := issuer(t, c.handler)
			client.o.Timeout = 300 * time.Millisecond
			for _, healthy := range []bool{false, true} {
				if healthy {
					client.good.Store(time.Now().UnixNano())
				}
				a := client.Ask([]byte("a-token"), reads)
				if a.Outcome != Failed || a.Claims != nil || a.Err == nil || !strings.Contains(a.Err.Error(), c.want) || a.Blames != (healthy && !c.down) {
					t.Errorf("healthy %t: %+v, want %s", healthy, a, c.want)
				}
				if text := fmt.Sprint(a.Err); strings.Contains(text, "a-token") || strings.Contains(text, client.o.ClientSecret) || strings.Contains(text, "127.0.0.1") {
					t.Errorf("%s tells too much", text)
				}
			}
		})
	}
}

// TestUnreachable has an issuer go away and come back: it is left alone, and OnChange told of both.
func TestUnreachable(t *testing.T) {
	up := new(atomic.Bool)
	c := issuer(t, func(w http.ResponseWriter, r *http.Request) {
		if !up.Load() {
			panic(http.ErrAbortHandler)
		}
		answers(`{"active":true}`)(w, r)
	})
	var told []string
	c.o.OnChange = func(err error) { told = append(told, fmt.Sprint(err)) }
	for range limit.BreakAfter {
		if a := c.Ask([]byte("t"), reads); a.Outcome != Failed {
			t.Fatalf("%+v", a)
		}
	}
	if a := c.Ask([]byte("t"), reads); a.Outcome != Skipped || a.Err == nil || a.Blames || !c.Failing() {
		t.Errorf("%+v, failing %t", a, c.Failing())
	}
	up.Store(true)
	for deadline := time.Now().Add(10 * time.Second); c.Ask([]byte("t"), reads).Outcome != Active; time.Sleep(20 * time.Millisecond) { // until it is asked again
		if time.Now().After(deadline) {
			t.Fatal("it is not asked again")
		}
	}
	if c.Failing() || len(told) != 2 || told[0] == "<nil>" || told[1] != "<nil>" {
		t.Errorf("failing %t, told %q", c.Failing(), told)
	}
}

// TestOnChange has look-ups end well and badly at the same time: the operator is told of each change,
// and of one that is for the worse with a reason.
func TestOnChange(t *testing.T) {
	c := clientOf("")
	var told []error
	c.o.OnChange = func(err error) { told = append(told, err) }
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for i := range 300_000 {
				if ok := i%(2*limit.BreakAfter) == 0; ok {
					c.report(&c.breaker, true, nil)
				} else {
					c.report(&c.breaker, false, errors.New("it is away"))
				}
			}
		})
	}
	asking.Wait()
	for i, err := range told {
		if (err != nil) != (i%2 == 0) {
			t.Fatalf("change %d of %d: %v", i, len(told), err)
		}
	}
	if len(told) == 0 {
		t.Error("nothing is told")
	}
}

// TestEcho has an issuer send the token back where only the form of an answer is wrong: no error has it.
func TestEcho(t *testing.T) {
	const token = "a-token-to-look-for"
	for name, head := range map[string]string{
		"as the answer": "%s\r\n", "as the status": "HTTP/1.1 %s\r\n\r\n", "as a header": "HTTP/1.1 200 OK\r\n%s\r\n\r\n",
		"as the length": "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n", "as the encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
		"as the size of a part": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := issuer(t, func(w http.ResponseWriter, r *http.Request) {
				said := r.PostFormValue("token")
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprintf(conn, head, said)
				conn.Close()
			})
			a := c.Ask([]byte(token), reads)
			if a.Outcome != Failed || a.Err == nil || a.Err.Error() == "" || strings.Contains(a.Err.Error(), "to-look-for") {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestBlamesTokens has the issuer, or a firewall before it, stumble over one token, again and again: it
// is asked about others.
func TestBlamesTokens(t *testing.T) {
	for _, status := range []int{302, 400, 403, 404, 406, 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			c := issuer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.PostFormValue("token") == "../../etc/passwd" {
					w.WriteHeader(status)
					return
				}
				answers(`{"active":true}`)(w, r)
			})
			if a := c.Ask([]byte("good"), reads); a.Outcome != Active {
				t.Fatalf("%+v", a)
			}
			for range 3 * limit.BreakAfter {
				if a := c.Ask([]byte("../../etc/passwd"), reads); a.Outcome != Failed || !a.Blames {
					t.Errorf("%+v", a)
				}
			}
			if a := c.Ask([]byte("good"), reads); a.Outcome != Active {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestAnotherTokensAnswer has an issuer send, behind each answer, one more that nobody asked for.
func TestAnotherTokensAnswer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
	go func() { // ends with the listener
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer conn.Close()
				b := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(b)
					if err != nil {
						return
					}
					io.Copy(io.Discard, r.Body)
					no, yes := `{"active":false}`, `{"active":true}`
					fmt.Fprintf(conn, answer+answer, len(no), no, len(yes), yes)
				}
			}()
		}
	}()
	c := clientOf("http://" + ln.Addr().String())
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range 100 {
				if a := c.Ask([]byte("t"), reads); a.Outcome == Active {
					t.Errorf("%+v", a)
					return
				}
			}
		})
	}
	asking.Wait()
}

// TestErrorsHaveNothingOfTheAnswer has an issuer send the token where HTTP wants something else.
func TestErrorsHaveNothingOfTheAnswer(t *testing.T) {
	const token, head = "2YotnFZFEjr1zCsicMWpAA", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for name, answer := range map[string]string{
		"no HTTP":                   token + "\r\n\r\n",
		"a status that is none":     "HTTP/1.1 " + token + "\r\n\r\n",
		"a header without a colon":  head + token + "\r\n\r\n",
		"a length that is none":     head + "Content-Length: " + token + "\r\n\r\n",
		"an encoding that is none":  head + "Transfer-Encoding: " + token + "\r\n\r\n",
		"a trailer without a colon": head + "Transfer-Encoding: chunked\r\nTrailer: x\r\n\r\n0\r\n" + token + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			a := issuer(t, func(w http.ResponseWriter, r *http.Request) {
				r.ParseForm()
				if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
					io.WriteString(c, answer)
					c.Close()
				}
			}).Ask([]byte(token), reads)
			if a.Outcome != Failed || a.Err.Error() != "its answer is no HTTP" {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestNotKnownYet has no address to ask at, and one that is none.
func TestNotKnownYet(t *testing.T) {
	if c := clientOf(""); !c.Failing() {
		t.Error("it can be asked nowhere, and does not fail")
	} else if a := c.Ask([]byte("t"), reads); a.Outcome != Skipped || a.Err == nil {
		t.Errorf("%+v", a)
	}
	if a := clientOf("http://[").Ask([]byte("t"), reads); a.Outcome != Failed || a.Err.Error() != "its URL is none" {
		t.Errorf("%+v", a)
	}
}

func TestIsToken(t *testing.T) {
	for text, want := range map[string]bool{
		"2YotnFZFEjr1zCsicMWpAA": true, "eyJh.eyJz.c2ln": true, "a-._~+/=": true, "a==": true,
		"": false, "=": false, "a=b": false, "a b": false, "a\n": false, "a\x00": false, "é": false, "a&b": false, "a%20": false, "\"a\"": false,
	} {
		if IsToken([]byte(text)) != want {
			t.Errorf("%q: %t", text, !want)
		}
	}
}
