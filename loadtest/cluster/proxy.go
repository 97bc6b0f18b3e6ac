package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
)

// faultProxy stands between gateways and Valkey. Its faults are set over its API
// (https://github.com/Shopify/toxiproxy).
type faultProxy struct {
	*process.Process
	api string
}

func startFaultProxy(ctx context.Context) (f *faultProxy, err error) {
	path, err := process.Find("toxiproxy")
	if err != nil {
		return nil, err
	}
	err = port.Try(0, func(at int) error {
		p, err := process.Start(path, []string{"-host", "127.0.0.1", "-port", strconv.Itoa(at)}, nil, nil)
		if err != nil {
			return err
		}
		f = &faultProxy{p, "http://" + port.Address(at)}
		if err := p.Await(ctx, 10*time.Millisecond, func() error { return f.call(ctx, http.MethodGet, "/version", nil) }); err != nil {
			p.Kill()
			return err
		}
		return nil
	})
	return f, err
}

func (f *faultProxy) call(ctx context.Context, method, path string, document any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, f.api+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("cannot reach the fault proxy: %w", err)
	}
	defer a.Body.Close()
	if text, _ := io.ReadAll(a.Body); a.StatusCode >= 300 {
		return fmt.Errorf("the fault proxy refuses %s %s: %s, %s", method, path, a.Status, text)
	}
	return nil
}

// link is one proxy.
type link struct {
	f             *faultProxy
	name, address string
}

// add makes a proxy to upstream.
func (f *faultProxy) add(ctx context.Context, name, upstream string) (*link, error) {
	at, err := port.Reserve()
	if err != nil {
		return nil, err
	}
	l := &link{f, name, port.Address(at)}
	return l, f.call(ctx, http.MethodPost, "/proxies", map[string]any{"name": name, "listen": l.address, "upstream": upstream, "enabled": true})
}

// cut closes the connections and refuses others.
func (l *link) cut(ctx context.Context) error {
	return l.f.call(ctx, http.MethodPost, "/proxies/"+l.name, map[string]any{"enabled": false})
}

// mend takes connections again, to upstream; empty: to the same as before.
func (l *link) mend(ctx context.Context, upstream string) error {
	settings := map[string]any{"enabled": true}
	if upstream != "" {
		settings["upstream"] = upstream
	}
	return l.f.call(ctx, http.MethodPost, "/proxies/"+l.name, settings)
}

// swallow keeps connections and lets nothing through, in both directions.
func (l *link) swallow(ctx context.Context) error {
	for _, stream := range directions {
		if err := l.f.call(ctx, http.MethodPost, "/proxies/"+l.name+"/toxics", map[string]any{"name": stream, "type": "timeout", "stream": stream, "attributes": map[string]any{"timeout": 0}}); err != nil {
			return err
		}
	}
	return nil
}

// spit ends swallow. What was swallowed is lost, so the connections go first.
func (l *link) spit(ctx context.Context) error {
	if err := l.cut(ctx); err != nil {
		return err
	}
	for _, stream := range directions {
		if err := l.f.call(ctx, http.MethodDelete, "/proxies/"+l.name+"/toxics/"+stream, nil); err != nil {
			return err
		}
	}
	return l.mend(ctx, "")
}

var directions = []string{"upstream", "downstream"}
