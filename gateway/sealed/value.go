// Package sealed has the form in which gateways keep objects at Valkey for each other: encrypted and
// authenticated, so that who owns the server neither reads them nor puts one in another's place.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"yatagarasu/cache"
)

// A value at Valkey is a header, then the sealed head, then the sealed body. The header is part of
// what both are sealed with.
const (
	HeaderSize = 1 + 16 + 8 + 5*8 + 1 + 8 + 8 + 2 + 4 + 4 + nonceSize // bytes of a header
	TagSize    = 16                                                   // bytes that sealing adds to a head, and to a body

	valueVersion = 1
	nonceSize    = 12 // of AES-GCM (NIST SP 800-38D, 5.2.1.1)
)

// Header is what stands in clear before a value: sizes and times.
type Header struct {
	Log       [16]byte        // of the incarnation, by HashLog
	Position  uint64          // in the log, when S3 was asked
	SinceSent time.Duration   // from then to storing
	Freshness cache.Freshness // without its time Sent
	PX        time.Duration   // for which Valkey keeps it
	StoredAt  int64           // Unix milliseconds
	Status    int             // of HTTP

	headLen, bodyLen int // sealed
	nonce            [nonceSize]byte
}

// HashLog returns the name of a log as headers have it.
func HashLog(incarnation string) (h [16]byte) {
	sum := sha256.Sum256([]byte(incarnation))
	copy(h[:], sum[:])
	return h
}

func (h *Header) append(dst []byte) []byte {
	be := binary.BigEndian
	dst = append(append(dst, valueVersion), h.Log[:]...)
	dst = be.AppendUint64(dst, h.Position)
	for _, d := range []time.Duration{h.SinceSent, h.Freshness.Received, h.Freshness.Lifetime, h.Freshness.StaleWhileRevalidate, h.Freshness.StaleIfError} {
		dst = be.AppendUint64(dst, uint64(d))
	}
	never := byte(0)
	if h.Freshness.NeverStale {
		never = 1
	}
	dst = be.AppendUint64(append(dst, never), uint64(h.PX))
	dst = be.AppendUint64(dst, uint64(h.StoredAt))
	dst = be.AppendUint16(dst, uint16(h.Status))
	dst = be.AppendUint32(dst, uint32(h.headLen))
	dst = be.AppendUint32(dst, uint32(h.bodyLen))
	return append(dst, h.nonce[:]...)
}

// errValue is the error of a value that no gateway of this version has stored.
var errValue = errors.New("the value is not one of this version")

// ReadHeader reads the header of a value. It says what anybody may have written until the value is
// opened.
func ReadHeader(b []byte) (h Header, err error) {
	if len(b) < HeaderSize || b[0] != valueVersion {
		return h, errValue
	}
	be := binary.BigEndian
	b = b[1:]
	copy(h.Log[:], b)
	h.Position = be.Uint64(b[16:])
	b = b[24:]
	for i, d := range []*time.Duration{&h.SinceSent, &h.Freshness.Received, &h.Freshness.Lifetime, &h.Freshness.StaleWhileRevalidate, &h.Freshness.StaleIfError} {
		if *d = time.Duration(be.Uint64(b[8*i:])); *d < 0 || *d > cache.MaxSeconds*time.Second {
			return h, errValue
		}
	}
	b = b[5*8:]
	h.Freshness.NeverStale = b[0] != 0
	h.PX, h.StoredAt = time.Duration(be.Uint64(b[1:])), int64(be.Uint64(b[9:]))
	h.Status = int(be.Uint16(b[17:]))
	h.headLen, h.bodyLen = int(be.Uint32(b[19:])), int(be.Uint32(b[23:]))
	copy(h.nonce[:], b[27:])
	return h, nil
}

// HeadEnd returns the length of a value up to the end of its head.
func (h *Header) HeadEnd() int { return HeaderSize + h.headLen }

// FreshnessAt returns the freshness of a value that Valkey keeps for the time left, as of an answer
// that has aged on the way. All purges up to the moment verified were looked at: it counts as asked
// for then. now is before Valkey was asked, as a client counts an answer's age (RFC 9111, 4.2.3).
func (h *Header) FreshnessAt(left time.Duration, verified, now time.Time) cache.Freshness {
	stored := max(h.PX-left, time.Duration(now.UnixMilli()-h.StoredAt)*time.Millisecond, 0)
	f := h.Freshness
	f.Received = max(f.Received+h.SinceSent+stored-now.Sub(verified), 0)
	f.Sent = verified
	return f
}

// Box seals the objects of one bucket. Get one by NewBox. It does not change, and is safe for
// concurrent use.
type Box struct {
	keys, bucket []byte // keys of HMACs: of names of keys, and of those that objects are sealed with
}

// NewBox returns the box of a bucket at an origin, whose keys come from the secret. What another bucket has stored cannot be opened by
// it, nor found.
func NewBox(secret, namespace, bucket string, origin []byte) *Box {
	return &Box{
		keys:   Derive([]byte(secret), "names", []byte(namespace)),
		bucket: Derive([]byte(secret), "bucket", []byte(namespace), []byte(bucket), origin),
	}
}

// Derive returns HMAC-SHA256 (RFC 2104) of parts, for one use.
func Derive(key []byte, use string, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(cache.AppendKey(nil, []byte("yatagarasu store"), []byte(use)))
	h.Write(cache.AppendKey(nil, parts...))
	return h.Sum(nil)
}

// Name returns the name of an object at Valkey, from which nobody else can tell what it is.
func (b *Box) Name(cacheKey []byte) string {
	return hex.EncodeToString(Derive(b.keys, "name", cacheKey)[:16])
}

func (b *Box) aead(cacheKey []byte) cipher.AEAD {
	block, err := aes.NewCipher(Derive(b.bucket, "object", cacheKey))
	if err == nil {
		var a cipher.AEAD
		if a, err = cipher.NewGCM(block); err == nil {
			return a
		}
	}
	panic("BUG: a key of 32 bytes is none of AES: " + err.Error())
}

// bodyNonce returns the nonce of the body of a value, whose head has another.
func bodyNonce(nonce [nonceSize]byte) []byte {
	nonce[nonceSize-1] ^= 1
	return nonce[:]
}

// Seal returns the value of an object, and sets the sizes and the nonce of its header.
func (b *Box) Seal(cacheKey []byte, h *Header, head, body []byte) []byte {
	rand.Read(h.nonce[:]) // never fails
	h.headLen, h.bodyLen = len(head)+TagSize, len(body)+TagSize
	a := b.aead(cacheKey)
	dst := h.append(make([]byte, 0, HeaderSize+h.headLen+h.bodyLen))
	dst = a.Seal(dst, h.nonce[:], head, dst[:HeaderSize])
	return a.Seal(dst, bodyNonce(h.nonce), body, dst[:HeaderSize])
}

// Open returns the head of a value, and its body if withBody says so; else the value may end behind
// the head. It fails if another secret, bucket, origin or key sealed it, or anything of it has changed.
func (b *Box) Open(cacheKey []byte, h *Header, value []byte, withBody bool) (head, body []byte, err error) {
	rest := value[HeaderSize:]
	if h.headLen < TagSize || h.headLen > len(rest) || withBody && h.headLen+h.bodyLen != len(rest) {
		return nil, nil, errValue
	}
	a := b.aead(cacheKey)
	if head, err = a.Open(nil, h.nonce[:], rest[:h.headLen], value[:HeaderSize]); err != nil {
		return nil, nil, fmt.Errorf("the head of a value was not sealed by a gateway with this secret: %w", err)
	}
	if withBody {
		if body, err = a.Open(nil, bodyNonce(h.nonce), rest[h.headLen:], value[:HeaderSize]); err != nil {
			return nil, nil, fmt.Errorf("the body of a value was not sealed by a gateway with this secret: %w", err)
		}
	}
	return head, body, nil
}
