package gateway

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"yatagarasu/gateway/admin"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/serve"
)

// TestReloadThatFails has files that differ from the configuration in effect and fail
// only once that is known: nothing is told to have changed.
func TestReloadThatFails(t *testing.T) {
	base := oneBucket("/pub", "http://127.0.0.1:1") + metricsYAML
	for name, yaml := range map[string]string{
		"a key set that is not there": "server: {ready: config}\nlogging: {level: debug}\n" + metricsYAML + "buckets:\n" +
			protectedYAML("new", "/new", "http://127.0.0.1:1", "jwks_url: http://127.0.0.1:1/keys"),
		"mistakes": "logging: {level: debug}\n",
	} {
		t.Run(name, func(t *testing.T) {
			gw, write := fileGateway(t, base)
			write(yaml)
			r := gw.requestReload()
			if len(r.Errors) == 0 {
				t.Fatal("the reload works")
			}
			if got, want := fmt.Sprint(r), fmt.Sprint(admin.ReloadResult{Result: "failed", Generation: 1, Errors: r.Errors}); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if _, body := gw.admin("GET", "/admin/status", ""); !strings.Contains(body, `"result":"failed","generation":1,"added":null`) {
				t.Errorf("the status is %s", body)
			}
		})
	}
}

// A bug in a reload fails the reload alone.
func TestReloadPanics(t *testing.T) {
	var log syncBuffer
	g := &Gateway{Server: serve.Server{Observer: new(observe.Observer)}} // whose generation is nil
	g.Log = zerolog.New(&log)
	if r, err := g.tryReload(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "cannot reload: ") || !strings.Contains(log.String(), "tryReload") {
		t.Errorf("%+v, %v; log %s", r, err, log.String())
	}
}

// TestReloadPanicsLate has a bug show once the new generation is there: before the swap it
// is let go of, after the swap it is in effect, and not told to be otherwise.
func TestReloadPanicsLate(t *testing.T) {
	open := oneBucket("/pub", "http://127.0.0.1:1")
	keyed := "server: {ready: config}\nbuckets:\n" + protectedYAML("b", "/pub", "http://127.0.0.1:1", "jwks_url: http://127.0.0.1:1/keys", "jwks_optional: true")
	t.Run("before the swap", func(t *testing.T) {
		gw, write := fileGateway(t, withTLS(t, open))
		h := gw.Generation.Load().Config.Server.HTTPS
		before := fetchers()
		write(strings.Replace(keyed, "ready: config}", fmt.Sprintf("ready: config, https: {enabled: true, cert_path: %q, key_path: %q}}", h.CertPath, h.KeyPath), 1))
		gw.certificate.Current.Store(nil)
		if r := gw.requestReload(); len(r.Errors) == 0 || !strings.HasPrefix(r.Errors[0], "cannot reload: ") || r.Generation != 1 {
			t.Errorf("%+v", r)
		}
		eventually(t, "the generation that was not swapped in fetches no more keys", func() bool { return fetchers() <= before })
	})
	t.Run("after the swap", func(t *testing.T) {
		gw, write := fileGateway(t, open)
		gw.Generation.Load().Buckets[0].Origin = nil // which cannot be let go of
		write(strings.ReplaceAll(open, "/pub", "/new"))
		if r := gw.requestReload(); len(r.Errors) > 0 || r.Result != "reloaded" || r.Generation != 2 || gw.Generation.Load().Number != 2 {
			t.Errorf("generation %d is in effect, told is %+v", gw.Generation.Load().Number, r)
		}
		gw.log.waitFor(t, "a reload panicked")
		gw.log.waitFor(t, "configuration reloaded")
	})
}

// fetchers returns how many goroutines fetch key sets at intervals.
func fetchers() int { return goroutinesIn("created by yatagarasu/gateway/keys.(*document).start ") }

// goroutinesIn returns how often a line of the stacks of all goroutines begins with call.
func goroutinesIn(call string) int {
	all := make([]byte, 4<<20)
	return strings.Count(string(all[:runtime.Stack(all, true)]), "\n"+call)
}
