//go:build !race

// The program that make has built is what is tried, so the race detector would see the test alone.

package balance

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"yatagarasu/loadtest/needs"
	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
)

// recipes are what is tried, each with the part of the other gateways' objects that may move when one goes.
var recipes = []struct {
	name  string
	moves float64
	Recipe
	find   func(t *testing.T) string
	pauses []string // the pauses that it allows
	check  string   // how long a health check may take
}{
	{"haproxy", 0, HAProxy, func(t *testing.T) string { return needs.Program(t, "haproxy") }, []string{"timeout client 2m", "timeout server 2m"}, "timeout check 1s"},
	{"envoy", 0.1, Envoy, findEnvoy, []string{"stream_idle_timeout: 120s"}, "no_traffic_interval: 1s\n          timeout: 1s"},
}

func findEnvoy(t *testing.T) string {
	path, err := exec.LookPath("envoy")
	if err != nil {
		path, err = process.Find("envoy")
	}
	if err != nil {
		needs.Skip(t, "envoy is not installed: run `make tool-envoy`")
	}
	return path
}

// TestRecipes has the balancers of deploy do what their files say, before real gateways.
func TestRecipes(t *testing.T) {
	for _, r := range recipes {
		t.Run(r.name, func(t *testing.T) {
			// A gateway on a busy machine may be slow to say that it is well. Of one that is gone the
			// connection is refused at once, and one that leaves says so.
			patient := strings.TrimSuffix(r.check, "1s") + "10s"
			f := newField(t, r.Recipe, r.find(t), r.check, patient)
			f.testOnce(t)
			f.testTogether(t)
			f.testClient(t)
			f.testKill(t, r.moves)
			f.testDrain(t)
		})
	}
}

// testOnce has each object fetched once, whatever its query, and each gateway have a fair part.
func (f *field) testOnce(t *testing.T) {
	_, before := f.origin.since(0)
	for range 4 {
		f.askAll(t)
	}
	for i := range objects {
		if err := f.ask(fmt.Sprintf("object-%d?download=%d", i, i)); err != nil {
			t.Fatal(err)
		}
	}
	fetches, _ := f.origin.since(before)
	t.Logf("%d objects, 5 times each: %d fetches, %v", objects, len(fetches), by(fetches))
	if len(fetches) != objects {
		t.Errorf("%d objects are fetched %d times", objects, len(fetches))
	}
	for i := range f.gateways {
		if n := by(fetches)[name(i)]; n < objects/3*6/10 {
			t.Errorf("%s has %d of %d objects", name(i), n, objects)
		}
	}
}

// testTogether has many ask at once: copies are few.
func (f *field) testTogether(t *testing.T) {
	_, before := f.origin.since(0)
	var wg sync.WaitGroup
	for w := range 2 * workers {
		wg.Go(func() {
			for n := w; n < 5*objects; n += 2 * workers {
				if err := f.ask(fmt.Sprint("together-", n%objects)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	fetches, _ := f.origin.since(before)
	t.Logf("%d objects, 5 times each, by %d at once: %.2f fetches for each", objects, 2*workers, float64(len(fetches))/objects)
	if len(fetches) > 2*objects {
		t.Errorf("%d objects are fetched %d times", objects, len(fetches))
	}
}

// testClient has the gateways know their clients, who cannot say that they are others, and keeps
// administrative calls from them.
func (f *field) testClient(t *testing.T) {
	r, err := http.NewRequest(http.MethodGet, f.balancer.URL+"/pub/whose", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	answer, err := f.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	eventually(t, "the request is logged with its client", func() bool {
		for _, l := range f.logs {
			for line := range strings.Lines(l.String()) {
				if strings.Contains(line, "/pub/whose") && strings.Contains(line, `"127.0.0.2"`) && !strings.Contains(line, "203.0.113.9") {
					return true
				}
			}
		}
		return false
	})
	for _, path := range []string{"/admin", "/admin/status?x=1"} {
		r, err := f.client.Get(f.balancer.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		for i, l := range f.logs {
			if strings.Contains(l.String(), `"/admin`) {
				t.Errorf("%s is asked for %s", name(i), path)
			}
		}
		if r.StatusCode != http.StatusNotFound {
			t.Errorf("%s is answered with %d", path, r.StatusCode)
		}
	}
}

// testKill has no request fail after a gateway is killed, but what it had begun to answer, which nobody
// is asked for again. Then the gateway comes back.
func (f *field) testKill(t *testing.T, moves float64) {
	const victim = 1
	owner, all := make(map[string]string), 0
	fetches, _ := f.origin.since(0)
	for _, e := range fetches {
		if strings.HasPrefix(e.object, "object-") {
			owner[e.object] = e.gateway
		}
	}
	begun, object := f.halfOf(t, victim, "slow-kill")
	l := f.load()
	l.reach(t, 500)
	killed := time.Now()
	f.gateways[victim].Kill()
	if n, err := io.Copy(io.Discard, begun.Body); err == nil || n >= slowSize/2 {
		t.Errorf("an answer that broke off goes on for %d bytes, %v", n, err)
	}
	eventually(t, "the health check has noticed", func() bool { return time.Since(killed) > 4*time.Second })
	l.reach(t, 500)
	failures := l.end()
	t.Logf("killed: %d of %d requests fail", len(failures), l.answered.Load())
	if len(failures) > workers {
		t.Errorf("%d requests fail, of which at most %d were under way", len(failures), workers)
	}
	for _, e := range failures[:min(len(failures), 2*workers)] {
		t.Logf("%s after the kill: %v", e.at.Sub(killed), e.err)
	}
	if n := len(failures); n > 0 && failures[n-1].at.Sub(killed) > 3*time.Second {
		t.Error("requests fail that were sent after the health check")
	}
	fetches, _ = f.origin.since(0)
	for _, e := range fetches {
		if e.object == object {
			all++
		}
	}
	if all != 1 {
		t.Errorf("an answer that has begun is asked for %d times", all)
	}
	f.testMoves(t, "gone", owner, moves, func(e fetch) bool { return owner[e.object] == name(victim) && e.gateway != name(victim) })

	var at int
	fmt.Sscanf(f.gateways[victim].URL, "http://127.0.0.1:%d", &at)
	f.start(t, victim, at)
	f.await(t, victim)
	f.testMoves(t, "back", owner, moves, func(e fetch) bool { return owner[e.object] == name(victim) && e.gateway == name(victim) })
}

// testMoves asks for the objects: those are fetched that have moved, and few others.
func (f *field) testMoves(t *testing.T, when string, owner map[string]string, moves float64, expected func(fetch) bool) {
	t.Helper()
	others := 0
	fetches := f.askAll(t)
	for _, e := range fetches {
		if !expected(e) {
			others++
		}
	}
	t.Logf("%s: %d objects fetched, of which %d should have stayed", when, len(fetches), others)
	if len(fetches) == others || float64(others) > moves*objects {
		t.Errorf("%s: of %d fetches %d are for what should have stayed", when, len(fetches), others)
	}
}

// testDrain has a gateway end without the loss of a request.
func (f *field) testDrain(t *testing.T) {
	const leaver = 2
	begun, _ := f.halfOf(t, leaver, "slow-drain")
	l := f.load()
	l.reach(t, 500)
	ended := make(chan error, 1)
	go func() { ended <- f.gateways[leaver].Stop() }()
	address := strings.TrimPrefix(f.gateways[leaver].URL, "http://")
	eventually(t, "the gateway, which still serves, is asked for nothing more", func() bool {
		_, before := f.origin.since(0)
		for range 40 {
			f.ask(fmt.Sprintf("drain-%d", time.Now().UnixNano()))
		}
		fetches, _ := f.origin.since(before)
		return by(fetches)[name(leaver)] == 0 && answers(address) == nil
	})
	eventually(t, "the gateway has drained", func() bool { return answers(address) != nil })
	l.reach(t, 200)
	close(f.origin.gate)
	n, err := io.Copy(io.Discard, begun.Body)
	if err != nil || n != slowSize/2 {
		t.Errorf("a download of the gateway that ends: %d bytes more, %v", n, err)
	}
	if err := <-ended; err != nil || f.gateways[leaver].ExitCode() != 0 {
		t.Errorf("%v, exit code %d", err, f.gateways[leaver].ExitCode())
	}
	l.reach(t, 200)
	failures := l.end()
	t.Logf("drained: %d of %d requests fail", len(failures), l.answered.Load())
	for _, e := range failures[:min(len(failures), 2*workers)] {
		t.Error(e.err)
	}
}

// TestPauses has a download that takes longer than any timeout arrive: they are for pauses.
func TestPauses(t *testing.T) {
	for _, r := range recipes {
		t.Run(r.name, func(t *testing.T) {
			var shorter []string
			for _, pause := range r.pauses {
				shorter = append(shorter, pause, regexp.MustCompile(`\d+[ms]$`).ReplaceAllString(pause, "1s"))
			}
			f := newField(t, r.Recipe, r.find(t), shorter...)
			begin := time.Now()
			answer, err := f.client.Get(f.balancer.URL + "/pub/large")
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			for i := range 40 {
				time.Sleep(100 * time.Millisecond) // a slow client
				if n, err := io.CopyN(io.Discard, answer.Body, largeSize/40); err != nil {
					t.Fatalf("cut %s after its begin, in part %d after %d bytes: %v", time.Since(begin), i, n, err)
				}
			}
			if n, err := io.Copy(io.Discard, answer.Body); err != nil || n > 40 {
				t.Errorf("%d bytes more, %v", n, err)
			}
		})
	}
}

// TestProxyProtocol has the balancers name the clients in PROXY headers, as the comments of the
// recipes say.
func TestProxyProtocol(t *testing.T) {
	for _, r := range recipes {
		t.Run(r.name, func(t *testing.T) {
			binary, origin, config, out := r.find(t), startOrigin(t), filepath.Join(t.TempDir(), "config.yaml"), new(log)
			writeConfig(t, config, origin.URL, "gateway", ", proxy_protocol: true")
			program, err := process.Find("yatagarasu")
			if err != nil {
				t.Fatal(err)
			}
			var address string
			if err := port.Try(0, func(at int) error {
				address = port.Address(at)
				p, err := process.Start(program, []string{"-config", config, "-listen.address", address}, nil, out)
				if err != nil {
					return err
				}
				t.Cleanup(p.Kill)
				return p.Await(t.Context(), 10*time.Millisecond, func() error { return answers(address) })
			}); err != nil {
				t.Fatal(err)
			}
			old, uncommented := alternative(t, r.File)
			b, err := r.Start(t.Context(), binary, t.TempDir(), []string{address, address, address}, nil, old, uncommented)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Kill)
			f := &field{origin: origin, balancer: b, client: clientFrom(t, "127.0.0.2")}
			eventually(t, "an answer", func() bool { return f.ask("object") == nil })
		})
	}
}

// alternative returns the lines of a recipe that are commented out for the PROXY protocol, as
// they are and as they are in use.
func alternative(t *testing.T, file string) (commented, used string) {
	t.Helper()
	root, err := process.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	// Comments begin with capital letters.
	m := regexp.MustCompile(`# With server\.proxy_protocol .*\n((?:[ \t]*# *[^A-Z\s].*\n)+)`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s does not say how to have the PROXY protocol", file)
	}
	return string(m[1]), regexp.MustCompile(`(?m)^([ \t]*)#`).ReplaceAllString(string(m[1]), "$1")
}
