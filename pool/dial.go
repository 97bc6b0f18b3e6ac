package pool

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// dialSlot opens a connection for a place already counted in open and as client's, and gives
// the place up again on failure; done, which may be nil, ends that.
func (u *Upstream) dialSlot(client uint64, done <-chan struct{}) (c *conn, err error) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(u.life, u.opts.DialTimeout)
	defer cancel()
	if done != nil {
		go func() { // ends with the dial
			select {
			case <-done:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	phase := PhaseConnect
	tcp, err := u.addresses.dial(ctx, &u.dialer)
	if err == nil {
		if c, phase, err = u.prepare(ctx, tcp); err != nil {
			tcp.Close()
		}
	}
	if err != nil {
		u.freeSlot(client)
		return nil, dialError(phase, err)
	}
	c.client, c.dialed = client, time.Since(begin)
	u.dials.Add(1)
	return c, nil
}

// prepare makes a connection to the origin of tcp. It returns the phase that it got to.
func (u *Upstream) prepare(ctx context.Context, tcp *net.TCPConn) (*conn, Phase, error) {
	var nc net.Conn = tcp
	if u.opts.Proxy != nil {
		if err := u.tunnel(ctx, tcp); err != nil {
			return nil, PhaseConnect, err
		}
	}
	if u.opts.TLS != nil {
		tc := tls.Client(&records{TCPConn: tcp}, u.opts.TLS)
		if err := tc.HandshakeContext(ctx); err != nil {
			return nil, PhaseTLS, err
		}
		nc = tc
	}
	c, err := newConn(u.life, nc, tcp, time.Now())
	return c, PhaseConnect, err
}

// tunnel has the proxy connect tcp to the origin.
func (u *Upstream) tunnel(ctx context.Context, tcp net.Conn) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := tcp.SetDeadline(deadline); err != nil {
			return err
		}
	}
	head := "CONNECT " + u.opts.Address + " HTTP/1.1\r\nHost: " + u.opts.Address + "\r\n"
	if user := u.opts.Proxy.User; user != nil {
		password, _ := user.Password()
		head += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)) + "\r\n"
	}
	if _, err := io.WriteString(tcp, head+"\r\n"); err != nil {
		return fmt.Errorf("the proxy %s breaks off: %w", u.opts.Proxy.Host, err)
	}
	br := bufio.NewReader(io.LimitReader(tcp, maxHead))
	r, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	switch {
	case err != nil:
		return fmt.Errorf("the proxy %s gives no answer to CONNECT: %w", u.opts.Proxy.Host, err)
	case r.StatusCode != http.StatusOK:
		return fmt.Errorf("the proxy %s answers CONNECT with %d", u.opts.Proxy.Host, r.StatusCode)
	case br.Buffered() > 0:
		return fmt.Errorf("the proxy %s says more than it should", u.opts.Proxy.Host)
	}
	return tcp.SetDeadline(time.Time{})
}
