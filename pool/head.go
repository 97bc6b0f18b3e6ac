package pool

import (
	"bytes"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"
)

// maxHead bounds a response head, in bytes.
const maxHead = 16 << 10

// readHead waits for a complete head of at most maxHead bytes and parses it.
func (x *Exchange) readHead(bodiless bool) error {
	var scan headScan
	for {
		n := x.br.Buffered()
		b, _ := x.br.Peek(n)
		if !beginsResponse(b) {
			// Also a blank line, which the library would skip uncounted.
			return protocolError(errNotHTTP)
		}
		whole, err := scan.advance(b)
		switch {
		case err != nil:
			return protocolError(err)
		case scan.at > maxHead, !whole && n >= maxHead:
			return protocolError(errHeadTooLarge)
		}
		if whole {
			x.closes = bodiless && saysClose(b[:scan.at-len("\r\n")])
			break
		}
		if _, err := x.br.Peek(n + 1); err != nil {
			return ioError(PhaseHead, true, err)
		}
	}
	x.Header.SetNoDefaultContentType(true) // what the origin does not say is not known
	if err := x.Header.Read(x.br); err != nil {
		// The library's text quotes the head: not for logs.
		return protocolError(errHeadBad)
	}
	return nil
}

// once are the headers that say what the object is, by which a client or the gateway decides.
// Of two such lines one reader takes the first, and another the last, as fasthttp does with
// Content-Type and Content-Encoding. S3 servers send one; of other headers some send two, as
// LocalStack does with Date, and versitygw with x-amz-request-id: the first counts.
var once = [...][]byte{[]byte("Content-Type"), []byte("Content-Encoding"), []byte("Content-Disposition"), []byte("Content-Range"), []byte("ETag"), []byte("Last-Modified")}

// onceBy has the indexes of once by the first letter of a name.
var onceBy = func() (by [256][]int) {
	for i, name := range once {
		for _, c := range []byte{name[0], name[0] | 0x20} {
			by[c] = append(by[c], i)
		}
	}
	return by
}()

// headScan looks at the lines of a head as they come in. It refuses one that two readers may read
// differently: with a line that ends in a bare LF (RFC 9112, 2.2), or with two lines of a header
// of once.
type headScan struct {
	at   int             // where the next line begins
	seen [len(once)]bool // of which headers of once there was a line
}

// advance looks at the lines of b, the beginning of a head, that were not there the last time. It
// tells whether the last of them is the empty one, with which the head is whole.
func (s *headScan) advance(b []byte) (whole bool, err error) {
	for {
		line := b[s.at:]
		n := bytes.IndexByte(line, '\n')
		switch {
		case n < 0:
			return false, nil
		case n == 0 || line[n-1] != '\r':
			return false, errLineEnd
		}
		s.at += n + 1
		if n == 1 {
			return true, nil
		}
		for _, i := range onceBy[line[0]] {
			name := once[i]
			if len(line) > len(name) && endsName(line[len(name)]) && bytes.EqualFold(line[:len(name)], name) {
				if s.seen[i] {
					return false, fmt.Errorf("%w: two lines of %s", errHeadBad, name)
				}
				s.seen[i] = true
			}
		}
	}
}

// endsName tells whether b ends the name of a header: the library drops spaces before the colon.
func endsName(b byte) bool { return b == ':' || b == ' ' || b == '\t' }

// saysClose tells whether a head has the connection option close (RFC 9112, 9.6). The
// library tells it also of a head without a length, as it does not know HEAD.
func saysClose(head []byte) bool {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !bytes.EqualFold(name, []byte("connection")) {
			continue
		}
		for option := range bytes.SplitSeq(value, []byte(",")) {
			if bytes.EqualFold(bytes.TrimSpace(option), []byte("close")) {
				return true
			}
		}
	}
	return false
}

// beginsResponse tells whether b can be the beginning of a response, as far as it goes.
func beginsResponse(b []byte) bool {
	const version = "HTTP/0.0 " // 0: any digit
	n := min(len(b), len(version))
	for i, c := range b[:n] {
		if c != version[i] && (version[i] != '0' || !isDigit(c)) {
			return false
		}
	}
	code := bytes.TrimLeft(b[n:], " ")
	for i, c := range code[:min(len(code), 4)] {
		if i < 3 && !isDigit(c) || i == 3 && c != ' ' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func protocolError(cause error) *Error {
	return &Error{Reason: ReasonProtocol, Phase: PhaseHead, Sent: true, Err: cause}
}

// frame determines the length of the body, RFC 9112 section 6.3, and whether
// the connection can be kept. The request was sent at begin.
func (x *Exchange) frame(bodiless bool, begin time.Time) error {
	h := &x.Header
	code, n := h.StatusCode(), h.ContentLength()
	x.reuse = (!h.ConnectionClose() || bodiless && !x.closes) && string(h.Protocol()) == "HTTP/1.1"
	x.length = int64(max(n, -1))
	switch {
	case code == fasthttp.StatusNoContent, code == fasthttp.StatusNotModified:
		x.rest = 0
		if x.announcesBody() {
			// It should not come, but may, and later than anyone looks for it.
			x.reuse = false
		}
	case bodiless:
		// The length is that of the body to GET: it should not come.
		x.rest = 0
		x.reuse = x.reuse && (n == 0 || x.conn.restAfter(begin))
	case !x.Listed && (code == fasthttp.StatusOK || code == fasthttp.StatusPartialContent):
		if n < 0 || len(h.Peek(fasthttp.HeaderTransferEncoding)) > 0 {
			return protocolError(errFraming)
		}
		x.rest = x.length
		if full := x.rest > smallSize && x.FitsBuffer(); x.up.fullBody.Load() != full {
			x.up.fullBody.Store(full)
		}
	default:
		x.rest = x.length // a list or an error document: read by Document in any framing
	}
	return nil
}

// announcesBody tells whether the head at hand has a length other than 0, or a coding.
func (x *Exchange) announcesBody() bool {
	n := x.Header.ContentLength()
	return n > 0 || n == -1 // -1: chunked
}

// twoAnswers tells whether another response came together with the one at hand. On a kept
// connection the first may then be one that nobody asked for, and that came too late for
// send to see it.
func (x *Exchange) twoAnswers() bool {
	n := x.br.Buffered()
	if x.rest < 0 || x.rest >= int64(n) {
		return false
	}
	b, _ := x.br.Peek(n)
	return beginsResponse(b[x.rest:])
}
