package pool

import (
	"errors"
	"io"
	"net"
	"net/http/httputil"
	"time"

	"github.com/valyala/fasthttp"
)

// documentPace is how many bytes of its limit a document gets a second more for, beside
// the time for a head.
const documentPace = 128 << 10

// Document reads at most limit bytes of an error document or a list, whatever its
// framing, and keeps the connection only if it ended within them. Afterwards Surplus
// tells whether more came than the document.
func (x *Exchange) Document(limit int) ([]byte, error) {
	limited := x.up.opts.HeadTimeout + time.Duration(limit/documentPace)*time.Second
	if err := x.conn.SetReadDeadline(time.Now().Add(limited)); err != nil {
		return nil, bodyError(err)
	}
	var r io.Reader = x.br
	chunked := x.length < 0 && len(x.Header.Peek(fasthttp.HeaderTransferEncoding)) > 0
	switch {
	case x.rest >= 0:
		r = io.LimitReader(r, x.rest)
	case chunked:
		r = httputil.NewChunkedReader(r)
	}
	doc, err := io.ReadAll(io.LimitReader(r, int64(limit)))
	if err != nil {
		return doc, documentError(err, chunked)
	}
	switch {
	case x.rest >= 0 && int64(len(doc)) < min(x.rest, int64(limit)):
		return doc, bodyError(io.ErrUnexpectedEOF)
	case x.rest >= 0 && int64(len(doc)) == x.rest:
		x.rest = 0
	case chunked && x.endOfChunks(r):
		x.rest = 0
	default:
		x.reuse = false
	}
	x.surplus = x.rest == 0 && x.br.Buffered() > 0
	return doc, nil
}

// documentError types an error of reading an error document: of the connection,
// or, when that is sound, of the chunks on it.
func documentError(err error, chunked bool) *Error {
	_, ofConn := errors.AsType[net.Error](err)
	if chunked && !ofConn && !isClosedByPeer(err) {
		return &Error{Reason: ReasonProtocol, Phase: PhaseBody, Sent: true, Err: errChunks}
	}
	return bodyError(err)
}

// endOfChunks consumes the end of a chunked body: the last chunk, which r must
// have reached, and an empty trailer section.
func (x *Exchange) endOfChunks(r io.Reader) bool {
	var b [1]byte
	if n, err := r.Read(b[:]); n != 0 || err != io.EOF {
		return false
	}
	crlf, err := x.br.Peek(2)
	if err != nil || string(crlf) != "\r\n" {
		return false
	}
	_, err = x.br.Discard(2)
	return err == nil
}
