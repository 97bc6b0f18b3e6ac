package gateway

import (
	"testing"
)

// The Host that is signed is the one that is sent, and the slash behind the
// endpoint is in no path.
func TestOriginHostOnTheWire(t *testing.T) {
	o := startOrigin(t, serveText("x"))
	gw := startGateway(t, oneBucket("/pub", o.URL+"/"))
	if r, body := gw.do("GET", "/pub/a"); r.StatusCode != 200 || string(body) != "x" {
		t.Fatalf("%d %q", r.StatusCode, body)
	}
	for _, r := range o.seen() {
		if r.Host != o.Listener.Addr().String() || r.URL.Path != "/things/a" {
			t.Errorf("the origin is asked for %s at %s", r.URL.Path, r.Host)
		}
	}
}
