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

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/config/upstream"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/s3error"
	"yatagarasu/gateway/serve"
	"yatagarasu/sign"
)

// checks are the columns of the table.
var checks = [...]string{"dns", "connect", "tls", "credentials", "clock", "bucket", "object"}

// finding is what a check found. The zero value says that it was not made.
type finding struct {
	result string // ok, FAIL or warn; in the table, "-" if empty
	reason string // typed, as in log and metrics
	detail string // for people
	fix    string // what to do about it, where that is known better than by the reason
}

// failed returns a failure; reason is a key of fixes.
func failed(reason, format string, args ...any) finding {
	return finding{result: "FAIL", reason: reason, detail: fmt.Sprintf(format, args...)}
}

func warned(reason, format string, args ...any) finding {
	return finding{result: "warn", reason: reason, detail: fmt.Sprintf(format, args...)}
}

// passed returns an ok with the time it took.
func passed(begin time.Time) finding {
	return finding{result: "ok " + time.Since(begin).Round(100*time.Microsecond).String()}
}

// diagnosis is what was found of one origin.
type diagnosis struct {
	bucket   string
	replica  *origin.Replica
	findings [len(checks)]finding
}

// fixes are what to do about each reason.
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

// Doctor examines everything between here and the objects of each bucket of gen: names,
// connections, certificates, credentials, clocks, the bucket and one object. That is the one
// of key, or if key is empty, one that the bucket lists. It examines the issuers of tokens as well,
// and, where gen shares purges, what they go by. Doctor writes tables and what to do about each failure, and returns an
// exit code: 0 if all is well, else 1.
func Doctor(gen *serve.Generation, key string, stdout, stderr io.Writer) int {
	var all []*diagnosis
	for b := range gen.Origins() {
		for _, r := range b.Replicas {
			all = append(all, &diagnosis{bucket: b.Name, replica: r})
		}
	}
	what, issuers := fmt.Sprintf("%d origin(s)", len(all)), issuersOf(gen)
	if len(issuers) > 0 {
		what += fmt.Sprintf(", %d issuer(s)", len(issuers))
	}
	fmt.Fprintln(stderr, "examining", what)
	var wg sync.WaitGroup
	var shared []cluster.Finding
	if c := &gen.Config.Cluster; c.Enabled {
		wg.Go(func() { shared = cluster.Examine(c) })
	}
	places := make(chan bool, 16)
	for _, d := range all {
		wg.Go(func() {
			places <- true
			d.examine(key)
			<-places
		})
	}
	for _, d := range issuers {
		wg.Go(func() {
			places <- true
			d.examine()
			<-places
		})
	}
	wg.Wait()
	sound := report(all, stdout)
	for _, d := range issuers {
		sound = d.report(stdout) && sound
	}
	if shared != nil {
		sound = reportCluster(&gen.Config.Cluster, shared, stdout) && sound
		what += " and what gateways share"
	}
	if !sound {
		return 1
	}
	fmt.Fprintf(stdout, "\n%s: all is well\n", what)
	return 0
}

// report writes the table and the fixes, and reports whether nothing failed.
func report(all []*diagnosis, w io.Writer) bool {
	sound := true
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "BUCKET\tORIGIN\t%s\n", strings.ToUpper(strings.Join(checks[:], "\t")))
	for _, d := range all {
		fmt.Fprintf(table, "%s\t%s", d.bucket, d.replica.Name)
		for _, f := range d.findings {
			fmt.Fprintf(table, "\t%s", cmp.Or(f.result, "-"))
		}
		fmt.Fprintln(table)
	}
	table.Flush()
	for _, d := range all {
		for i, f := range d.findings {
			switch f.result {
			case "FAIL":
				sound = false
			case "warn":
			default:
				continue
			}
			what := checks[i]
			if f.reason != "" && f.reason != what {
				what += ": " + f.reason
			}
			writeFailure(w, d.bucket+" at "+d.replica.Name, what, f.detail, d.fix(f))
		}
	}
	return sound
}

// writeFailure writes what is wrong, where, and what to do about it.
func writeFailure(w io.Writer, where, what, detail, fix string) {
	fmt.Fprintf(w, "\n%s: %s: %s\n", where, what, detail)
	if fix != "" {
		fmt.Fprintf(w, "  fix: %s\n", fix)
	}
}

// fix returns what to do about f.
func (d *diagnosis) fix(f finding) string {
	s := &d.replica.S3
	switch source := s.Credentials.Source; {
	case f.fix != "":
		return f.fix
	case f.reason == "access_denied" && source == upstream.SourceAnonymous:
		return "let everybody read the objects, and see that the account's Block Public Access does not forbid it; or add a credential"
	case f.reason == "access_denied" && s.RequestPayer == "":
		return fixes[f.reason] + "; if the reader pays for the bucket's requests, set s3.request_payer: requester"
	case f.reason == "credentials" && source == upstream.SourceStatic:
		return "check access_key and secret_key: the origin does not know them"
	case f.reason == "dns" && s.Endpoint == "" && d.replica.Proxy == nil:
		return "check s3.region and s3.bucket, which the name is made of, and the name server of this machine"
	case (f.reason == "dns" || f.reason == "connect") && d.replica.Proxy != nil:
		return "check the proxy, which HTTPS_PROXY or HTTP_PROXY names; NO_PROXY names the hosts that need none"
	}
	return fixes[f.reason]
}

// tlsFix returns what to do about a handshake that failed.
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

// examine makes the checks, up to the first failure: the later ones depend on the earlier.
func (d *diagnosis) examine(key string) {
	readObject := func() finding { return d.readObject(key) }
	for i, check := range [...]func() finding{d.resolve, d.connect, d.handshake, d.credential, nil, d.askBucket, readObject} {
		if check == nil {
			continue
		}
		if d.findings[i] = check(); d.findings[i].result == "FAIL" {
			break
		}
	}
	d.findings[4] = d.clock() // by the answers to the others
}

func (d *diagnosis) resolve() finding {
	name := d.replica.Address.Name
	if p := d.replica.Proxy; p != nil {
		name = p.Hostname()
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return finding{result: "ok"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.replica.S3.Timeouts.Dial)
	defer cancel()
	begin := time.Now()
	if _, err := net.DefaultResolver.LookupHost(ctx, name); err != nil {
		f := failed("dns", "the name %s has no address: %v", name, err)
		if e, ok := errors.AsType[*net.DNSError](err); ok && !e.IsNotFound {
			f.fix = "check the name servers of this machine (/etc/resolv.conf): they do not answer"
		}
		return f
	}
	return passed(begin)
}

func (d *diagnosis) connect() finding {
	begin := time.Now()
	address := d.replica.Address.HostPort
	if p := d.replica.Proxy; p != nil {
		address = net.JoinHostPort(p.Hostname(), cmp.Or(p.Port(), "80"))
	}
	c, err := net.DialTimeout("tcp", address, d.replica.S3.Timeouts.Dial)
	if err != nil {
		f := failed("connect", "%v", err)
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			f.reason = "timeout"
		}
		if errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) {
			f.fix = "check the routes of this machine to the origin, and whether it has addresses of that family"
		}
		return f
	}
	c.Close()
	return passed(begin)
}

func (d *diagnosis) handshake() finding {
	r := d.replica
	if !r.Address.TLS || r.Proxy != nil { // through a proxy, the next checks make the handshake
		return finding{}
	}
	c, _, err := origin.ClientTLS(r.Address, r.S3.CAFile)
	if err != nil {
		return failed("tls", "%v", err)
	}
	begin := time.Now()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: r.S3.Timeouts.Dial}, "tcp", r.Address.HostPort, c)
	if err != nil {
		return finding{"FAIL", "tls", err.Error(), tlsFix(err)}
	}
	defer conn.Close()
	if end := conn.ConnectionState().PeerCertificates[0].NotAfter; time.Until(end) < 14*24*time.Hour {
		return finding{"warn", "tls", "the origin's certificate ends at " + end.UTC().Format(time.RFC3339), "have the origin's certificate renewed"}
	}
	return passed(begin)
}

func (d *diagnosis) credential() finding {
	source, p := d.replica.S3.Credentials.Source, d.replica.Credentials
	if source == upstream.SourceAnonymous {
		return finding{result: "none needed"}
	}
	p.Start()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	begin := time.Now()
	p.Await(ctx)
	switch {
	case p.Signer(time.Now()) == nil:
		return failed("credentials", "source %s: %v", source, p.State().Err)
	case source == upstream.SourceStatic:
		return finding{result: "ok"}
	}
	return passed(begin)
}

// clock judges the difference of clocks that the answers to other checks have shown.
func (d *diagnosis) clock() finding {
	h := d.replica.Health
	skew := time.Duration(h.Skew.Load()).Round(time.Second)
	switch {
	case h.SkewMeasured.Load() == 0:
		return finding{}
	case skew.Abs() > 5*time.Minute:
		return failed("clock_skew", "the origin's clock is %v ahead of this one; S3 takes signatures within 15 minutes", skew)
	case skew.Abs() > origin.LeastSkew:
		return warned("clock_skew", "the origin's clock is %v ahead of this one", skew)
	}
	return finding{result: "ok"}
}

func (d *diagnosis) askBucket() finding {
	begin := time.Now()
	f, status := d.inquire(func() (origin.Inquiry, error) { return d.replica.InquireBucket(true) })
	switch {
	case f.reason == "access_denied": // objects may still be read
		who := "the credential may not list the bucket; it need not"
		if d.replica.S3.Credentials.Source == upstream.SourceAnonymous {
			who = "not everybody may list the bucket; they need not"
		}
		return warned("", "%s, but then a missing object looks like a forbidden one (see s3.access_denied)", who)
	case f.result != "FAIL" || status == fasthttp.StatusOK:
		return passed(begin)
	case f.reason == "no_such_key" || f.reason == "no_such_bucket":
		return failed("no_such_bucket", "the origin has no bucket %q", d.replica.S3.Bucket)
	}
	return f
}

// readObject reads one byte of the object of key, or of any if that is empty.
func (d *diagnosis) readObject(key string) finding {
	if key == "" {
		ctx, cancel := context.WithTimeout(context.Background(), 2*d.replica.S3.Timeouts.FirstByte)
		defer cancel()
		for k := range d.replica.List(ctx, "") {
			if k.Err != nil {
				return warned("not_looked_at", "no object is known: %v", k.Err)
			}
			key = k.Key
			break
		}
	}
	if key == "" {
		return warned("not_looked_at", "no object is known: the bucket is empty")
	}
	begin := time.Now()
	path := d.replica.Address.AppendKeyPath(nil, []byte(key))
	f, status := d.inquire(func() (origin.Inquiry, error) {
		return d.replica.Inquire(fasthttp.MethodGet, path, "", []sign.Header{{Name: "range", Value: []byte("bytes=0-0")}}, s3error.DocumentLimit)
	})
	if f.result == "FAIL" && status != fasthttp.StatusRequestedRangeNotSatisfiable { // the answer for an empty object
		f.detail += fmt.Sprintf(" to a GET of object %q", key)
		return f
	}
	return passed(begin)
}

// inquire sends a request; a second time, if the origin refused the first one for the clock,
// which its answer corrected. The zero finding means that the origin did as asked; status is
// that of its answer.
func (d *diagnosis) inquire(ask func() (origin.Inquiry, error)) (f finding, status int) {
	for again := false; ; again = true {
		a, err := ask()
		if err != nil {
			return failed(origin.NewError(err).Reason, "%v", err), a.Status
		}
		if a.Status < 300 {
			return finding{}, a.Status
		}
		doc, kind := &a.Doc, a.Doc.Kind(a.Status)
		if kind == s3error.Clock && !again {
			continue
		}
		f := failed(kind.Reason, "the origin answers %d", a.Status)
		if doc.Code != "" {
			f.detail += " " + doc.Code
		}
		if kind.Reason == "redirect_region" && doc.Region != "" {
			f.detail += ": the bucket is in " + doc.Region + ", and s3.region says " + d.replica.S3.Region
		}
		return f, a.Status
	}
}
