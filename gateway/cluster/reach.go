package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"
)

// everywhere asks each address. One that does as it should is enough, as the others may come back.
func (x *examination) everywhere(ask func(address string) error, fix func(error) string) Finding {
	var wrong []string
	var last error
	begin := time.Now()
	for _, address := range x.c.Valkey.Addresses {
		if err := ask(address); err != nil {
			wrong, last = append(wrong, err.Error()), err
		}
	}
	switch {
	case last == nil:
		return passed(begin, "")
	case len(wrong) < len(x.c.Valkey.Addresses):
		return Finding{Result: Doubtful, Detail: strings.Join(wrong, "; "), Fix: fix(last)}
	}
	return failed(fix(last), "%s", strings.Join(wrong, "; "))
}

func (x *examination) resolve() Finding {
	return x.everywhere(func(address string) error {
		name, _, _ := net.SplitHostPort(address)
		if _, err := netip.ParseAddr(name); err == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), lookWithin)
		defer cancel()
		_, err := net.DefaultResolver.LookupHost(ctx, name)
		return err
	}, func(error) string {
		return "check the names in cluster.valkey.addresses, and the name servers of this machine"
	})
}

// lookWithin is how long a name, a connection and a handshake may take.
const lookWithin = 3 * time.Second

func (x *examination) dial() Finding {
	return x.everywhere(func(address string) error {
		conn, err := net.DialTimeout("tcp", address, lookWithin)
		if err == nil {
			conn.Close()
		}
		return err
	}, func(error) string {
		return "check the port in cluster.valkey.addresses, that the server runs and listens on that address, and the firewalls in between"
	})
}

func (x *examination) handshake() Finding {
	c, err := tlsOf(&x.c.Valkey)
	if err != nil {
		return failed("check the file", "%v", err)
	}
	if c == nil {
		return Finding{}
	}
	return x.everywhere(func(address string) error {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: lookWithin}, "tcp", address, c)
		if err == nil {
			conn.Close()
		}
		return err
	}, fixTLS)
}

// fixTLS returns what to do about a handshake that failed.
func fixTLS(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown):
		return "set cluster.valkey.tls.ca_file to the authority of the server's certificate"
	case errors.As(err, &name):
		return "write the name that is in the server's certificate into cluster.valkey.addresses, or have one made with this name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "have the server's certificate renewed, or, if it has not begun, set the clock of this machine"
	}
	return "check that the server speaks TLS at this port, 1.2 or later; if it does not, remove cluster.valkey.tls"
}
