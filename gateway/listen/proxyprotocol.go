package listen

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

// proxyHeaderTimeout is how long a PROXY header may take: proxies send it at once.
const proxyHeaderTimeout = 5 * time.Second

// Sizes of a PROXY header, in bytes (The PROXY protocol, versions 1 and 2, sections
// 2.1 and 2.2).
const (
	maxProxyLine   = 107     // of version 1, with CRLF
	proxyFixed     = 16      // of version 2, before the addresses
	maxProxyHeader = 4 << 10 // of version 2, after the fixed part
)

// readProxyHeader reads the PROXY header from c, and not one byte beyond it. It returns the
// client's address; not valid: the header names none.
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
	client, err := namedClient(raw)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("cannot use the PROXY header: %w", err)
	}
	return client, nil
}

// namedClient returns the client's address in a header. It is not valid where the proxy speaks
// for itself, as in health checks (LOCAL), does not know its client (UNKNOWN, UNSPEC), or has
// only a path (AF_UNIX).
//
// go-proxyproto v0.8.1 refuses UNSPEC for a client, which a receiver may accept, and
// LOCAL with a family or a length that does not fit, which it must accept and ignore; it
// accepts families that a receiver must reject (all in section 2.2).
func namedClient(raw []byte) (netip.Addr, error) {
	if bytes.HasPrefix(raw, proxyproto.SIGV2) {
		command, family := proxyproto.ProtocolVersionAndCommand(raw[len(proxyproto.SIGV2)]), proxyproto.AddressFamilyAndProtocol(raw[len(proxyproto.SIGV2)+1])
		if command == proxyproto.LOCAL || command == proxyproto.PROXY && family == proxyproto.UNSPEC {
			return netip.Addr{}, nil
		}
		switch family {
		case proxyproto.TCPv4, proxyproto.TCPv6, proxyproto.UDPv4, proxyproto.UDPv6, proxyproto.UnixStream, proxyproto.UnixDatagram:
		default:
			return netip.Addr{}, fmt.Errorf("its family and protocol are %#02x", byte(family))
		}
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(raw), maxProxyHeader+proxyFixed))
	if err != nil {
		return netip.Addr{}, err
	}
	source, _, _ := h.IPs() // of UDP, too: a proxy may have the request by HTTP/3
	client, _ := netip.AddrFromSlice(source)
	return client.Unmap(), nil
}

// takeProxyHeader returns the bytes of a header: the line of version 1, or the signature,
// length and addresses of version 2.
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
