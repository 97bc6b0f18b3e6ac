// Package resp holds what a Valkey or Redis server answers against the protocol
// (https://valkey.io/topics/protocol/), for a client that believes it.
package resp

import (
	"errors"
	"net"
)

// Guarded is a connection that passes on what a server answers as long as that is sound, and closes
// itself and fails with ErrReply otherwise. valkey-go believes lengths and counts, and a panic of its
// goroutines would end the process: whoever owns Valkey, or the way to it, must not be able to. Not
// safe for reads at the same time.
type Guarded struct {
	net.Conn
	guard guard
}

// Read implements io.Reader.
func (c *Guarded) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if bad := c.guard.scan(b[:n]); bad != nil {
		c.Conn.Close()
		return 0, bad
	}
	return n, err
}

// Bounds of what the commands in use are answered with.
const (
	mostBulk   = 8 << 20  // bytes of a string
	mostItems  = 1 << 16  // of an array, map or set
	mostLine   = 64 << 10 // bytes of a line
	mostNested = 16       // arrays within arrays
	mostReply  = 64 << 20 // bytes of an answer, about, with all that is in it
	itemSize   = 64       // bytes of an item of an array, about
)

// guard follows the answers of a server, as RESP 2 and 3 have them
// (https://valkey.io/topics/protocol/).
type guard struct {
	skip  int64 // bytes of a string that are still to come, with its line break
	line  []byte
	items []int64 // that are still to come, of each array that is open
	total int64   // bytes, about, that the client has made room for, of the answer under way
}

// ErrReply is the error of an answer that no command in use has.
var ErrReply = errors.New("the server's answer is larger or deeper than that of any command that was sent: it is no Valkey, or not to be trusted")

// scan follows the next bytes, and returns an error if they are not sound.
func (g *guard) scan(b []byte) error {
	for len(b) > 0 {
		if g.skip > 0 {
			n := min(g.skip, int64(len(b)))
			if g.skip, b = g.skip-n, b[n:]; g.skip == 0 {
				g.close()
			}
			continue
		}
		c := b[0]
		b = b[1:]
		if g.line = append(g.line, c); len(g.line) > mostLine {
			return ErrReply
		}
		if c != '\n' {
			continue
		}
		err := g.begin(g.line)
		if g.line = g.line[:0]; err != nil {
			return err
		}
	}
	return nil
}

// begin takes the line that an item begins with.
func (g *guard) begin(line []byte) error {
	if len(g.items) == 0 {
		g.total = 0
	}
	g.total += int64(len(line))
	switch line[0] {
	case '$', '!', '=':
		n, ok := count(line, mostBulk)
		if g.total += n; !ok || g.total > mostReply {
			return ErrReply
		}
		if n >= 0 {
			g.skip = n + 2
			return nil
		}
	case '*', '%', '~', '>', '|':
		n, ok := count(line, mostItems)
		if g.total += n * itemSize; !ok || len(g.items) == mostNested || g.total > mostReply {
			return ErrReply
		}
		if line[0] == '%' || line[0] == '|' {
			n *= 2
		}
		if line[0] == '|' {
			n++ // the attributes belong to the item behind them
		}
		if n > 0 {
			g.items = append(g.items, n)
			return nil
		}
	}
	g.close()
	return nil
}

// close ends an item, and the arrays that end with it.
func (g *guard) close() {
	for len(g.items) > 0 {
		last := len(g.items) - 1
		if g.items[last]--; g.items[last] > 0 {
			return
		}
		g.items = g.items[:last]
	}
}

// count returns the length that a line says; -1: there is nothing. It is not ok beyond most, or if
// the line says something else.
func count(line []byte, most int64) (n int64, ok bool) {
	digits := line[1:]
	for len(digits) > 0 && (digits[len(digits)-1] == '\n' || digits[len(digits)-1] == '\r') {
		digits = digits[:len(digits)-1]
	}
	if string(digits) == "-1" {
		return -1, true
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = 10*n + int64(c-'0'); n > most {
			return 0, false
		}
	}
	return n, len(digits) > 0
}
