package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"yatagarasu/gateway/generation"
)

// TestPoliciesSwapUnderLoad swaps generations with a lax and a tight policy under
// 64 clients: each answer fits one of the two, and once the tight one is in place
// no client gets in by what was remembered.
func TestPoliciesSwapUnderLoad(t *testing.T) {
	origin := startOrigin(t, serveText("hello"))
	yaml := func(role string) string {
		return "server: {ready: config}\nbuckets:\n" + privateYAML("files", "/files", origin.URL, "claims: [{claim: role, operator: equals, value: "+role+"}]")
	}
	gw := startGateway(t, yaml("reader"), func(o *Options) { o.LogLevel = "warn" })
	swap := func(role string) {
		gen, err := generation.New(mustConfig(t, yaml(role)), gw.generationOptions(), gw.Generation.Load())
		if err != nil {
			t.Fatal(err)
		}
		gw.Generation.Swap(gen) // the old one's last requests are still under way
	}
	var stop atomic.Bool
	var counts [600]atomic.Int64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	ask := func(token string) int {
		r, err := http.NewRequest(http.MethodGet, gw.url("/files/x"), nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			token := goodToken(`"role":"reader"`, fmt.Sprintf(`"n":%d`, i%4))
			for !stop.Load() {
				switch status := ask(token); status {
				case 200, 403:
					counts[status].Add(1)
				default:
					t.Errorf("status %d", status)
				}
			}
		})
	}
	for i := range 60 {
		swap([]string{"admin", "reader"}[i%2])
		for range 3 {
			want := []int{403, 200}[i%2]
			if got := ask(goodToken(`"role":"reader"`, `"n":0`)); got != want {
				t.Errorf("after swap %d: status %d, want %d", i, got, want)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
	if counts[200].Load() == 0 || counts[403].Load() == 0 {
		t.Errorf("%d let in, %d refused: nothing was swapped", counts[200].Load(), counts[403].Load())
	}
	if s := gw.log.String(); strings.Contains(s, "panic") {
		t.Error(s)
	}
}
