package pool

import (
	"net"
	"os"
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

	now  bool              // Read does not wait
	came bool              // such a Read found something
	look func() peekResult // tells what there is
}

// Read implements io.Reader. Where nothing is there, the error is a timeout, after which
// TLS can be read on.
func (r *records) Read(b []byte) (int, error) {
	if r.now {
		if r.look() == peekClean {
			return 0, os.ErrDeadlineExceeded
		}
		r.came = true
	}
	n, err := r.TCPConn.Read(b)
	r.follow(b[:n])
	return n, err
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
