package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"mime"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/minio/minio-go/v7"

	"yatagarasu/loadtest/s3server"
)

// sample is an object that the demo prints a request for.
type sample struct {
	key   string
	size  int64
	sum   string // SHA-256 in hexadecimal
	start []byte // the first bytes
}

// path returns the request path of the sample at the gateway.
func (s sample) path() string {
	parts := strings.Split(s.key, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return "/demo/" + strings.Join(parts, "/")
}

const (
	bigKey  = "big-100MB.bin"
	pageKey = "page.html"
	page    = "<!doctype html>\n<title>Yatagarasu</title>\n<h1>Three legs, one sun</h1>\n"
)

// seed stores the demo objects that are not there yet and returns them. dir is
// where the server keeps the bucket's files.
func seed(ctx context.Context, s3 *s3server.Server, dir string) ([]sample, error) {
	c, err := s3.Client()
	if err != nil {
		return nil, err
	}
	objects := []struct {
		key      string
		size     int64
		body     func() io.Reader
		encoding string
	}{
		{"hello.txt", 0, text("Three legs, one sun, many buckets.\n"), ""},
		{"crow.png", 0, func() io.Reader { return bytes.NewReader(crow()) }, ""},
		{"data/feathers.json", 0, text(`{"name":"yatagarasu","legs":3,"feathers":["black","blacker"]}` + "\n"), ""},
		{"spaced name ü 日本.txt", 0, text("A key with spaces and non-ASCII characters.\n"), ""},
		{bigKey, 100 << 20, func() io.Reader {
			return io.LimitReader(rand.NewChaCha8([32]byte{'y', 'a', 't', 'a'}), 100<<20)
		}, ""},
		{pageKey, 0, zipped(page), "gzip"},
	}
	var samples []sample
	for _, o := range objects {
		size := o.size
		if size == 0 {
			n, err := io.Copy(io.Discard, o.body())
			if err != nil {
				return nil, err
			}
			size = n
		}
		if info, err := c.StatObject(ctx, bucket, o.key, minio.StatObjectOptions{}); err != nil || info.Size != size {
			fmt.Printf("storing %s (%d bytes)\n", o.key, size)
			kind := mime.TypeByExtension(filepath.Ext(o.key))
			if kind == "" {
				kind = "application/octet-stream"
			}
			_, err := c.PutObject(ctx, bucket, o.key, o.body(), size, minio.PutObjectOptions{ContentType: kind, ContentEncoding: o.encoding, DisableMultipart: true, DisableContentSha256: true})
			if err != nil {
				return nil, fmt.Errorf("cannot store %s: %w", o.key, err)
			}
		}
		if o.key == pageKey {
			continue // see cacheRequests
		}
		s, err := sampleOf(ctx, dir, o.key)
		if err != nil {
			return nil, err
		}
		samples = append(samples, s)
	}
	return samples, nil
}

// cacheRequests returns the same request twice: the second answer comes from memory.
func cacheRequests() []request {
	twice := request{method: "GET", path: "/demo/" + pageKey, note: "a compressed page, readable: X-Cache: MISS", status: 200, holds: page, cache: "MISS", compressed: true}
	again := twice
	again.note, again.cache = "the same from memory: X-Cache: HIT, with an Age", "HIT"
	return []request{twice, again}
}

func zipped(s string) func() io.Reader {
	return func() io.Reader {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		io.WriteString(w, s)
		w.Close()
		return &b
	}
}

func text(s string) func() io.Reader {
	return func() io.Reader { return strings.NewReader(s) }
}

// samplesOf returns up to five of the files below dir.
func samplesOf(ctx context.Context, dir string) ([]sample, error) {
	var samples []sample
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case len(samples) == 5:
			return fs.SkipAll
		case strings.HasPrefix(d.Name(), ".") && path != dir && d.IsDir():
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		key, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if key = filepath.ToSlash(key); !isKey(key) {
			return nil
		}
		s, err := sampleOf(ctx, dir, key)
		if err == nil {
			samples = append(samples, s)
		}
		return err
	})
	if err == nil && len(samples) == 0 {
		err = fmt.Errorf("%s holds no file to serve", dir)
	}
	return samples, err
}

// isKey reports whether the gateway accepts a file's name as a key.
func isKey(name string) bool {
	return len(name) <= 1024 && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// sampleOf reads the size and sum of a file below dir.
func sampleOf(ctx context.Context, dir, key string) (sample, error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(key)))
	if err != nil {
		return sample{}, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 1<<30 {
		fmt.Printf("reading %s (%d bytes)\n", key, info.Size())
	}
	start := make([]byte, 5)
	n, err := io.ReadFull(f, start)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return sample{}, err
	}
	h := sha256.New()
	h.Write(start[:n])
	size, err := io.Copy(h, reader{ctx, f})
	return sample{key: key, size: size + int64(n), sum: hex.EncodeToString(h.Sum(nil)), start: start[:n]}, err
}

// reader reads until ctx ends, so that Ctrl-C ends the reading of a large file.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// crow draws a sun with the shape of a bird in it.
func crow() []byte {
	const n = 256
	m := image.NewRGBA(image.Rect(0, 0, n, n))
	for y := range n {
		for x := range n {
			dx, dy := float64(x-n/2)/(n/2), float64(y-n/2)/(n/2)
			c := color.RGBA{uint8(20 + 30*dy), 24, 60, 255}
			if r := math.Hypot(dx, dy); r < 0.8 {
				c = color.RGBA{255, uint8(180 - 120*r), 40, 255}
			}
			wing := dy > -0.15-0.5*math.Abs(dx) && dy < 0.2-0.9*math.Abs(dx)*math.Abs(dx) && math.Abs(dx) < 0.7
			leg := dy > 0 && dy < 0.6 && (math.Abs(dx) < 0.02 || math.Abs(math.Abs(dx)-dy/3) < 0.02)
			head := math.Hypot(dx, dy+0.3) < 0.12
			if wing || leg || head {
				c = color.RGBA{10, 10, 14, 255}
			}
			m.SetRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic("BUG: a picture in memory cannot be encoded: " + err.Error())
	}
	return b.Bytes()
}
