package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// sizes are the objects of the origin, by the last segment of their path.
var sizes = map[string]int{"1k": 1 << 10, "10k": 10 << 10, "100k": 100 << 10, "1m": 1 << 20, "100m": 100 << 20, styles: 100 << 10}

// styles is the object that compresses.
const styles = "styles"

// objectBody returns the bytes of an object: the same in every process, and, but for styles,
// nothing that compresses.
func objectBody(name string) []byte {
	body, source := make([]byte, sizes[name]), rand.NewChaCha8([32]byte([]byte("the bytes of comparison objects.")))
	source.Read(body)
	if name != styles {
		return body
	}
	properties := [...]string{"margin", "padding", "border-radius", "line-height", "width", "gap", "font-size", "letter-spacing"}
	text := body[:0]
	for r := rand.New(source); len(text) < sizes[name]; {
		text = fmt.Appendf(text, ".c-%x { %s: %d.%drem; color: #%06x }\n", r.IntN(4096), properties[r.IntN(len(properties))], r.IntN(12), r.IntN(10), r.IntN(1<<24))
	}
	return text[:sizes[name]]
}

// serveOrigin serves the objects from memory with the head that S3 gives them,
// without looking at signatures, on a plain listener and on one with TLS.
func serveOrigin(plain, secure, certificate, key string) error {
	bodies := map[string][]byte{}
	for name := range sizes {
		bodies[name] = objectBody(name)
	}
	modified := []byte("Mon, 05 Jan 2026 10:00:00 GMT")
	handler := func(ctx *fasthttp.RequestCtx) {
		path := ctx.Request.URI().PathOriginal()
		if ctx.IsPost() { // about a token, see gateway.yaml
			ctx.SetContentType("application/json")
			fmt.Fprintf(ctx, `{"active":true,"sub":"alice","role":"reader","level":3,"exp":%d}`, time.Now().Add(24*time.Hour).Unix())
			return
		}
		name := path[bytes.LastIndexByte(path, '/')+1:]
		h := &ctx.Response.Header
		body, found := bodies[string(name)]
		if !found {
			ctx.SetStatusCode(fasthttp.StatusNotFound)
			h.SetContentType("application/xml")
			ctx.SetBodyString("<Error><Code>NoSuchKey</Code></Error>")
			return
		}
		h.Set("X-Amz-Id-2", "Uuag1LuByRx9e6j5Onimru9pO4ZVKnJ2Qz7/C1NPcfTWAtRPfTaOFg==")
		h.Set("X-Amz-Request-Id", "656C76696E6727732")
		h.Set("Last-Modified", string(modified))
		h.Set("Etag", `"`+strings.Repeat("5d41402abc4b2a76", 2)+string(name)+`"`)
		h.Set("X-Amz-Server-Side-Encryption", "AES256")
		h.Set("Cache-Control", "public, max-age=86400") // what HAProxy and Varnish go by
		h.Set("Accept-Ranges", "bytes")
		h.SetContentType("application/octet-stream")
		if string(name) == styles {
			h.SetContentType("text/css")
		}
		ctx.Response.SetBodyRaw(body)
	}
	server := &fasthttp.Server{Handler: handler, Name: "AmazonS3"}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", plain)
	if err != nil {
		return err
	}
	lnTLS, err := net.Listen("tcp", secure)
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- server.Serve(ln) }() // both end with the process
	go func() {
		ended <- server.Serve(tls.NewListener(lnTLS, &tls.Config{Certificates: []tls.Certificate{pair}}))
	}()
	return <-ended
}

// recording is a response of the gateway that the floor repeats.
type recording struct {
	Header [][2]string
	Object string
}

// record asks for url and keeps the head as it came.
func record(url, object string) (recording, error) {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.SetRequestURI(url)
	if err := fasthttp.DoTimeout(request, response, 10*time.Second); err != nil {
		return recording{}, err
	}
	if response.StatusCode() != fasthttp.StatusOK {
		return recording{}, fmt.Errorf("%s: status %d", url, response.StatusCode())
	}
	r := recording{Object: object}
	for name, value := range response.Header.All() {
		switch string(name) {
		case fasthttp.HeaderDate, fasthttp.HeaderContentLength: // fasthttp writes both
		default:
			r.Header = append(r.Header, [2]string{string(name), string(value)})
		}
	}
	return r, nil
}

// serveFloor serves recorded responses from memory, by the last segment of the
// path: the least that a program on fasthttp can do, with the gateway's timeouts
// and buffers.
func serveFloor(address, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var recordings []recording
	if err := json.Unmarshal(b, &recordings); err != nil {
		return err
	}
	if len(recordings) == 0 {
		return errors.New("nothing is recorded")
	}
	type line struct{ name, value []byte }
	type answer struct {
		contentType []byte
		lines       []line
		body        []byte
	}
	answers := map[string]*answer{}
	for _, r := range recordings {
		a := &answer{body: objectBody(r.Object)}
		for _, h := range r.Header {
			if h[0] == fasthttp.HeaderContentType {
				a.contentType = []byte(h[1])
				continue
			}
			a.lines = append(a.lines, line{[]byte(h[0]), []byte(h[1])})
		}
		answers[r.Object] = a
	}
	server := &fasthttp.Server{
		Handler: func(ctx *fasthttp.RequestCtx) {
			path := ctx.Request.Header.RequestURI()
			a := answers[string(path[bytes.LastIndexByte(path, '/')+1:])]
			if a == nil {
				ctx.SetStatusCode(fasthttp.StatusNotFound)
				return
			}
			h := &ctx.Response.Header
			h.SetContentTypeBytes(a.contentType)
			for i := range a.lines {
				h.SetCanonical(a.lines[i].name, a.lines[i].value)
			}
			ctx.Response.SetBodyRaw(a.body)
		},
		Concurrency:                  1 << 30,
		ReadBufferSize:               16 << 10,
		WriteBufferSize:              4 << 10,
		ReadTimeout:                  10 * time.Second,
		IdleTimeout:                  60 * time.Second,
		WriteTimeout:                 94 * time.Second,
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
	}
	return server.ListenAndServe(address)
}
