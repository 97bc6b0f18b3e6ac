// Package coding compresses objects for clients: it reads what they accept, and makes each coded
// form of a body once.
package coding

import (
	"bytes"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/molecule-man/go-brrr"
)

// Coding is a content coding (RFC 9110, 8.4.1). The zero value is none.
type Coding uint8

const (
	Identity Coding = iota // none
	Brotli
	Zstd
	Gzip
	number
)

// Form is the number of the form that an object in memory has in c, which is not Identity.
func (c Coding) Form() int { return int(c) - 1 }

// Names are the names of codings in headers and in the configuration file.
var Names = [number]string{Identity: "identity", Brotli: "br", Zstd: "zstd", Gzip: "gzip"}

// Extensions are what the keys of objects end in that are coded beforehand.
var Extensions = [number]string{Brotli: ".br", Zstd: ".zst", Gzip: ".gz"}

// Parse returns the coding of a name in the configuration file.
func Parse(name string) (c Coding, ok bool) {
	for c = Brotli; c < number; c++ {
		if Names[c] == name {
			return c, true
		}
	}
	return Identity, false
}

// Levels, for bodies that are coded once and sent many times. More costs several times as much
// and saves a few hundredths.
const (
	brotliLevel = 6
	gzipLevel   = 6
	zstdLevel   = zstd.SpeedBetterCompression
)

// worthwhile is the share of a body, in percent, that a coded form may have at most.
const worthwhile = 95

// Encode returns body in a coding; nil if that saves too little to be worth its memory. It takes
// about 20 ms for each megabyte.
func Encode(c Coding, body []byte) []byte {
	var coded []byte
	switch c {
	case Brotli:
		coded, _ = brrr.Compress(body, brotliLevel) // no error but that of a wrong level
	case Zstd:
		// One worker, and a window no larger than clients must take (RFC 9659).
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstdLevel), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow))
		if err != nil {
			panic("BUG: the options of zstd: " + err.Error())
		}
		coded = e.EncodeAll(body, nil)
	case Gzip:
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, gzipLevel)
		if err != nil {
			panic("BUG: the level of gzip: " + err.Error())
		}
		w.Write(body)
		w.Close()
		coded = b.Bytes()
	}
	if len(coded) == 0 || len(coded)*100 > len(body)*worthwhile {
		return nil
	}
	return bytes.Clone(coded) // exactly as large as it must be
}

// Decodes tells whether coded is body in a coding. It reads no further than they agree.
func Decodes(c Coding, coded, body []byte) bool {
	var r io.Reader
	switch c {
	case Brotli:
		r = brrr.NewReader(bytes.NewReader(coded))
	case Zstd:
		d, err := zstd.NewReader(bytes.NewReader(coded), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return false
		}
		defer d.Close()
		r = d
	case Gzip:
		d, err := gzip.NewReader(bytes.NewReader(coded))
		if err != nil {
			return false
		}
		r = d
	default:
		return false
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > len(body) || !bytes.Equal(buf[:n], body[:n]) {
			return false
		}
		if body = body[n:]; err != nil {
			return err == io.EOF && len(body) == 0
		}
	}
}

// zstdWindow is the most that a decoder of the coding zstd has to take, in bytes.
const zstdWindow = 8 << 20

// Types tells which media types are worth coding.
type Types struct {
	exact    map[string]struct{}
	families []string // such as "text/"
}

// NewTypes returns the types of a list, in which "text/*" is a family.
func NewTypes(list []string) *Types {
	t := &Types{exact: make(map[string]struct{})}
	for _, kind := range list {
		if family, ok := strings.CutSuffix(kind, "*"); ok {
			t.families = append(t.families, family)
		} else {
			t.exact[kind] = struct{}{}
		}
	}
	return t
}

// maxType is the most bytes of a media type without parameters that Has looks at.
const maxType = 96

// Has tells whether a Content-Type is one of t, whatever its parameters and case.
//
// Hot path: zero allocations, guarded by TestHasAllocs.
func (t *Types) Has(contentType []byte) bool {
	var buf [maxType]byte
	kind := buf[:0]
	for _, c := range contentType {
		if c == ';' || c == ' ' || c == '\t' || len(kind) == maxType {
			break
		}
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		kind = append(kind, c)
	}
	if _, ok := t.exact[string(kind)]; ok {
		return true
	}
	for _, family := range t.families {
		if len(kind) > len(family) && string(kind[:len(family)]) == family {
			return true
		}
	}
	return false
}
