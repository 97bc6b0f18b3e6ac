// Package frontend has what clients meet first: the blocks server and metrics, with their listeners
// and TLS, and the limits on clients, of which a bucket has some too. The rooms
// above decode the file, and have blocks check themselves.
package frontend

import (
	"crypto/tls"
	"encoding/pem"
	"net/netip"
	"strings"

	"yatagarasu/gateway/config/file"
)

// Server is the main listener.
type Server struct {
	// Address is the host:port to listen on. An empty host is every interface;
	// port 0 takes a free port. Default "0.0.0.0:8080".
	Address string `form:"host:port"`

	// HTTPS makes the listener speak TLS. Default: off.
	HTTPS HTTPS

	// RequireHTTPS sends clients to https whose TrustedProxies say that they came by http. Default
	// false.
	RequireHTTPS bool

	// TrustedProxies are the peers whose ForwardedHeader and X-Request-ID are
	// believed. A single address is a prefix of full length; an IPv4 address is never
	// in its IPv6-mapped form. Default: none.
	TrustedProxies []netip.Prefix

	// ForwardedHeader is the header in which TrustedProxies name their clients:
	// "x-forwarded-for", the default, or "forwarded" (RFC 7239). The other header is
	// ignored: a proxy that does not write it passes it on from any client.
	ForwardedHeader string `of:"x-forwarded-for, forwarded"`

	// ProxyProtocol expects a header of the PROXY protocol, version 1 or 2, with the
	// client's address on each connection of TrustedProxies. Default false.
	ProxyProtocol bool

	// Ready is the condition for a 200 from /ready: "any" bucket reachable, "all" of
	// them, or "config" for a loaded configuration alone. Default "any".
	Ready string `of:"any, all, config"`

	// Limits bound the use by clients.
	Limits Limits

	// Allow and Deny are client addresses for all buckets, in the form of
	// TrustedProxies. Clients in Deny are refused and, where Allow is not empty,
	// clients outside of it. Default: everyone may come.
	Allow, Deny []netip.Prefix
}

// HTTPS is the TLS side of a listener.
type HTTPS struct {
	// Enabled switches TLS on. Default false.
	Enabled bool

	// CertPath and KeyPath are PEM files, the certificate chain with the leaf
	// first and its private key. Where Enabled, they loaded as a pair.
	CertPath, KeyPath string

	// RedirectAddress is the host:port of a second listener, without TLS, which sends clients to
	// the first. Empty: there is none.
	RedirectAddress string `form:"host:port"`
}

// Metrics is the second listener: /metrics, probes and administration.
type Metrics struct {
	// Enabled opens it. Default false.
	Enabled bool

	// Address is the host to listen on. Default "": every interface.
	Address string `form:"host"`

	// Port is the port to listen on; 0 takes a free one. Default 9090.
	Port int `most:"65535"`
}

// Default returns the defaults of the block server.
func Default() Server {
	return Server{
		Address: "0.0.0.0:8080", ForwardedHeader: "x-forwarded-for", Ready: "any",
		Limits: Limits{MaxConnections: 65536, TokenFailures: tokenFailures},
	}
}

// Check implements file.Checker.
func (s *Server) Check(d *file.Decoder, o file.Object) {
	s.TrustedProxies = o.Networks("trusted_proxies", nil)
	if len(s.TrustedProxies) == 0 && !o.Misspells("trusted_proxies") {
		for key, used := range map[string]bool{"forwarded_header": s.ForwardedHeader == "forwarded", "proxy_protocol": s.ProxyProtocol, "require_https": s.RequireHTTPS} {
			if used {
				d.Fail(o.Get(key), "has no effect without trusted_proxies", "name the proxies in server.trusted_proxies, or remove it")
			}
		}
	}
	s.Allow, s.Deny = DecodeAddresses(o)
}

// Check implements file.Checker.
func (h *HTTPS) Check(d *file.Decoder, o file.Object) {
	d.NeedEnabled(o)
	if !h.Enabled {
		if o.Has("redirect_address") {
			d.Fail(o.Get("redirect_address"), "has no effect: nothing here speaks TLS", "set enabled: true with a certificate, or remove it")
		}
		return
	}
	cert := o.Need("cert_path", "name the PEM file of the certificate chain")
	key := o.Need("key_path", "name the PEM file of the private key")
	if h.CertPath == "" || h.KeyPath == "" {
		return
	}
	certPEM, certOK := d.ReadFile(cert, h.CertPath)
	keyPEM, keyOK := d.ReadFile(key, h.KeyPath)
	if certOK && keyOK {
		checkPair(d, cert, key, certPEM, keyPEM)
	}
}

// checkPair reports a certificate and a key that do not go together. The nodes have their
// paths.
func checkPair(d *file.Decoder, cert, key *file.Node, certPEM, keyPEM []byte) {
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
		d.Fail(cert, d.ShowPath(cert)+" is the key and "+d.ShowPath(key)+" the certificate", "swap cert_path and key_path")
	case !has(certPEM, "CERTIFICATE"):
		d.Fail(cert, d.ShowPath(cert)+" holds no certificate", "name a PEM file with the certificate chain, leaf first")
	case has(keyPEM, "ENCRYPTED"):
		d.Fail(key, d.ShowPath(key)+" is encrypted", "name a file with the key decrypted: openssl pkey -in KEY -out DECRYPTED")
	case !has(keyPEM, "PRIVATE KEY"):
		d.Fail(key, d.ShowPath(key)+" holds no private key", "name a PEM file with the private key of the certificate")
	case strings.Contains(err.Error(), "does not match"):
		d.Fail(cert, "the certificate "+d.ShowPath(cert)+" is not that of the key "+d.ShowPath(key), "put the leaf first in the chain, and name its own key")
	default:
		d.Fail(cert, "the certificate "+d.ShowPath(cert)+" and the key "+d.ShowPath(key)+" do not load as a pair", "have both written again as PEM")
	}
}

// Check implements file.Checker.
func (m *Metrics) Check(d *file.Decoder, o file.Object) { d.NeedEnabled(o) }
