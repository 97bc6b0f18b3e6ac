package inspect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/config/frontend"
	"yatagarasu/gateway/request"
)

// ProbeFlag is the flag -probe: alone it asks for /health, and with a value for /health or
// /ready.
type ProbeFlag string

// String implements flag.Value.
func (p *ProbeFlag) String() string { return string(*p) }

// IsBoolFlag lets the flag be given without a value.
func (p *ProbeFlag) IsBoolFlag() bool { return true }

// Set implements flag.Value.
func (p *ProbeFlag) Set(s string) error {
	switch s {
	case "true":
		s = "health"
	case "health", "ready":
	default:
		return errors.New("write -probe for /health, or -probe=ready")
	}
	*p = ProbeFlag(s)
	return nil
}

// probeTimeout is how long the running gateway may take to answer: less than a health check
// of a container, which is killed without a word.
const probeTimeout = 4 * time.Second

// Probe asks the gateway that runs on this machine with the configuration file at path for its
// health, or whether it is ready, and prints the answer. address is used instead of the file's
// server.address; empty: the file's. It asks on the metrics listener if there is one, where no
// crowd of clients is in the way. It returns an exit code: 0 for a 200, else 1.
func Probe(path, address string, what ProbeFlag, stdout, stderr io.Writer) int {
	c, m, err := config.LoadListeners(path, os.LookupEnv)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	c.Address = cmp.Or(address, c.Address)
	begin := time.Now()
	url, status, body, err := askSelf(&c, &m, what)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "yatagarasu: %s cannot be asked: %v; is the gateway running, with this configuration and these flags?\n", url, err)
		return 1
	case status != http.StatusOK:
		fmt.Fprintf(stderr, "yatagarasu: %s answers %d: %s\n", url, status, body)
		return 1
	}
	fmt.Fprintf(stdout, "%s answers 200 after %s\n", url, time.Since(begin).Round(100*time.Microsecond))
	return 0
}

// askSelf asks the gateway on this machine, and returns what it asked for and the answer.
func askSelf(c *frontend.Server, m *frontend.Metrics, what ProbeFlag) (url string, status int, body string, err error) {
	scheme, address, proxied := "http", c.Address, c.ProxyProtocol
	if m.Enabled {
		address, proxied = net.JoinHostPort(m.Address, strconv.Itoa(m.Port)), false
	} else if c.HTTPS.Enabled {
		scheme = "https"
	}
	// A host that stands for all addresses is this machine to net.Dial.
	url = scheme + "://" + address + "/" + string(what)
	if _, port, _ := net.SplitHostPort(address); port == "0" {
		return url, 0, "", errors.New("port 0 is any port: write the one to listen on")
	}
	var d net.Dialer
	client := http.Client{Timeout: probeTimeout, Transport: &http.Transport{
		// It asks this machine and reads no secret; the certificate is for another name.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := d.DialContext(ctx, network, address)
			if err == nil && proxied && request.TrustedProxies(c.TrustedProxies).Trusts(request.PeerAddr(conn.LocalAddr())) {
				if _, err := io.WriteString(conn, "PROXY UNKNOWN\r\n"); err != nil { // what such a connection begins with
					conn.Close()
					return nil, err
				}
			}
			return conn, err
		},
	}}
	defer client.CloseIdleConnections()
	r, err := client.Get(scheme + "://localhost/" + string(what))
	if err != nil {
		return url, 0, "", errors.Unwrap(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	return url, r.StatusCode, strings.TrimSpace(string(bytes.ToValidUTF8(text, nil))), err
}
