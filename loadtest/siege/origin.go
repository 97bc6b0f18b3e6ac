package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// origin speaks enough S3 for the gateway, and does to some keys what broken disks, broken
// servers and hostile uploaders do:
//
//	o/*      1 KiB
//	m/*      100 KiB
//	big/*    8 MiB
//	bad/type a Content-Type with a control byte
//	bad/rot  8 MiB, of which the last seven are never read
//	bad/code an error that the server takes for its own
//	late/*   1 KiB; after HEAD and 304 comes, a little later, a response of the uploader's
//
// It takes empty segments of a path for none, as versitygw does.
type origin struct {
	address string
	ln      net.Listener

	mu    sync.Mutex // guards the following fields
	conns map[net.Conn]struct{}
	ended bool
	wg    sync.WaitGroup // of serve
}

// answersAfter is how long the origin thinks about each request, as a near S3 does.
const answersAfter = 3 * time.Millisecond

func startOrigin() (*origin, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	for i := range 8 {
		bodyOf(fmt.Sprint("big/", i)) // which takes a while
	}
	o := &origin{address: ln.Addr().String(), ln: ln, conns: make(map[net.Conn]struct{})}
	o.wg.Go(func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			if o.ended {
				c.Close()
			} else {
				o.conns[c] = struct{}{}
				o.wg.Go(func() { o.serve(c) }) // ends with the connection
			}
			o.mu.Unlock()
		}
	})
	return o, nil
}

// stop closes the listener and all connections.
func (o *origin) stop() {
	o.ln.Close()
	o.mu.Lock()
	o.ended = true
	for c := range o.conns {
		c.Close()
	}
	o.mu.Unlock()
	o.wg.Wait()
}

func (o *origin) serve(c net.Conn) {
	defer func() {
		c.Close()
		o.mu.Lock()
		delete(o.conns, c)
		o.mu.Unlock()
	}()
	r := bufio.NewReader(c)
	for {
		q, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		time.Sleep(answersAfter)
		if !answer(c, q) {
			return
		}
	}
}

// answer answers q, and tells whether the connection is good for another request.
func answer(c net.Conn, q *http.Request) bool {
	var segments []string
	for segment := range strings.SplitSeq(q.URL.Path, "/") {
		if segment != "" {
			segments = append(segments, segment)
		}
	}
	if len(segments) < 2 { // a probe
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: "+time.Now().UTC().Format(http.TimeFormat)+"\r\n\r\n")
		return true
	}
	key := strings.Join(segments[1:], "/")
	size := sizeOf(key)
	if size < 0 {
		return respond(c, q, "404 Not Found", "application/xml", "<Error><Code>NoSuchKey</Code></Error>")
	}
	etag := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(key)))[:33] + `"`
	head := "Date: " + time.Now().UTC().Format(http.TimeFormat) + "\r\nLast-Modified: Mon, 05 Jan 2026 10:00:00 GMT\r\nETag: " + etag + "\r\nAccept-Ranges: bytes\r\n"
	late := strings.HasPrefix(key, "late/")
	if q.Header.Get("If-None-Match") == etag {
		fmt.Fprint(c, "HTTP/1.1 304 Not Modified\r\n"+head+"\r\n")
		return !late || sendLate(c)
	}
	status, from := "200 OK", 0
	if text, ok := strings.CutPrefix(q.Header.Get("Range"), "bytes="); ok {
		first, _, _ := strings.Cut(text, "-")
		if n, err := strconv.Atoi(first); err == nil && n < size {
			status, from = "206 Partial Content", n
			head += fmt.Sprintf("Content-Range: bytes %d-%d/%d\r\n", from, size-1, size)
		}
	}
	contentType := "application/octet-stream"
	switch key {
	case "bad/type":
		contentType = "text/plain\x01"
	case "bad/code":
		return respond(c, q, "500 Internal Server Error", "application/xml", "<Error><Code>InternalError</Code></Error>")
	}
	head += fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d\r\n", contentType, size-from)
	if _, err := fmt.Fprint(c, "HTTP/1.1 "+status+"\r\n"+head+"\r\n"); err != nil {
		return false
	}
	if q.Method == http.MethodHead {
		return !late || sendLate(c)
	}
	if key == "bad/rot" {
		c.Write(bodyOf(key)[:1<<20])
		return false
	}
	_, err := c.Write(bodyOf(key)[from:])
	return err == nil
}

func respond(c net.Conn, q *http.Request, status, contentType, body string) bool {
	head := fmt.Sprintf("HTTP/1.1 %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", status, time.Now().UTC().Format(http.TimeFormat), contentType, len(body))
	if q.Method == http.MethodHead {
		body = ""
	}
	_, err := fmt.Fprint(c, head+body)
	return err == nil
}

// sendLate sends, a little later, the response that an uploader wants others to get.
func sendLate(c net.Conn) bool {
	time.Sleep(2 * time.Millisecond)
	_, err := fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\npoison")
	return err == nil
}

// sizeOf returns the size of an object; -1: there is none.
func sizeOf(key string) int {
	switch kind, _, _ := strings.Cut(key, "/"); kind {
	case "o", "late":
		return 1 << 10
	case "m":
		return 100 << 10
	case "big", "bad":
		return 8 << 20
	}
	return -1
}

var pieces sync.Map // of []byte, 8 MiB at most, by key: what is asked for again and again

// bodyOf returns the bytes of an object, which nobody may change.
func bodyOf(key string) []byte {
	if body, ok := pieces.Load(key); ok {
		return body.([]byte)
	}
	body := make([]byte, sizeOf(key))
	piece := sha256.Sum256([]byte(key))
	for n := copy(body, piece[:]); n < len(body); n *= 2 {
		copy(body[n:], body[:n])
	}
	if len(body) > 10<<10 {
		pieces.Store(key, body)
	}
	return body
}
