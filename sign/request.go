package sign

import (
	"bytes"
	"strconv"
)

// Request is what is signed: byte for byte what will be sent. A signer only
// reads it, and keeps none of its slices.
//
// No field is checked for CR and LF: whoever takes one from a client does that.
type Request struct {
	// Method is upper-case: GET or HEAD.
	Method string
	// Host is the value of the Host header, with the port where the header has
	// one.
	Host []byte
	// Path is the absolute path as on the request line, encoded by [AppendPath].
	// It begins with a slash.
	Path []byte
	// Query is the query as on the request line, without the question mark, in
	// canonical form: name=value pairs (the equals sign also where the value is
	// empty), names and values encoded by [AppendQueryComponent], sorted by
	// encoded name, joined by ampersands. Nil: no query.
	Query []byte
	// Headers are signed too. Their names are lower-case and strictly ascending,
	// and none is one that the signer adds: host, x-amz-content-sha256, x-amz-date,
	// x-amz-security-token.
	Headers []Header
}

// Header is one header that is sent and signed.
type Header struct {
	// Name is lower-case here; how it is written on the wire does not matter.
	Name string
	// Value is signed in canonical form: without spaces and tabs around it, and
	// each run of spaces inside as one. A tab inside stays, as in AWS's own
	// signers; MinIO folds it into a space and refuses the signature, so do not
	// send one.
	Value []byte
}

// scratch is the work space of one signature. Its text ends up holding key
// material, so it never leaves the signer's pool.
type scratch struct {
	text  []byte // the canonical request, then the padded string to sign
	names []byte // the signed header names, joined by semicolons
}

const (
	// scratchSize fits a key of 1024 bytes encoded to three times that, beside a
	// long session token.
	scratchSize = 6 << 10
	// scratchKeep is the size beyond which a buffer is left to the garbage
	// collector: one huge request must not stay in memory.
	scratchKeep = 64 << 10
)

func (s *Signer) acquireScratch() *scratch {
	if sc, ok := s.scratch.Get().(*scratch); ok {
		return sc
	}
	return &scratch{text: make([]byte, 0, scratchSize), names: make([]byte, 0, 256)}
}

func (s *Signer) releaseScratch(sc *scratch) {
	if cap(sc.text) > scratchKeep || cap(sc.names) > scratchKeep {
		return
	}
	s.scratch.Put(sc)
}

// appendCanonicalRequest fills text and names. own are the signer's headers,
// sorted by name.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
func (sc *scratch) appendCanonicalRequest(r *Request, own []Header) {
	text, names := sc.text[:0], sc.names[:0]
	text = append(text, r.Method...)
	text = append(text, '\n')
	text = append(text, r.Path...)
	text = append(text, '\n')
	text = append(text, r.Query...)
	text = append(text, '\n')

	last := ""
	for extra := r.Headers; len(own)+len(extra) > 0; {
		var h *Header
		if len(extra) == 0 || len(own) > 0 && own[0].Name < extra[0].Name {
			h, own = &own[0], own[1:]
		} else {
			h, extra = &extra[0], extra[1:]
		}
		if h.Name <= last {
			panic("BUG: sign: header " + strconv.Quote(h.Name) + " is out of order or signed twice")
		}
		if last != "" {
			names = append(names, ';')
		}
		last = h.Name
		names = append(names, h.Name...)
		text = append(text, h.Name...)
		text = append(text, ':')
		text = appendCanonicalValue(text, h.Value)
		text = append(text, '\n')
	}

	text = append(text, '\n')
	text = append(text, names...)
	text = append(text, '\n')
	text = append(text, emptyHash...)
	sc.text, sc.names = text, names
}

// appendCanonicalValue appends v without the white space around it and with
// each run of spaces inside as one space.
func appendCanonicalValue(dst, v []byte) []byte {
	if len(v) > 0 && (v[0] <= ' ' || v[len(v)-1] <= ' ') { // rare: Trim makes a set of bytes first
		v = bytes.Trim(v, " \t")
	}
	start := 0
	for i := 1; i < len(v); i++ {
		if v[i] == ' ' && v[i-1] == ' ' {
			dst = append(dst, v[start:i]...)
			start = i + 1
		}
	}
	return append(dst, v[start:]...)
}
