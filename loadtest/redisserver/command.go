package redisserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Do runs one command on a connection of its own, as a user who may do everything. It
// returns a string, an int64, a []any of such, or nil. The server's word for an error is
// in the error. Without a deadline in ctx it has 5 seconds.
func (s *Server) Do(ctx context.Context, args ...string) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answer, err := s.do(ctx, args)
	if err != nil {
		return nil, fmt.Errorf("cannot run %s at %s: %w", args[0], s.Address(), err)
	}
	return answer, nil
}

func (s *Server) do(ctx context.Context, args []string) (any, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := c.Write(appendCommand(appendCommand(nil, "AUTH", user, password), args...)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	if _, err := readReply(r); err != nil {
		return nil, err
	}
	return readReply(r)
}

func (s *Server) dial(ctx context.Context) (net.Conn, error) {
	if !s.opts.TLS {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Address())
	}
	text, err := os.ReadFile(s.CAFile())
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate", s.CAFile())
	}
	return (&tls.Dialer{Config: &tls.Config{RootCAs: roots}}).DialContext(ctx, "tcp", s.Address())
}

// appendCommand appends a command as RESP has it.
func appendCommand(dst []byte, args ...string) []byte {
	dst = fmt.Appendf(dst, "*%d\r\n", len(args))
	for _, a := range args {
		dst = fmt.Appendf(dst, "$%d\r\n%s\r\n", len(a), a)
	}
	return dst
}

// readReply reads one reply of RESP 2
// (https://redis.io/docs/latest/develop/reference/protocol-spec/).
func readReply(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return nil, errors.New("the reply has no type")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return nil, errors.New(rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read the reply %q: %w", line, err)
	case kind == ':':
		return n, nil
	case n == -1:
		return nil, nil
	case kind == '$':
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		return string(b[:n]), nil
	case kind == '*':
		list := make([]any, 0, n)
		for range n {
			item, err := readReply(r)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	}
	return nil, fmt.Errorf("cannot read the reply %q: unknown type", line)
}
