package inspect

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/s3error"
	"yatagarasu/gateway/serve"
	"yatagarasu/sign"

	"github.com/valyala/fasthttp"
)

// doctorChecks are what is looked at of each origin, in this order.
var doctorChecks = [...]string{"dns", "connect", "tls", "credentials", "clock", "bucket", "object"}

// finding is what a check found.
type finding struct {
	result string // ok, FAIL, warn, or - where it was not looked at
	reason string // typed, as in log and metrics
	detail string // for people
	fix    string // what to do about it, where that is known better than by the reason
}

// diagnosis is what was found of one origin.
type diagnosis struct {
	bucket   string
	replica  *origin.Replica
	findings [len(doctorChecks)]finding
}

// fixes say what to do about each reason.
var fixes = map[string]string{
	"dns":             "check the host in s3.endpoint",
	"connect":         "check the port in s3.endpoint, that the origin runs, and the firewalls in between",
	"timeout":         "check firewalls and routes to the origin; if it is only slow, raise s3.timeouts",
	"tls":             "set s3.ca_file to the authority of the origin's certificate, or write the name that is in it into s3.endpoint",
	"credentials":     "check the source in s3.credentials",
	"signature":       "check secret_key: it is not that of access_key",
	"account":         "look at the account of the credential: it may be suspended, over a limit, or not signed up",
	"requester_pays":  "the bucket has its requesters pay: at AWS set s3.request_payer: requester; elsewhere read it with a credential that pays, or have its owner pay",
	"clock_skew":      "set the clock of this machine, best by NTP",
	"no_such_bucket":  "check s3.bucket, and that s3.endpoint is the server that has it, with the server's own path alone",
	"access_denied":   "let the credential read the objects: allow s3:GetObject on them",
	"redirect_region": "set s3.region to the bucket's region",
	"no_such_key":     "name an object that exists with -key",
	"slow_down":       "the origin is overloaded: ask its operator, or try again later",
	"internal_error":  "the origin fails: look into its log",
	"kms":             "let the credential use the key that the objects are encrypted with: allow kms:Decrypt",
	"kms_unavailable": "the key management that the objects are encrypted with fails or is overloaded: ask its operator, or try again later",
	"not_s3":          "what answers at s3.endpoint is no S3 server: check its host and port, and look for a proxy or firewall in between that has no route to S3 or does not let the request through",
	"not_implemented": "the server at s3.endpoint does not have what the gateway asks for: check that it is an S3 server",
	"protocol":        "check that s3.endpoint is an S3 server, that its scheme (http or https) is right, and that no other program listens there",
	"reset":           "check that s3.endpoint is an S3 server, that its scheme (http or https) is right, and that nothing in between closes the connection",
	"truncated":       "look for what closes connections between here and the origin",
	"object_archived": "restore the object from the archive, or name another with -key",
	"not_looked_at":   "name an object to read with -key",
	"bad_key":         "check s3.bucket and s3.endpoint",
}

// Doctor looks into everything between here and the objects of each bucket of gen: names,
// connections, certificates, credentials, clocks, the bucket, and an object, that of key if
// it is not empty, else one that the bucket lists. It writes a table and what to do about
// each failure, and returns an exit code: 0 if all is well.
func Doctor(gen *serve.Generation, key string, stdout, stderr io.Writer) int {
	var all []*diagnosis
	for b := range gen.Origins() {
		for _, r := range b.Replicas {
			all = append(all, &diagnosis{bucket: b.Name, replica: r})
		}
	}
	fmt.Fprintf(stderr, "examining %d origin(s)\n", len(all))
	var wg sync.WaitGroup
	places := make(chan bool, 16)
	for _, d := range all {
		wg.Go(func() {
			places <- true
			d.examine(key)
			<-places
		})
	}
	wg.Wait()
	return report(all, stdout)
}

// report writes the table and the fixes.
func report(all []*diagnosis, w io.Writer) int {
	code := 0
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "BUCKET\tORIGIN\t%s\n", strings.ToUpper(strings.Join(doctorChecks[:], "\t")))
	for _, d := range all {
		fmt.Fprintf(table, "%s\t%s", d.bucket, d.replica.Name)
		for _, f := range d.findings {
			fmt.Fprintf(table, "\t%s", f.result)
		}
		fmt.Fprintln(table)
	}
	table.Flush()
	for _, d := range all {
		for i, f := range d.findings {
			if f.result != "FAIL" && f.result != "warn" {
				continue
			}
			if f.result == "FAIL" {
				code = 1
			}
			what := doctorChecks[i]
			if f.reason != "" && f.reason != what {
				what += ": " + f.reason
			}
			fmt.Fprintf(w, "\n%s at %s: %s: %s\n", d.bucket, d.replica.Name, what, f.detail)
			if fix := d.fix(f); fix != "" {
				fmt.Fprintf(w, "  fix: %s\n", fix)
			}
		}
	}
	if code == 0 {
		fmt.Fprintf(w, "\n%d origin(s): all is well\n", len(all))
	}
	return code
}

// fix says what to do about what was found.
func (d *diagnosis) fix(f finding) string {
	s := &d.replica.S3
	switch source := s.Credentials.Source; {
	case f.fix != "":
		return f.fix
	case f.reason == "access_denied" && source == config.SourceAnonymous:
		return "let everybody read the objects, and see that the account's Block Public Access does not forbid it; or add a credential"
	case f.reason == "access_denied" && s.RequestPayer == "":
		return fixes[f.reason] + "; if the reader pays for the bucket's requests, set s3.request_payer: requester"
	case f.reason == "credentials" && source == config.SourceStatic:
		return "check access_key and secret_key: the origin does not know them"
	case f.reason == "dns" && s.Endpoint == "" && d.replica.Proxy == nil:
		return "check s3.region and s3.bucket, which the name is made of, and the name server of this machine"
	case (f.reason == "dns" || f.reason == "connect") && d.replica.Proxy != nil:
		return "check the proxy, which HTTPS_PROXY or HTTP_PROXY names; NO_PROXY names the hosts that need none"
	}
	return fixes[f.reason]
}

// tlsFix says what to do about a handshake that failed.
func tlsFix(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
		alert   tls.AlertError
	)
	switch {
	case errors.As(err, &unknown):
		return "set s3.ca_file to the authority of the origin's certificate"
	case errors.As(err, &name):
		return "write the name that is in the origin's certificate into s3.endpoint, or have one made with this name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "have the origin's certificate renewed, or, if it has not begun, set the clock of this machine"
	case errors.As(err, &record):
		return "the origin speaks no TLS there: write http:// into s3.endpoint, or the port of TLS"
	case errors.As(err, &alert):
		return "the origin refuses the handshake: check that it offers TLS 1.2 and has a certificate for this name"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "look for what is silent at the port of s3.endpoint, and for firewalls in between"
	}
	return fixes["tls"]
}

// examine fills in the findings, up to the first failure that the others depend on.
func (d *diagnosis) examine(key string) {
	for i := range d.findings {
		d.findings[i] = finding{result: "-"}
	}
	for i, check := range []func() (finding, bool){d.resolve, d.connect, d.handshake, d.credential} {
		f, goOn := check()
		d.findings[i] = f
		if !goOn {
			return
		}
	}
	d.findings[5] = d.inspectBucket()
	d.findings[4] = d.clock()
	if d.findings[5].result != "FAIL" {
		d.findings[6] = d.inspectObject(key)
	}
}

func fail(reason, format string, args ...any) (finding, bool) {
	return finding{result: "FAIL", reason: reason, detail: fmt.Sprintf(format, args...)}, false
}

// took is an ok that says how long it took.
func took(begin time.Time) (finding, bool) {
	return finding{result: "ok " + time.Since(begin).Round(100*time.Microsecond).String()}, true
}

func (d *diagnosis) resolve() (finding, bool) {
	name := d.replica.Address.Name
	if p := d.replica.Proxy; p != nil {
		name = p.Hostname()
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return finding{result: "ok"}, true
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.replica.S3.Timeouts.Dial)
	defer cancel()
	begin := time.Now()
	if _, err := net.DefaultResolver.LookupHost(ctx, name); err != nil {
		f, _ := fail("dns", "the name %s has no address: %v", name, err)
		var e *net.DNSError
		if errors.As(err, &e) && !e.IsNotFound {
			f.fix = "check the name servers of this machine (/etc/resolv.conf): they do not answer"
		}
		return f, false
	}
	return took(begin)
}

func (d *diagnosis) connect() (finding, bool) {
	begin := time.Now()
	address := d.replica.Address.HostPort
	if p := d.replica.Proxy; p != nil {
		address = net.JoinHostPort(p.Hostname(), cmp.Or(p.Port(), "80"))
	}
	c, err := net.DialTimeout("tcp", address, d.replica.S3.Timeouts.Dial)
	if err != nil {
		reason := "connect"
		var e net.Error
		if errors.As(err, &e) && e.Timeout() {
			reason = "timeout"
		}
		f, _ := fail(reason, "%v", err)
		if errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) {
			f.fix = "check the routes of this machine to the origin, and whether it has addresses of that family"
		}
		return f, false
	}
	c.Close()
	return took(begin)
}

func (d *diagnosis) handshake() (finding, bool) {
	r := d.replica
	if !r.Address.TLS || r.Proxy != nil { // with a proxy, the next checks tell
		return finding{result: "-"}, true
	}
	c, _, err := origin.ClientTLS(r.Address, r.S3.CAFile)
	if err != nil {
		return fail("tls", "%v", err)
	}
	begin := time.Now()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: r.S3.Timeouts.Dial}, "tcp", r.Address.HostPort, c)
	if err != nil {
		return finding{"FAIL", "tls", err.Error(), tlsFix(err)}, false
	}
	defer conn.Close()
	if end := conn.ConnectionState().PeerCertificates[0].NotAfter; time.Until(end) < 14*24*time.Hour {
		return finding{"warn", "tls", "the origin's certificate ends at " + end.UTC().Format(time.RFC3339), "have the origin's certificate renewed"}, true
	}
	return took(begin)
}

func (d *diagnosis) credential() (finding, bool) {
	if d.replica.S3.Credentials.Source == config.SourceAnonymous {
		return finding{result: "none needed"}, true
	}
	p := d.replica.Credentials
	p.Start()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	begin := time.Now()
	p.Await(ctx)
	if p.Signer(time.Now()) == nil {
		return fail("credentials", "source %s: %v", d.replica.S3.Credentials.Source, p.State().Err)
	}
	if d.replica.S3.Credentials.Source == config.SourceStatic {
		return finding{result: "ok"}, true
	}
	return took(begin)
}

// clock judges the difference of clocks that the answers so far have shown.
func (d *diagnosis) clock() finding {
	h := d.replica.Health
	skew := time.Duration(h.Skew.Load()).Round(time.Second)
	switch {
	case h.SkewMeasured.Load() == 0:
		return finding{result: "-"}
	case skew > 5*time.Minute || skew < -5*time.Minute:
		f, _ := fail("clock_skew", "the origin's clock is %v ahead of this one; S3 takes signatures within 15 minutes", skew)
		return f
	case skew > origin.LeastSkew || skew < -origin.LeastSkew:
		return finding{"warn", "clock_skew", fmt.Sprintf("the origin's clock is %v ahead of this one", skew), ""}
	}
	return finding{result: "ok"}
}

// inspectBucket asks for the bucket itself.
func (d *diagnosis) inspectBucket() finding {
	begin := time.Now()
	f, a := d.inquire(func() (origin.Inquiry, error) { return d.replica.InquireBucket(true) })
	switch {
	case f.reason == "access_denied": // it may still read
		if d.replica.S3.Credentials.Source == config.SourceAnonymous {
			return finding{"warn", "", "not everybody may list the bucket; they need not, but then a missing object looks like a forbidden one (see s3.access_denied)", ""}
		}
		return finding{"warn", "", "the credential may not list the bucket; it need not, but then a missing object looks like a forbidden one (see s3.access_denied)", ""}
	case f.reason == "no_such_key" || f.reason == "no_such_bucket":
		f.reason, f.detail = "no_such_bucket", fmt.Sprintf("the origin has no bucket %q", d.replica.S3.Bucket)
	}
	if f.result == "FAIL" && a.Status != fasthttp.StatusOK {
		return f
	}
	f, _ = took(begin)
	return f
}

// inspectObject reads one byte of an object, any if key is empty.
func (d *diagnosis) inspectObject(key string) finding {
	if key == "" {
		ctx, cancel := context.WithTimeout(context.Background(), 2*d.replica.S3.Timeouts.FirstByte)
		defer cancel()
		for k := range d.replica.List(ctx, "") {
			if k.Err != nil {
				return finding{"warn", "not_looked_at", "no object is known: " + k.Err.Error(), ""}
			}
			key = k.Key
			break
		}
	}
	if key == "" {
		return finding{"warn", "not_looked_at", "no object is known: the bucket is empty", ""}
	}
	begin := time.Now()
	path := d.replica.Address.AppendKeyPath(nil, []byte(key))
	f, a := d.inquire(func() (origin.Inquiry, error) {
		return d.replica.Inquire(fasthttp.MethodGet, path, "", []sign.Header{{Name: "range", Value: []byte("bytes=0-0")}}, s3error.DocumentLimit)
	})
	if f.result == "FAIL" && a.Status != fasthttp.StatusRequestedRangeNotSatisfiable { // of an empty object
		f.detail += fmt.Sprintf(" to a GET of object %q", key)
		return f
	}
	f, _ = took(begin)
	return f
}

// inquire sends a request, a second time if the first was refused for the clock, which
// is corrected by then.
func (d *diagnosis) inquire(ask func() (origin.Inquiry, error)) (finding, origin.Inquiry) {
	for again := false; ; again = true {
		a, err := ask()
		if err != nil {
			return finding{"FAIL", origin.NewError(err).Reason, err.Error(), ""}, a
		}
		if a.Status < 300 {
			return finding{}, a
		}
		doc, o := &a.Doc, a.Doc.Kind(a.Status)
		if o == s3error.Clock && !again {
			continue
		}
		detail := fmt.Sprintf("the origin answers %d", a.Status)
		if doc.Code != "" {
			detail += " " + doc.Code
		}
		if o.Reason == "redirect_region" && doc.Region != "" {
			detail += ": the bucket is in " + doc.Region + ", and s3.region says " + d.replica.S3.Region
		}
		return finding{"FAIL", o.Reason, detail, ""}, a
	}
}
