package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestAudit has its own log of who was let in.
func TestAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	origin := startOrigin(t, serveText("hello"))
	gw := startGateway(t, "server: {ready: config}\nlogging: {level: error, sample: 0, audit: {enabled: true, output: "+path+"}}\nbuckets:\n"+
		privateYAML("files", "/files", origin.URL)+bucketYAML("pub", "/pub", origin.URL))
	token := goodToken()
	gw.do("GET", "/files/a?token=secret", "Authorization: Bearer "+token)
	gw.do("GET", "/files/b")
	gw.do("GET", "/files/c", "Authorization: Bearer "+token[:len(token)-3]+"abc")
	gw.do("GET", "/pub/d")
	if err := gw.stop(); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range logLines(t, path) {
		got = append(got, fmt.Sprint(l["decision"], " ", l["bucket"], " ", l["path"], " ", l["status"], " ", l["client"]))
		if l["time"] == nil || l["request_id"] == "" {
			t.Errorf("%v", l)
		}
	}
	slices.Sort(got) // a line is written after its response, so they may change places
	want := "denied files /files/b 401 127.0.0.1, denied files /files/c 403 127.0.0.1, granted files /files/a 200 127.0.0.1"
	if strings.Join(got, ", ") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, ", "), want)
	}
	if strings.Contains(string(text), token) || strings.Contains(string(text), "secret") {
		t.Errorf("a token is in the log: %s", text)
	}
	if gw.log.String() != "" {
		t.Errorf("the other log: %s", gw.log.String())
	}
}

// TestAuditDecisions has the audit log say what the gateway decided, which is not what
// the status says.
func TestAuditDecisions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	origin := startOrigin(t, serveText("hello")).URL
	denies := startOrigin(t, s3Answer(403, "AccessDenied")).URL
	unheard := startOrigin(t, s3Answer(500, "InternalError")).URL
	gw := startGateway(t, "server: {ready: config}\nadmin: {token: 0123456789abcdef}\nlogging: {audit: {enabled: true, output: "+path+"}}\nbuckets:\n"+
		privateYAML("files", "/files", origin)+
		privateYAML("denies", "/denies", denies)+
		protectedYAML("keyless", "/keyless", origin, "jwks_url: "+unheard+"/jwks", "algorithm: ES256", "jwks_optional: true")+
		under(privateYAML("limited", "/limited", origin), "limits: {"+ratePerSubject(1)+"}")+
		under(bucketYAML("closed", "/closed", origin), "deny: [127.0.0.1]")+
		bucketYAML("public", "/public", denies))
	token := "Authorization: Bearer " + goodToken()
	for _, target := range []string{"/files/a", "/files/", "/denies/a", "/keyless/a", "/limited/a", "/limited/b", "/closed/a", "/public/a", "/public/", "/admin/status"} {
		if target == "/keyless/a" { // a key of the set could have signed it
			gw.do("GET", target, "Authorization: Bearer "+handmade(`{"alg":"ES256"}`, `{"exp":`+in(3600)+"}"))
			continue
		}
		gw.do("GET", target, token)
	}
	if err := gw.stop(); err != nil {
		t.Error(err)
	}
	var got []string
	for _, l := range logLines(t, path) {
		got = append(got, fmt.Sprint(l["path"], " ", l["decision"], " ", l["status"], " ", l["reason"]))
	}
	slices.Sort(got)
	want := []string{
		"/admin/status denied 401 admin_token_required",
		"/closed/a denied 403 address_denied",
		"/denies/a granted 403 access_denied",
		"/files/ granted 403 no_object_key",
		"/files/a granted 200 ",
		"/keyless/a denied 503 keys_unavailable",
		"/limited/a granted 200 ",
		"/limited/b denied 429 subject_rate",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
