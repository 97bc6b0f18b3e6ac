package cluster

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

// Item is an object that gateways share.
type Item struct {
	Status     int
	Head, Body []byte
	Freshness  cache.Freshness
}

// A value at Valkey is a header, then the sealed head, then the sealed body. The header is part of
// what both are sealed with.
const (
	valueVersion = 1
	headerSize   = 1 + 16 + 8 + 5*8 + 1 + 8 + 8 + 2 + 4 + 4 + nonceSize
	nonceSize    = 12 // of AES-GCM (NIST SP 800-38D, 5.2.1.1)
	tagSize      = 16
)

// header is what stands in clear before a value: sizes and times.
type header struct {
	log              [16]byte // hash of the incarnation
	position         uint64
	sinceSent        time.Duration // at storing
	f                cache.Freshness
	px               time.Duration // for which it is stored
	storedAt         int64         // Unix milliseconds
	status           int
	headLen, bodyLen int // sealed
	nonce            [nonceSize]byte
}

// hashLog returns the name of a log as values have it.
func hashLog(incarnation string) (h [16]byte) {
	sum := sha256.Sum256([]byte(incarnation))
	copy(h[:], sum[:])
	return h
}

func (h *header) append(dst []byte) []byte {
	be := binary.BigEndian
	dst = append(append(dst, valueVersion), h.log[:]...)
	dst = be.AppendUint64(dst, h.position)
	for _, d := range []time.Duration{h.sinceSent, h.f.Received, h.f.Lifetime, h.f.StaleWhileRevalidate, h.f.StaleIfError} {
		dst = be.AppendUint64(dst, uint64(d))
	}
	never := byte(0)
	if h.f.NeverStale {
		never = 1
	}
	dst = be.AppendUint64(append(dst, never), uint64(h.px))
	dst = be.AppendUint64(dst, uint64(h.storedAt))
	dst = be.AppendUint16(dst, uint16(h.status))
	dst = be.AppendUint32(dst, uint32(h.headLen))
	dst = be.AppendUint32(dst, uint32(h.bodyLen))
	return append(dst, h.nonce[:]...)
}

// errValue is the error of a value that no gateway of this version has stored.
var errValue = errors.New("the value is not one of this version")

// readHeader reads the header of a value.
func readHeader(b []byte) (h header, err error) {
	if len(b) < headerSize || b[0] != valueVersion {
		return h, errValue
	}
	be := binary.BigEndian
	b = b[1:]
	copy(h.log[:], b)
	h.position = be.Uint64(b[16:])
	b = b[24:]
	for i, d := range []*time.Duration{&h.sinceSent, &h.f.Received, &h.f.Lifetime, &h.f.StaleWhileRevalidate, &h.f.StaleIfError} {
		if *d = time.Duration(be.Uint64(b[8*i:])); *d < 0 || *d > cache.MaxSeconds*time.Second {
			return h, errValue
		}
	}
	b = b[5*8:]
	h.f.NeverStale = b[0] != 0
	h.px, h.storedAt = time.Duration(be.Uint64(b[1:])), int64(be.Uint64(b[9:]))
	h.status = int(be.Uint16(b[17:]))
	h.headLen, h.bodyLen = int(be.Uint32(b[19:])), int(be.Uint32(b[23:]))
	copy(h.nonce[:], b[27:])
	return h, nil
}

// box seals the objects of one bucket.
type box struct {
	keys, bucket []byte // keys of HMACs: of names of keys, and of those that objects are sealed with
}

// newBox returns the box of a bucket at an origin. What another bucket has stored cannot be opened by
// it, nor found.
func newBox(secret, namespace, bucket string, origin []byte) *box {
	return &box{
		keys:   derive([]byte(secret), "names", []byte(namespace)),
		bucket: derive([]byte(secret), "bucket", []byte(namespace), []byte(bucket), origin),
	}
}

// derive returns HMAC-SHA256 (RFC 2104) of parts, for one use.
func derive(key []byte, use string, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(cache.AppendKey(nil, []byte("yatagarasu store"), []byte(use)))
	h.Write(cache.AppendKey(nil, parts...))
	return h.Sum(nil)
}

// name returns the name of an object at Valkey, from which nobody else can tell what it is.
func (b *box) name(cacheKey []byte) string {
	return hex.EncodeToString(derive(b.keys, "name", cacheKey)[:16])
}

func (b *box) aead(cacheKey []byte) cipher.AEAD {
	block, err := aes.NewCipher(derive(b.bucket, "object", cacheKey))
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

// seal returns the value of an object. The header's sizes and nonce are set by it.
func (b *box) seal(cacheKey []byte, h *header, head, body []byte) []byte {
	rand.Read(h.nonce[:]) // never fails
	h.headLen, h.bodyLen = len(head)+tagSize, len(body)+tagSize
	a := b.aead(cacheKey)
	dst := h.append(make([]byte, 0, headerSize+h.headLen+h.bodyLen))
	dst = a.Seal(dst, h.nonce[:], head, dst[:headerSize])
	return a.Seal(dst, bodyNonce(h.nonce), body, dst[:headerSize])
}

// open returns the head of a value, and its body if withBody says so; else the value may end behind
// the head.
func (b *box) open(cacheKey []byte, h *header, value []byte, withBody bool) (head, body []byte, err error) {
	rest := value[headerSize:]
	if h.headLen < tagSize || h.headLen > len(rest) || withBody && h.headLen+h.bodyLen != len(rest) {
		return nil, nil, errValue
	}
	a := b.aead(cacheKey)
	if head, err = a.Open(nil, h.nonce[:], rest[:h.headLen], value[:headerSize]); err != nil {
		return nil, nil, fmt.Errorf("the head of a value was not sealed by a gateway with this secret: %w", err)
	}
	if withBody {
		if body, err = a.Open(nil, bodyNonce(h.nonce), rest[h.headLen:], value[:headerSize]); err != nil {
			return nil, nil, fmt.Errorf("the body of a value was not sealed by a gateway with this secret: %w", err)
		}
	}
	return head, body, nil
}
