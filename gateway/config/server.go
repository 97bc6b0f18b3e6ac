package config

import (
	"crypto/tls"
	"encoding/pem"
	"strings"

	"yatagarasu/gateway/config/file"
)

func (s *Server) Check(d *file.Decoder, o file.Object) {
	s.TrustedProxies = o.Networks("trusted_proxies", nil)
	if len(s.TrustedProxies) == 0 && !o.Misspells("trusted_proxies") {
		for key, used := range map[string]bool{"forwarded_header": s.ForwardedHeader == "forwarded", "proxy_protocol": s.ProxyProtocol, "require_https": s.RequireHTTPS} {
			if used {
				d.Fail(o.Get(key), "has no effect without trusted_proxies", "name the proxies in server.trusted_proxies, or remove it")
			}
		}
	}
	s.Allow, s.Deny = decodeAddresses(o)
}

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

func (a *Audit) Check(d *file.Decoder, o file.Object) {
	d.NeedEnabled(o)
	if a.Enabled && a.Output == "" {
		o.Need("output", "name a file, or stdout or stderr")
	}
}

func (m *Metrics) Check(d *file.Decoder, o file.Object) { d.NeedEnabled(o) }

// minAdminToken is the least length of a token, in bytes: shorter ones can be guessed.
const minAdminToken = 16

func (a *Admin) Check(d *file.Decoder, o file.Object) {
	if a.Token.Empty() {
		o.Need("token", "set it, or remove the block")
		return
	}
	at := o.Get("token")
	if len(a.Token.Reveal()) < minAdminToken {
		d.Fail(at, "is shorter than 16 bytes", "make one: openssl rand -hex 16")
	}
	if strings.ContainsFunc(a.Token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		d.Fail(at, "has characters that a header cannot carry", "use printable ASCII without spaces; make one: openssl rand -hex 16")
	}
}
