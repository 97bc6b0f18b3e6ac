// Package sign computes AWS Signature Version 4 for read-only S3 requests.
//
// It signs byte for byte what the caller sends: nothing is parsed, decoded,
// normalised or sorted here. The caller encodes the path once with
// [AppendPath], puts the same bytes on the request line and into [Request], and
// appends the result of [Signer.AppendHeaders] to the same request head.
//
// The sources are the pages "Authenticating Requests: Using the Authorization
// Header (AWS Signature Version 4)" (sig-v4-header-based-auth) and "Signature
// Calculations for the Authorization Header: Transferring Payload in a Single
// Chunk" of the Amazon S3 API Reference, and "Create a signed AWS API request"
// (create-signed-request) of the IAM User Guide.
package sign

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	algorithm = "AWS4-HMAC-SHA256"

	// emptyHash is the SHA-256 of no bytes: a GET or HEAD has no body.
	emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// Options is one credential in one region.
//
// It prints and marshals masked. Two ways of printing cannot be masked, because
// fmt does not call methods there: an unexported field of another struct, and
// the verb %p. Pass Options to [New] and keep the Signer instead, which has
// neither.
type Options struct {
	// AccessKey is the access key id. Required; printable ASCII without
	// spaces and commas.
	AccessKey string
	// SecretKey is the secret access key. Required; no control characters, which
	// catches the newline at the end of a file.
	SecretKey string
	// SessionToken comes with temporary credentials, and is then sent and signed
	// as X-Amz-Security-Token. Empty: long-term credentials. Printable ASCII
	// without spaces.
	SessionToken string
	// Region is the signing region, as in "eu-west-1". Required; printable
	// ASCII without spaces, commas and slashes.
	Region string
}

// validate reports everything that is wrong, without printing any value.
func (o *Options) validate() error {
	var errs []error
	check := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New(text))
		}
	}
	check(o.AccessKey != "", "access key is empty")
	check(isToken(o.AccessKey, ","), "access key has a space, a comma, a control or a non-ASCII character")
	check(o.SecretKey != "", "secret key is empty")
	check(!strings.ContainsFunc(o.SecretKey, isControl), "secret key has a control character, such as a newline at its end")
	check(isToken(o.SessionToken, ""), "session token has a space, a control or a non-ASCII character")
	check(o.Region != "", "region is empty")
	check(isToken(o.Region, ",/"), "region has a space, a comma, a slash, a control or a non-ASCII character")
	return errors.Join(errs...)
}

// isToken reports whether s can stand inside the Authorization header or be a
// header value that no server rewrites.
func isToken(s, without string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(without, r)
	})
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// Signer signs requests with one credential in one region.
//
// The zero value is not usable: see [New]. A Signer is safe for concurrent use
// and must not be copied. It needs no closing and starts no goroutine. It never
// prints its credential.
type Signer struct {
	// cred is behind a pointer: fmt shows nested pointers as addresses, even
	// where it cannot call Format.
	cred *Options

	anonymous bool // nothing is signed; cred is nil

	// keys caches the derived key of a UTC day, at the parity of its number: both
	// sides of midnight stay, whichever way the clock steps.
	keys [2]atomic.Pointer[dayKey]

	scratch sync.Pool // of *scratch
}

// New returns a signer for o. The error names all that is wrong with o, and
// prints none of its values.
func New(o Options) (*Signer, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("cannot sign with these credentials: %w", err)
	}
	return &Signer{cred: &o}, nil
}

// Anonymous returns a signer that signs nothing: for buckets that everybody may read.
func Anonymous() *Signer { return &Signer{anonymous: true} }

// AppendHeaders appends to dst the header lines that authenticate r at the time
// now, each ended by CRLF: X-Amz-Date, X-Amz-Content-Sha256 (of an empty body),
// X-Amz-Security-Token where the credential has one, Authorization. The caller
// writes the request line, Host and r.Headers, exactly as in r.
//
// The scope is the UTC day of now, whatever its location. S3 accepts a request
// for 15 minutes around its time and answers RequestTimeTooSkewed beyond them.
//
// r is only read, and not kept. Its slices may point into dst below len(dst).
// It panics if the names in r.Headers break the rule of [Request.Headers]. An
// [Anonymous] signer appends nothing.
//
// Hot path: zero allocations when dst has room, guarded by
// TestAppendHeadersAllocs.
func (s *Signer) AppendHeaders(dst []byte, r *Request, now time.Time) []byte {
	if s.anonymous {
		return dst
	}
	key, second := s.dayKey(now)
	sc := s.acquireScratch()

	// What is signed is read back from dst: it is what will be sent.
	var own [4]Header
	own[0] = Header{"host", r.Host}
	dst = append(dst, "X-Amz-Date: "...)
	start := len(dst)
	dst = key.appendStamp(dst, second)
	own[2] = Header{"x-amz-date", dst[start:]}
	dst = append(dst, "\r\nX-Amz-Content-Sha256: "...)
	start = len(dst)
	dst = append(dst, emptyHash...)
	own[1] = Header{"x-amz-content-sha256", dst[start:]}
	n := 3
	if s.cred.SessionToken != "" {
		dst = append(dst, "\r\nX-Amz-Security-Token: "...)
		start = len(dst)
		dst = append(dst, s.cred.SessionToken...)
		own[3] = Header{"x-amz-security-token", dst[start:]}
		n = 4
	}

	sc.appendCanonicalRequest(r, own[:n])
	digest := sha256.Sum256(sc.text)
	signature := key.sign(sc, own[2].Value, &digest)

	dst = append(dst, "\r\n"...)
	dst = append(dst, key.authorization...)
	dst = append(dst, sc.names...)
	dst = append(dst, ", Signature="...)
	dst = hex.AppendEncode(dst, signature[:])
	dst = append(dst, "\r\n"...)

	s.releaseScratch(sc)
	return dst
}
