package resp

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

func ExampleGuarded() {
	client, server := net.Pipe()
	go server.Write([]byte("$9223372036854775807\r\n")) // ends with the pipe
	c := &Guarded{Conn: client}
	_, err := c.Read(make([]byte, 64))
	fmt.Println(err == ErrReply)
	// Output: true
}

// TestGuard has answers of servers, in pieces of all sizes.
func TestGuard(t *testing.T) {
	large := strings.Repeat("$8388608\r\n"+strings.Repeat("x", 8<<20)+"\r\n", 9)
	deep := strings.Repeat("*1\r\n", mostNested)
	for answer, sound := range map[string]bool{
		"+OK\r\n": true,
		"-ERR no\r\n:42\r\n_\r\n,1.5\r\n#t\r\n(123\r\n":          true,
		"$5\r\nhello\r\n+OK\r\n":                                 true,
		"$5\r\n*9\r\n\r\r\n$-1\r\n*-1\r\n":                       true, // what is within a string is no answer
		"$0\r\n\r\n*0\r\n%0\r\n":                                 true,
		"*2\r\n$1\r\na\r\n*1\r\n:1\r\n":                          true,
		"%1\r\n+k\r\n~2\r\n+a\r\n+b\r\n":                         true,
		"|1\r\n+ttl\r\n:3600\r\n+OK\r\n":                         true,
		"=5\r\ntxt:a\r\n!3\r\nERR\r\n>2\r\n+invalidate\r\n_\r\n": true,
		deep + "+a\r\n" + deep + "+b\r\n":                        true,
		large:                                                    true,
		"*9\r\n" + large:                                         false,
		deep + "*1\r\n":                                          false,
		"$9223372036854775807\r\n":                               false,
		"$99999999999999999999\r\n":                              false,
		"$8388609\r\n":                                           false,
		"$-2\r\n":                                                false,
		"$\r\n":                                                  false,
		"$?\r\n":                                                 false,
		"*65537\r\n":                                             false,
		"*4000000000\r\n":                                        false,
		"%65537\r\n":                                             false,
		"*1x\r\n":                                                false,
		"+" + strings.Repeat("x", mostLine):                      false,
		"*2\r\n+a\r\n$4000000000\r\n":                            false,
	} {
		for _, size := range []int{1, 2, 3, 7, 1 << 20} {
			if len(answer) > 1<<20 && size < 1<<20 {
				continue
			}
			var g guard
			var err error
			for rest := []byte(answer); len(rest) > 0 && err == nil; {
				piece := rest[:min(size, len(rest))]
				err, rest = g.scan(piece), rest[len(piece):]
			}
			if (err == nil) != sound {
				t.Errorf("%.40q in pieces of %d: %v", answer, size, err)
			}
			if sound && (len(g.items) > 0 || g.skip > 0 || len(g.line) > 0) {
				t.Errorf("%.40q in pieces of %d is not over: %+v", answer, size, g)
			}
		}
	}
}

// TestGuardedConnection has a server that would have the client make a slice larger than there is
// memory for.
func TestGuardedConnection(t *testing.T) {
	client, server := net.Pipe()
	go func() { // ends with the pipe
		server.Write([]byte("+OK\r\n"))
		server.Write([]byte("$9223372036854775807\r\n"))
	}()
	c := &Guarded{Conn: client}
	defer c.Close()
	var got bytes.Buffer
	if _, err := io.Copy(&got, c); err != ErrReply || got.String() != "+OK\r\n" {
		t.Errorf("%q, %v", got.String(), err)
	}
	if _, err := server.Write([]byte("more")); err == nil {
		t.Error("the connection goes on")
	}
}

// FuzzGuard compares answers as a whole with the same in pieces.
func FuzzGuard(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n*1\r\n:1\r\n"), 3)
	f.Add([]byte("%1\r\n+k\r\n$9\r\n"), 1)
	f.Fuzz(func(t *testing.T, answer []byte, size int) {
		var whole, pieces guard
		want := whole.scan(answer)
		var got error
		size = 1 + (size&0xff)%7
		for rest := answer; len(rest) > 0 && got == nil; {
			piece := rest[:min(size, len(rest))]
			got, rest = pieces.scan(piece), rest[len(piece):]
		}
		if want != got || len(whole.items) > mostNested || want == nil && whole.skip != pieces.skip {
			t.Errorf("%v in one, %v in pieces of %d: %q", want, got, size, answer)
		}
	})
}
