package main

import (
	"context"
	"fmt"

	"yatagarasu/loadtest/s3server"
)

const (
	kb = 1000
	mb = 1000 * kb

	numbered = 1000 // objects o/0 to o/999
)

// sizeOf returns the size of object o/i, as loadtest/k6/lib.js does.
func sizeOf(i int) int {
	switch k := i % 20; {
	case k == 19:
		return mb
	case k >= 15:
		return 100 * kb
	case k >= 9:
		return 10 * kb
	default:
		return kb
	}
}

// content returns size bytes of object number: each 16 of them are a line with the
// number and the line's offset, so that a part tells where it is from.
func content(number, size int) string {
	const digits = "0123456789abcdef"
	b := make([]byte, (size+15)/16*16)
	hex := func(at, n int) {
		for i := at + 6; i >= at; i-- {
			b[i] = digits[n&15]
			n >>= 4
		}
	}
	for at := 0; at < len(b); at += 16 {
		hex(at, number)
		b[at+7] = ':'
		hex(at+8, at)
		b[at+15] = '\n'
	}
	return string(b[:size])
}

// seed stores the objects that the scripts ask for.
func seed(ctx context.Context, s3 *s3server.Server) error {
	objects := make([]s3server.Object, 0, numbered+5)
	for name, size := range map[string]int{"1k": kb, "10k": 10 * kb, "100k": 100 * kb, "1m": mb, "100m": 100 * mb} {
		objects = append(objects, s3server.Object{Key: name, Body: content(0, size)})
	}
	for i := range numbered {
		objects = append(objects, s3server.Object{Key: fmt.Sprintf("o/%d", i), Body: content(i, sizeOf(i))})
	}
	return s3.Seed(ctx, bucket, objects...)
}
