package gateway

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestStatusPage asks for the page under each of the rules for administrative calls:
// everybody may have it, with a policy that lets its own style and script run alone.
func TestStatusPage(t *testing.T) {
	html, err := os.ReadFile("admin/status.html")
	if err != nil {
		t.Fatal(err)
	}
	page := string(html)
	origin := startOrigin(t, serveText("hello"))
	for name, yaml := range map[string]string{
		"on loopback":        adminYAML(origin.URL),
		"with a token":       adminYAML(origin.URL, `admin: {token: "`+adminToken+`"}`),
		"on every interface": strings.Replace(adminYAML(origin.URL), " address: 127.0.0.1,", "", 1),
	} {
		gw := startGateway(t, yaml)
		port := gw.MetricsAddr().String()
		port = port[strings.LastIndexByte(port, ':'):]
		r, err := http.Get("http://127.0.0.1" + port + "/?x=1")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != 200 || string(body) != page {
			t.Fatalf("%s: %d, %d bytes, %v", name, r.StatusCode, len(body), err)
		}
		for header, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := r.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
		policy := make(map[string]string)
		for _, d := range strings.Split(r.Header.Get("Content-Security-Policy"), "; ") {
			directive, sources, _ := strings.Cut(d, " ")
			policy[directive] = sources
		}
		for directive, want := range map[string]string{
			"default-src": "'none'", "connect-src": "'self'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
			"require-trusted-types-for": "'script'", "trusted-types": "'none'",
			"script-src": "'sha256-" + sumBetween(t, string(body), "<script>", "</script>") + "'",
			"style-src":  "'sha256-" + sumBetween(t, string(body), "<style>", "</style>") + "'",
		} {
			if policy[directive] != want {
				t.Errorf("%s: %s is %s, want %s", name, directive, policy[directive], want)
			}
		}
		status, _ := gw.adminAt("127.0.0.1"+port, "POST", "/", "")
		if status != 405 {
			t.Errorf("%s: POST: %d", name, status)
		}
		if r, err := http.Head("http://127.0.0.1" + port + "/"); err != nil || r.StatusCode != 200 {
			t.Errorf("%s: HEAD: %v, %v", name, r, err)
		}
		if status, _ := gw.adminAt(gw.addr, "GET", "/", ""); status != 404 {
			t.Errorf("%s: on the main listener: %d", name, status)
		}
	}
}

// sumBetween returns the hash of what is between two texts that occur once.
func sumBetween(t *testing.T, page, begin, end string) string {
	t.Helper()
	if strings.Count(page, begin) != 1 || strings.Count(page, end) != 1 {
		t.Fatalf("%s occurs %d times", begin, strings.Count(page, begin))
	}
	_, rest, _ := strings.Cut(page, begin)
	content, _, _ := strings.Cut(rest, end)
	sum := sha256.Sum256([]byte(content))
	return base64.StdEncoding.EncodeToString(sum[:])
}
