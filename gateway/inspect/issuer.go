package inspect

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/config/access"
	"yatagarasu/gateway/introspect"
	"yatagarasu/gateway/keys"
	"yatagarasu/gateway/serve"
)

// issuerChecks are the rows of an issuer's table.
var issuerChecks = [...]string{"discovery", "keys", "introspection"}

// issuerDiagnosis is what was found of the issuer that a jwt block names.
type issuerDiagnosis struct {
	config   *access.JWT
	verifier *auth.Verifier
	buckets  []string // those that the block lets into
	findings [len(issuerChecks)]finding
}

// issuersOf returns a diagnosis for each jwt block in use that has somebody to ask, in the order of
// the buckets.
func issuersOf(gen *serve.Generation) (all []*issuerDiagnosis) {
	for i := range gen.Config.Buckets {
		b := &gen.Config.Buckets[i]
		c := b.Auth.JWT
		if !b.Auth.Enabled || c.IssuerURL+c.JWKSURL == "" && !c.Introspection.Enabled {
			continue
		}
		at := slices.IndexFunc(all, func(d *issuerDiagnosis) bool { return d.config == c })
		if at < 0 {
			at, all = len(all), append(all, &issuerDiagnosis{config: c, verifier: gen.Verifiers[c]})
		}
		all[at].buckets = append(all[at].buckets, b.Name)
	}
	return all
}

// name returns the issuer's name, or else where it is asked.
func (d *issuerDiagnosis) name() string {
	return cmp.Or(d.config.IssuerURL, keys.WithoutQuery(d.config.JWKSURL), keys.WithoutQuery(d.config.Introspection.URL))
}

// report writes the table and the fixes, and reports whether nothing failed.
func (d *issuerDiagnosis) report(w io.Writer) bool {
	sound := true
	fmt.Fprintf(w, "\nISSUER %s  FOR %s\n", d.name(), strings.Join(d.buckets, ", "))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, f := range d.findings {
		row := issuerChecks[i] + "\t" + cmp.Or(f.result, "-")
		if f.detail != "" && f.result != "FAIL" {
			row += "\t" + f.detail
		}
		fmt.Fprintln(table, row)
	}
	table.Flush()
	for i, f := range d.findings {
		if f.result == "FAIL" {
			sound = false
			writeFailure(w, "issuer "+d.name(), issuerChecks[i], f.detail, f.fix)
		}
	}
	return sound
}

// examine makes the checks that do not depend on one that failed.
func (d *issuerDiagnosis) examine() {
	c := d.config
	keySet, setKey := c.JWKSURL, "jwt.jwks_url"
	endpoint, endpointKey := c.Introspection.URL, "jwt.introspection.url"
	if c.IssuerURL != "" {
		i, f := d.discover()
		if d.findings[0] = f; i != nil {
			keySet, setKey = i.KeySet, "jwks_uri of the issuer's discovery document"
			if endpoint == "" {
				endpoint, endpointKey = i.Introspection, "introspection_endpoint of the issuer's discovery document"
			}
		}
	}
	if keySet != "" {
		d.findings[1] = d.fetchKeys(keySet, setKey)
	}
	switch {
	case !c.Introspection.Enabled:
	case endpoint != "":
		d.findings[2] = d.ask(endpoint, endpointKey)
	case d.findings[0].result != "FAIL":
		d.findings[2] = finding{result: "FAIL", detail: "the issuer's discovery document has no introspection_endpoint", fix: "set jwt.introspection.url; or, if the issuer has no introspection, remove jwt.introspection"}
	}
}

func (d *issuerDiagnosis) discover() (*keys.Issuer, finding) {
	begin := time.Now()
	i, err := d.verifier.Discover()
	if err == nil {
		return i, passed(begin)
	}
	fix := webFix(err, "jwt.issuer_url", "jwt.ca_file")
	switch {
	case fix != "":
	case errors.Is(err, keys.ErrNoJSON):
		fix = "check jwt.issuer_url: what answers there is no issuer"
	case errors.Is(err, keys.ErrAnother):
		fix = "set jwt.issuer_url to that name, if that is the issuer of the tokens"
	default:
		fix = "check jwt.issuer_url; where the issuer has no such document, or a wrong one, set jwt.jwks_url and jwt.introspection.url in its place"
	}
	return nil, finding{result: "FAIL", detail: err.Error(), fix: fix}
}

// fetchKeys looks at the key set at a URL, which key has.
func (d *issuerDiagnosis) fetchKeys(url, key string) finding {
	begin := time.Now()
	usable, err := d.verifier.ExamineKeys(url)
	if err != nil {
		fix := cmp.Or(webFix(err, key, "jwt.ca_file"), "check "+key+": it must be a key set (RFC 7517) with a public key for signatures; where its keys name no algorithm, set jwt.algorithm, and where they name another, remove that")
		return finding{result: "FAIL", detail: keys.WithoutQuery(url) + ": " + err.Error(), fix: fix}
	}
	f := passed(begin)
	var algorithms []string
	for i := range usable {
		algorithms = append(algorithms, usable[i].Algorithm)
	}
	slices.Sort(algorithms)
	f.detail = fmt.Sprintf("%d key(s) for %s", len(usable), strings.Join(slices.Compact(algorithms), ", "))
	return f
}

// introspectionFixes are what to do about errors of introspect.
var introspectionFixes = []struct {
	err error
	fix string
}{
	{introspect.ErrCredential, "check jwt.introspection.client_id, client_secret and auth, and let this client introspect tokens at the issuer"},
	{introspect.ErrRedirects, "set jwt.introspection.url to the address that it redirects to, if that is the issuer's"},
	{introspect.ErrOverloaded, "the issuer is overloaded, or not ready: ask its operator, or try again later"},
	{introspect.ErrLate, "look for what delays the issuer, and for firewalls in between; if it is only slow, raise jwt.introspection.timeout"},
}

// ask has the issuer judge a token that it has not issued, at a URL, which key has.
func (d *issuerDiagnosis) ask(url, key string) finding {
	begin, where := time.Now(), keys.WithoutQuery(url)
	a := d.verifier.Rehearse()
	switch a.Outcome {
	case introspect.Inactive:
		f := passed(begin)
		f.detail = where
		return f
	case introspect.Active:
		return finding{result: "FAIL", detail: where + ": it says that a token is active which it cannot know", fix: "check " + key + ": who answers there lets everybody in"}
	}
	ca := "jwt.introspection.ca_file"
	if d.config.Introspection.URL == "" {
		ca = "jwt.ca_file"
	}
	fix := webFix(a.Err, key, ca)
	for _, known := range introspectionFixes {
		if errors.Is(a.Err, known.err) {
			fix = known.fix
		}
	}
	return finding{result: "FAIL", detail: where + ": " + a.Err.Error(), fix: cmp.Or(fix, "check "+key+": what answers there is no introspection endpoint (RFC 7662)")}
}

// webFix returns what to do about a URL that cannot be reached, which key has; for https, authorities
// is the key of those that are trusted. Empty: it was reached.
func webFix(err error, key, authorities string) string {
	var (
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		dns     *net.DNSError
		op      *net.OpError
		late    net.Error
	)
	switch {
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "check the proxy, which HTTPS_PROXY or HTTP_PROXY names; NO_PROXY names the hosts that need none"
	case errors.As(err, &dns):
		return "check the host in " + key + ", and the name servers of this machine"
	case errors.As(err, &unknown):
		return "set " + authorities + " to the authority of the issuer's certificate"
	case errors.As(err, &name):
		return "write the name that is in the issuer's certificate into " + key + ", or have one made with this name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "have the issuer's certificate renewed, or, if it has not begun, set the clock of this machine"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "the issuer speaks no TLS there: write the port of TLS into " + key
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &late) && late.Timeout():
		return "look for what is silent at the host and port in " + key + ", and for firewalls in between"
	case errors.As(err, &op), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "check the host and port in " + key + ", that the issuer runs, and the firewalls in between"
	}
	return ""
}
