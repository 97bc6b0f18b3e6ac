package pool

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
)

// Reason is why an exchange with an origin failed: a small closed set for
// logs, metrics and the choice of a status.
type Reason uint8

// The reasons of an Error.
const (
	ReasonNone        Reason = iota
	ReasonDNS                // the name did not resolve
	ReasonConnect            // the connection was refused or unreachable
	ReasonTLS                // the TLS handshake failed
	ReasonTimeout            // the origin was too slow; Error.Phase tells in what
	ReasonReset              // the origin closed or reset the connection
	ReasonTruncated          // the body ended before Content-Length bytes
	ReasonProtocol           // the response is not valid HTTP/1.1 for a bounded body
	ReasonQueue              // no connection became free in time
	ReasonDescriptors        // this machine has no descriptor, port or memory for a connection
	ReasonBuffers            // all stream buffers are in use
	ReasonClosed             // the Upstream was closed, or the exchange ended by this side
	ReasonClientGone         // the client closed its connection
	ReasonClientSlow         // the client read below the minimum rate
	ReasonYielded            // the client read slowly, and others needed what that held
	numReasons
)

var reasonNames = [numReasons]string{
	"", "dns", "connect", "tls", "timeout", "reset", "truncated", "protocol",
	"queue", "descriptors", "buffers", "closed", "client_gone", "client_slow", "yielded",
}

// String returns the reason's label in logs and metrics.
func (r Reason) String() string { return reasonNames[r] }

// OfOrigin tells whether the fault is the origin's, or on the way to it.
func (r Reason) OfOrigin() bool {
	return ReasonDNS <= r && r <= ReasonProtocol
}

// Phase is the part of an exchange in which an Error happened.
type Phase uint8

// The phases of an exchange, in order.
const (
	PhaseQueue Phase = iota
	PhaseConnect
	PhaseTLS
	PhaseSend
	PhaseHead
	PhaseBody
)

var phaseNames = [...]string{"queue", "connect", "tls", "send", "head", "body"}

// String returns the phase's name in logs.
func (p Phase) String() string { return phaseNames[p] }

// Error is the failure of one exchange.
type Error struct {
	Reason Reason
	Phase  Phase
	// Sent tells that the request can have reached the origin.
	Sent bool
	// Err is the cause; may be nil. Never holds request or response text.
	Err error
}

func (e *Error) Error() string {
	s := "upstream " + e.Phase.String() + ": " + e.Reason.String()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the reason of err, ReasonNone when it is not an *Error.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ReasonNone
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err) // also those of os and context
	return ok && e.Timeout()
}

// isClosedByPeer tells whether err means that the other side closed or reset
// the connection.
func isClosedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, errnoReset) || errors.Is(err, errnoPeerGone)
}

// isShortage tells whether err means that this machine lacks what a connection needs, which
// says nothing about the other side.
func isShortage(err error) bool {
	for _, lack := range shortages {
		if errors.Is(err, lack) {
			return true
		}
	}
	if !errors.Is(err, errnoNoAddress) {
		return false
	}
	// It has no port left; or, of an IPv6 address, no IPv6.
	e, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return false
	}
	to, ok := e.Addr.(*net.TCPAddr)
	return ok && to.IP.To4() != nil
}

// ioError types an error of reading from or writing to an established
// connection.
func ioError(phase Phase, sent bool, err error) *Error {
	e := &Error{Reason: ReasonReset, Phase: phase, Sent: sent, Err: err}
	switch {
	case errors.Is(err, net.ErrClosed):
		e.Reason, e.Err = ReasonClosed, nil
	case isShortage(err):
		e.Reason = ReasonDescriptors
	case isTimeout(err):
		e.Reason, e.Err = ReasonTimeout, os.ErrDeadlineExceeded
	case phase == PhaseBody && isClosedByPeer(err):
		e.Reason = ReasonTruncated
	}
	return e
}

// bodyError types an error of reading a body.
func bodyError(err error) *Error { return ioError(PhaseBody, true, err) }

// clientGone is the failure of a connection to a client.
func clientGone(err error) *Error {
	return &Error{Reason: ReasonClientGone, Phase: PhaseBody, Sent: true, Err: err}
}

// dialError types an error of opening a connection.
func dialError(phase Phase, err error) *Error {
	e := &Error{Reason: ReasonConnect, Phase: phase, Err: err}
	_, dns := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
		e.Reason, e.Err = ReasonClosed, nil
	case isShortage(err):
		e.Reason = ReasonDescriptors
	case dns: // also where no name server answers
		e.Reason = ReasonDNS
	case isTimeout(err):
		e.Reason = ReasonTimeout
	case phase == PhaseTLS:
		e.Reason = ReasonTLS
	}
	return e
}
