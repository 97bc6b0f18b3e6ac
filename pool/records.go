package pool

import (
	"io"
	"net"
	"os"
	"syscall"
)

// records is the socket that TLS reads records from. crypto/tls reads ahead, and does
// not tell that it holds the beginning of a record: this counts where they end.
//
// Not safe for concurrent use: it belongs to the owner of the connection.
type records struct {
	*net.TCPConn
	header [5]byte // of the record that comes next, RFC 8446, 5.1
	have   int     // bytes of header that came
	left   int     // bytes of the record's content still to come

	now  bool // Read does not wait
	came bool // such a Read found bytes
	raw  syscall.RawConn
	take func(fd uintptr) // bound once, so that a check allocates nothing
	into []byte           // buffer for take
	n    int
	err  error
}

func newRecords(c *net.TCPConn) (*records, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &records{TCPConn: c, raw: raw}
	r.take = func(fd uintptr) { r.n, r.err = syscall.Read(int(fd), r.into) }
	return r, nil
}

// Read implements io.Reader. Where nothing is there, the error is a timeout, after which
// TLS can be read on.
func (r *records) Read(b []byte) (n int, err error) {
	if r.now {
		n, err = r.readNow(b)
		r.came = r.came || n > 0
	} else {
		n, err = r.TCPConn.Read(b)
	}
	r.follow(b[:n])
	return n, err
}

func (r *records) readNow(b []byte) (int, error) {
	r.into = b
	err := r.raw.Control(r.take)
	r.into = nil
	switch {
	case err != nil:
		return 0, err
	case r.err == syscall.EAGAIN || r.err == syscall.EINTR:
		return 0, os.ErrDeadlineExceeded
	case r.err != nil:
		return 0, r.err
	case r.n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return r.n, nil
}

// follow counts b, which comes next.
func (r *records) follow(b []byte) {
	for len(b) > 0 {
		if r.left > 0 {
			n := min(r.left, len(b))
			r.left -= n
			b = b[n:]
			continue
		}
		n := copy(r.header[r.have:], b)
		b = b[n:]
		if r.have += n; r.have == len(r.header) {
			r.have, r.left = 0, int(r.header[3])<<8|int(r.header[4])
		}
	}
}

// begun tells whether a part of a record was read, and not its end.
func (r *records) begun() bool { return r.have > 0 || r.left > 0 }
