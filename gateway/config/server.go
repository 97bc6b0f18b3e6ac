package config

import (
	"crypto/tls"
	"encoding/pem"
	"math"
	"net"
	"strconv"
	"strings"
)

// maxCount bounds counts of connections and requests.
const maxCount = math.MaxInt32

func (s *Server) check(d *decoder, o object) {
	s.TrustedProxies = o.networks("trusted_proxies", nil)
	if len(s.TrustedProxies) == 0 && !o.misspells("trusted_proxies") {
		for key, used := range map[string]bool{"forwarded_header": s.ForwardedHeader == "forwarded", "proxy_protocol": s.ProxyProtocol, "require_https": s.RequireHTTPS} {
			if used {
				d.fail(o.get(key), "has no effect without trusted_proxies", "name the proxies in server.trusted_proxies, or remove it")
			}
		}
	}
	s.Allow, s.Deny = o.addresses()
}

func (h *HTTPS) check(d *decoder, o object) {
	d.needEnabled(o)
	if !h.Enabled {
		if o.has("redirect_address") {
			d.fail(o.get("redirect_address"), "has no effect: nothing here speaks TLS", "set enabled: true with a certificate, or remove it")
		}
		return
	}
	cert := o.need("cert_path", "name the PEM file of the certificate chain")
	key := o.need("key_path", "name the PEM file of the private key")
	if h.CertPath == "" || h.KeyPath == "" {
		return
	}
	certPEM, certOK := d.readFile(cert, h.CertPath)
	keyPEM, keyOK := d.readFile(key, h.KeyPath)
	if certOK && keyOK {
		d.pair(cert, key, certPEM, keyPEM)
	}
}

// pair reports a certificate and a key that do not go together. The nodes have their
// paths.
func (d *decoder) pair(cert, key *node, certPEM, keyPEM []byte) {
	_, err := tls.X509KeyPair(certPEM, keyPEM)
	if err == nil {
		return
	}
	has := func(data []byte, word string) bool {
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if strings.Contains(block.Type, word) || strings.Contains(block.Headers["Proc-Type"], word) {
				return true
			}
		}
		return false
	}
	switch {
	case has(certPEM, "PRIVATE KEY") && !has(certPEM, "CERTIFICATE") && has(keyPEM, "CERTIFICATE"):
		d.fail(cert, d.showPath(cert)+" is the key and "+d.showPath(key)+" the certificate", "swap cert_path and key_path")
	case !has(certPEM, "CERTIFICATE"):
		d.fail(cert, d.showPath(cert)+" holds no certificate", "name a PEM file with the certificate chain, leaf first")
	case has(keyPEM, "ENCRYPTED"):
		d.fail(key, d.showPath(key)+" is encrypted", "name a file with the key decrypted: openssl pkey -in KEY -out DECRYPTED")
	case !has(keyPEM, "PRIVATE KEY"):
		d.fail(key, d.showPath(key)+" holds no private key", "name a PEM file with the private key of the certificate")
	case strings.Contains(err.Error(), "does not match"):
		d.fail(cert, "the certificate "+d.showPath(cert)+" is not that of the key "+d.showPath(key), "put the leaf first in the chain, and name its own key")
	default:
		d.fail(cert, "the certificate "+d.showPath(cert)+" and the key "+d.showPath(key)+" do not load as a pair", "have both written again as PEM")
	}
}

func (a *Audit) check(d *decoder, o object) {
	d.needEnabled(o)
	if a.Enabled && a.Output == "" {
		o.need("output", "name a file, or stdout or stderr")
	}
}

func (m *Metrics) check(d *decoder, o object) { d.needEnabled(o) }

// minAdminToken is the least length of a token, in bytes: shorter ones can be guessed.
const minAdminToken = 16

func (a *Admin) check(d *decoder, o object) {
	if a.Token.Empty() {
		o.need("token", "set it, or remove the block")
		return
	}
	at := o.get("token")
	if len(a.Token.Reveal()) < minAdminToken {
		d.fail(at, "is shorter than 16 bytes", "make one: openssl rand -hex 16")
	}
	if strings.ContainsFunc(a.Token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		d.fail(at, "has characters that a header cannot carry", "use printable ASCII without spaces; make one: openssl rand -hex 16")
	}
}

// checkPorts reports two listeners that cannot both open.
func (d *decoder) checkPorts(o object, c *Config) {
	metrics, redirect := "", ""
	if c.Metrics.Enabled {
		metrics = net.JoinHostPort(c.Metrics.Address, strconv.Itoa(c.Metrics.Port))
	}
	if c.Server.HTTPS.Enabled {
		redirect = c.Server.HTTPS.RedirectAddress
	}
	at := o.get("metrics")
	if port := d.within(at).get("port"); port != nil {
		at = port
	}
	if collide(c.Server.Address, metrics) {
		d.fail(at, "the metrics listener has the port of server.address", "change metrics.port or metrics.address")
	}
	if collide(redirect, metrics) {
		d.fail(at, "the metrics listener has the port of server.https.redirect_address", "change metrics.port or metrics.address")
	}
	if collide(c.Server.Address, redirect) {
		https := d.within(d.within(o.get("server")).get("https"))
		d.fail(https.get("redirect_address"), "has the port of server.address", "choose another port, such as 8081")
	}
}

// collide reports whether two listeners cannot both open. An empty address is of none.
func collide(a, b string) bool {
	hostA, portA, err := net.SplitHostPort(a)
	hostB, portB, err2 := net.SplitHostPort(b)
	wild := func(h string) bool { return h == "" || h == "0.0.0.0" || h == "::" }
	return err == nil && err2 == nil && portA != "0" && portA == portB && (hostA == hostB || wild(hostA) || wild(hostB))
}
