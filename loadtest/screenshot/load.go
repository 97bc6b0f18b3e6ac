package main

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// targets are the requests of the load. One of weight 2 is sent twice as often as one of
// weight 1.
var targets = []struct {
	weight                  int
	method, path, byteRange string
}{
	{400, "GET", "/demo/crow.png", ""},
	{250, "GET", "/demo/hello.txt", ""},
	{120, "GET", "/demo/data/feathers.json", ""},
	{80, "GET", "/demo/page.html", ""},
	{40, "GET", "/demo/spaced%20name%20%C3%BC%20%E6%97%A5%E6%9C%AC.txt", ""},
	{30, "HEAD", "/demo/crow.png", ""},
	{24, "GET", "/demo/big-100MB.bin", "bytes=0-1048575"},
	{8, "GET", "/demo/big-100MB.bin", "bytes=50000000-58388607"},
	{10, "GET", "/private/hello.txt", ""},
	{6, "GET", "/demo/no-such-object", ""},
	{4, "GET", "/demo/%3Cimg%20src=x%20onerror=alert(1)%3E.png", ""},
	{3, "GET", "/nowhere", ""},
	{1, "GET", "/demo/big-100MB.bin", ""},
}

// load sends requests, at a rate that swells and falls, until ctx ends.
func load(ctx context.Context, base string) {
	all := 0
	for _, t := range targets {
		all += t.weight
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	began := time.Now()
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for ctx.Err() == nil {
				n := rand.IntN(all)
				for _, t := range targets {
					if n -= t.weight; n < 0 {
						send(ctx, client, t.method, base+t.path, t.byteRange)
						break
					}
				}
				pause := time.Duration((14 + 9*math.Sin(time.Since(began).Seconds()/5)) * float64(time.Millisecond))
				select {
				case <-time.After(pause):
				case <-ctx.Done():
				}
			}
		})
	}
	wg.Wait()
}

// send sends one request. Its outcome is seen on the page.
func send(ctx context.Context, client *http.Client, method, url, byteRange string) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		panic("BUG: no request: " + err.Error())
	}
	if byteRange != "" {
		r.Header.Set("Range", byteRange)
	}
	answer, err := client.Do(r)
	if err != nil {
		return
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
}
