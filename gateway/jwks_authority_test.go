package gateway

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKeySetAuthorityReload has the authority of an identity provider replaced: a reload
// reads the file again, and one under which the keys cannot be fetched changes nothing.
func TestKeySetAuthorityReload(t *testing.T) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	x := base64.RawURLEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
	provider := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"Ed25519","kid":"a","x":%q},{"kty":"XYZ","kid":"c"}]}`, x)
	}))
	provider.Config.ErrorLog = log.New(io.Discard, "", 0)
	provider.StartTLS()
	t.Cleanup(provider.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: provider.Certificate().Raw})
	path, _ := writeCertificate(t)
	stranger, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	put := func(bundle []byte) {
		t.Helper()
		if err := os.WriteFile(ca, bundle, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(authority)
	origin := startOrigin(t, serveText("hello"))
	gw, _ := fileGateway(t, "server: {ready: config}\n"+metricsYAML+"buckets:\n"+
		protectedYAML("main", "/pub", origin.URL, "jwks_url: "+provider.URL, "ca_file: "+ca))
	payload := b64(`{"alg":"Ed25519","kid":"a"}`) + "." + b64(fmt.Sprintf(`{"exp":%d}`, time.Now().Add(time.Hour).Unix()))
	token := "Authorization: Bearer " + payload + "." + b64(string(ed25519.Sign(private, []byte(payload))))
	reads := func() {
		t.Helper()
		if r, body := gw.do("GET", "/pub/x", token); r.StatusCode != 200 {
			t.Errorf("%d %s", r.StatusCode, body)
		}
	}
	reads()
	name := "{jwks=\"" + provider.URL + "\"}"
	if age, most := gw.metricValue("yatagarasu_jwks_age_seconds"+name), gw.metricValue("yatagarasu_jwks_max_age_seconds"+name); age <= 0 || age > 60 || most != 86400 {
		t.Errorf("the key set is %v s old, of %v", age, most)
	}
	put(stranger)
	if r := gw.requestReload(); len(r.Errors) != 1 || !strings.Contains(r.Errors[0], "certificate") || r.Generation != 1 {
		t.Errorf("with another authority: %+v", r)
	}
	reads()
	put(append(stranger, authority...))
	if r := gw.requestReload(); len(r.Errors) > 0 || r.Generation != 2 {
		t.Errorf("with both: %+v", r)
	}
	reads()
	put([]byte("-----"))
	if r := gw.requestReload(); len(r.Errors) != 1 || !strings.Contains(r.Errors[0], "auth.jwt.ca_file: ") || !strings.Contains(r.Errors[0], "holds no certificate") {
		t.Errorf("with none: %+v", r)
	}
	if r := gw.requestReload(); len(r.Errors) == 0 {
		t.Errorf("with none, again: %+v", r)
	}
	reads()
	gw.log.waitFor(t, `"level":"warn"`)
	if text := gw.log.String(); !strings.Contains(text, `"kid":"c"`) || !strings.Contains(text, "it is no JWK of a supported type") || !strings.Contains(text, "a key of a key set is left out") {
		t.Error(text)
	}
}
