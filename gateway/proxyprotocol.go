package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

// proxyHeaderTimeout bounds the arrival of a PROXY header: proxies send it at once.
const proxyHeaderTimeout = 5 * time.Second

// Sizes of a PROXY header, in bytes (The PROXY protocol, versions 1 and 2, sections
// 2.1 and 2.2).
const (
	maxProxyLine   = 107     // of version 1, with CRLF
	proxyFixed     = 16      // of version 2, before the addresses
	maxProxyHeader = 4 << 10 // of version 2, with all that it may carry
)

// readProxyHeader reads the PROXY header that a trusted proxy has sent on c, and not
// one byte beyond it, and returns the client that it names. That is not valid where
// the proxy speaks for itself, as in health checks.
func readProxyHeader(c net.Conn) (netip.Addr, error) {
	if err := c.SetReadDeadline(time.Now().Add(proxyHeaderTimeout)); err != nil {
		return netip.Addr{}, err
	}
	raw, err := takeProxyHeader(c)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("cannot read the PROXY header: %w", err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return netip.Addr{}, err
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(raw), maxProxyHeader+proxyFixed))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("cannot use the PROXY header: %w", err)
	}
	source, _, ok := h.TCPAddrs()
	if h.Command.IsLocal() || !ok {
		return netip.Addr{}, nil
	}
	return source.AddrPort().Addr().Unmap(), nil
}

// takeProxyHeader returns the bytes of a header: a line, or what has a signature and
// a length.
func takeProxyHeader(r io.Reader) ([]byte, error) {
	b := make([]byte, proxyFixed, maxProxyLine+1)
	// No header of either version is shorter than the shortest line, 15 bytes.
	n, err := io.ReadFull(r, b[:len("PROXY UNKNOWN\r\n")])
	if err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(b, proxyproto.SIGV2):
		if _, err := io.ReadFull(r, b[n:proxyFixed]); err != nil {
			return nil, err
		}
		size := int(binary.BigEndian.Uint16(b[proxyFixed-2:]))
		if size > maxProxyHeader {
			return nil, fmt.Errorf("it has %d bytes", size)
		}
		b = append(b, make([]byte, size)...)
		_, err := io.ReadFull(r, b[proxyFixed:])
		return b, err
	case bytes.HasPrefix(b, proxyproto.SIGV1):
		for b = b[:n]; !bytes.HasSuffix(b, []byte("\r\n")); {
			if len(b) == maxProxyLine {
				return nil, errors.New("its line is too long")
			}
			b = append(b, 0)
			if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
				return nil, err
			}
		}
		return b, nil
	}
	return nil, errors.New("there is none")
}
