package sign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

const secondsPerDay = 24 * 60 * 60

// dayKey is all that depends on the day alone. Immutable once published, so any
// number of requests may hold it past midnight.
type dayKey struct {
	day  int64  // days since 1970-01-01 UTC
	date []byte // the same as YYYYMMDD

	// scope is "YYYYMMDD/region/s3/aws4_request".
	scope []byte
	// authorization is the Authorization line up to the signed header names.
	authorization []byte

	// inner and outer are the derived key padded for the two halves of HMAC
	// (RFC 2104): crypto/hmac would allocate for each signature.
	inner, outer [sha256.BlockSize]byte
}

// dayKey returns the key for the UTC day of now, and the second within that day.
func (s *Signer) dayKey(now time.Time) (*dayKey, int) {
	unix := now.Unix()
	day, second := unix/secondsPerDay, unix%secondsPerDay
	if second < 0 {
		day, second = day-1, second+secondsPerDay
	}
	slot := &s.keys[day&1]
	k := slot.Load()
	if k == nil || k.day != day {
		// Two requests may both derive it: the results are equal.
		k = s.cred.dayKey(day)
		slot.Store(k)
	}
	return k, int(second)
}

// dayKey computes the signing key of a day.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func (o *Options) dayKey(day int64) *dayKey {
	k := &dayKey{day: day}
	k.date = time.Unix(day*secondsPerDay, 0).UTC().AppendFormat(nil, "20060102")
	k.scope = append(k.scope, k.date...)
	k.scope = append(k.scope, "/"+o.Region+"/s3/aws4_request"...)
	k.authorization = append(k.authorization, "Authorization: "+algorithm+" Credential="+o.AccessKey+"/"...)
	k.authorization = append(k.authorization, k.scope...)
	k.authorization = append(k.authorization, ", SignedHeaders="...)

	sum := hmacSum([]byte("AWS4"+o.SecretKey), k.date)
	sum = hmacSum(sum, []byte(o.Region))
	sum = hmacSum(sum, []byte("s3"))
	sum = hmacSum(sum, []byte("aws4_request"))
	copy(k.inner[:], sum)
	copy(k.outer[:], sum)
	for i := range k.inner {
		k.inner[i] ^= 0x36
		k.outer[i] ^= 0x5c
	}
	return k
}

func hmacSum(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}

// appendStamp appends the time as YYYYMMDDTHHMMSSZ.
func (k *dayKey) appendStamp(dst []byte, second int) []byte {
	dst = append(dst, k.date...)
	dst = append(dst, 'T')
	dst = appendTwoDigits(dst, second/3600)
	dst = appendTwoDigits(dst, second/60%60)
	dst = appendTwoDigits(dst, second%60)
	return append(dst, 'Z')
}

func appendTwoDigits(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}

// sign returns the HMAC of the string to sign. It overwrites sc.text.
func (k *dayKey) sign(sc *scratch, stamp []byte, digest *[sha256.Size]byte) [sha256.Size]byte {
	text := append(sc.text[:0], k.inner[:]...)
	text = append(text, algorithm+"\n"...)
	text = append(text, stamp...)
	text = append(text, '\n')
	text = append(text, k.scope...)
	text = append(text, '\n')
	text = hex.AppendEncode(text, digest[:])
	sc.text = text

	var outer [sha256.BlockSize + sha256.Size]byte
	inner := sha256.Sum256(text)
	copy(outer[:], k.outer[:])
	copy(outer[sha256.BlockSize:], inner[:])
	return sha256.Sum256(outer[:])
}
