package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
)

// scaleFigure is one figure of the second table.
type scaleFigure struct {
	What   string
	Figure float64
	Unit   string
	Bound  float64
	Least  bool   // Bound is a minimum, not a maximum
	Note   string `json:",omitempty"`
}

// Met tells whether the figure is within its bound.
func (s scaleFigure) Met() bool {
	if s.Least {
		return s.Figure >= s.Bound
	}
	return s.Figure <= s.Bound
}

// Verdict says the same in a word.
func (s scaleFigure) Verdict() string {
	if s.Met() {
		return "met"
	}
	return "missed"
}

// Limit returns the bound as the tables show it.
func (s scaleFigure) Limit() string {
	if s.Least {
		return ">= " + s.show(s.Bound)
	}
	return "<= " + s.show(s.Bound)
}

// Shown returns the figure as the tables show it.
func (s scaleFigure) Shown() string { return s.show(s.Figure) }

func (s scaleFigure) String() string {
	line := fmt.Sprintf("%s: %s (%s): %s", s.What, s.Shown(), s.Limit(), s.Verdict())
	if s.Note != "" {
		line += "; " + s.Note
	}
	return line
}

func (s scaleFigure) show(figure float64) string {
	return strings.TrimSpace(fmt.Sprintf("%.3g %s", figure, s.Unit))
}

// The sizes of the scale figures.
const (
	idleConnections = 10_000
	activeStreams   = 500
	activeClients   = idleConnections / 100
	manyBuckets     = 1000
	coldStarts      = 11
)

// scale measures the gateway alone, each time a fresh one.
func scale(ctx context.Context, f *field, progress func(string)) ([]scaleFigure, error) {
	var figures []scaleFigure
	for _, s := range []struct {
		what    string
		measure func(context.Context, *field) ([]scaleFigure, error)
	}{
		{"memory at start", scaleStart},
		{"cold start", scaleColdStart},
		{"idle connections", scaleIdle},
		{"active streams", scaleStreams},
		{"cores", scaleCores},
	} {
		progress(s.what)
		got, err := s.measure(ctx, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.what, err)
		}
		figures = append(figures, got...)
	}
	return figures, nil
}

// fresh starts another gateway on the processors cpus (empty: all) and waits until it
// answers; end stops it.
func (f *field) fresh(ctx context.Context, name, cpus string) (c *contender, end func(), err error) {
	s := f.settings
	s.LogLevel, s.LogFile, s.CPUs = "warn", "stderr", cpus
	if c, err = f.launchGateway(name, s); err != nil {
		return nil, nil, err
	}
	end = func() { c.Stop(5 * time.Second) }
	hits := contender{Process: c.Process, name: name, base: map[string]string{"hit": c.base["hit"]}}
	if err := hits.await(ctx); err != nil {
		end()
		return nil, nil, err
	}
	return c, end, nil
}

func scaleStart(ctx context.Context, f *field) ([]scaleFigure, error) {
	c, end, err := f.fresh(ctx, "start", "")
	if err != nil {
		return nil, err
	}
	defer end()
	rss, err := c.Memory()
	return []scaleFigure{{What: "resident memory at start, empty cache", Figure: float64(rss) / 1e6, Unit: "MB", Bound: 25}}, err
}

// scaleColdStart measures from the start of the process to the first answer with an
// object, with many buckets.
func scaleColdStart(ctx context.Context, f *field) ([]scaleFigure, error) {
	binary, err := process.Find("yatagarasu")
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString("logging: { level: \"warn\", output: \"stderr\" }\nbuckets:\n")
	for i := range manyBuckets {
		fmt.Fprintf(&b, "  - name: \"bucket-%d\"\n    path_prefix: \"/tenant-%d/files\"\n    s3: { bucket: \"objects\", region: \"us-east-1\", endpoint: \"http://%s\", access_key: \"key-%d\", secret_key: \"secret-of-bucket-%d\" }\n", i, i, f.settings.Origin, i, i)
	}
	file := filepath.Join(f.dir, "many.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	var took []float64
	for range coldStarts {
		at, err := port.Reserve()
		if err != nil {
			return nil, err
		}
		began := time.Now()
		p, err := process.Start(binary, []string{"-config", file, "-listen.address", port.Address(at)}, nil, io.Discard)
		if err != nil {
			return nil, err
		}
		first := contender{base: map[string]string{"hit": fmt.Sprintf("http://%s/tenant-%d/files", port.Address(at), manyBuckets/2)}}
		err = p.Await(ctx, time.Millisecond, func() error {
			_, err := first.fetch("hit", "1k")
			return err
		})
		took = append(took, float64(time.Since(began).Microseconds())/1e3)
		if stopped := p.Stop(5 * time.Second); err == nil {
			err = stopped
		}
		if err != nil {
			return nil, err
		}
	}
	s := spreadOf(took)
	return []scaleFigure{{What: fmt.Sprintf("cold start to the first object, %d buckets", manyBuckets), Figure: s.Median, Unit: "ms", Bound: 100,
		Note: fmt.Sprintf("median of %d, %.0f to %.0f", coldStarts, s.Least, s.Most)}}, nil
}

// keepOpen opens n connections that have made one request each and are now idle.
func keepOpen(address string, n int) (conns []net.Conn, err error) {
	defer func() {
		if err != nil {
			closeAll(conns)
			conns = nil
		}
	}()
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return conns, err
		}
		conns = append(conns, c)
		if _, err := io.WriteString(c, "GET /hit/1k HTTP/1.1\r\nHost: "+address+"\r\n\r\n"); err != nil {
			return conns, err
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return conns, err
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return conns, err
		}
		if r.StatusCode != http.StatusOK {
			return conns, fmt.Errorf("status %d", r.StatusCode)
		}
	}
	return conns, nil
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		c.Close()
	}
}

// scaleIdle measures the memory of idle connections, and how they slow down busy ones.
func scaleIdle(ctx context.Context, f *field) ([]scaleFigure, error) {
	c, end, err := f.fresh(ctx, "idle", "")
	if err != nil {
		return nil, err
	}
	defer end()
	l := load{url: c.url("hit", "1k"), connections: activeClients, seconds: 3}
	alone, err := c.measure(l, f.dir)
	if err != nil {
		return nil, err
	}
	before, err := c.Memory()
	if err != nil {
		return nil, err
	}
	address := strings.TrimSuffix(strings.TrimPrefix(c.base["hit"], "http://"), "/hit")
	conns, err := keepOpen(address, idleConnections-activeClients)
	if err != nil {
		return nil, err
	}
	defer closeAll(conns)
	after, err := c.Memory()
	if err != nil {
		return nil, err
	}
	// The same load again, now among idle connections.
	among, err := c.measure(l, f.dir)
	if err != nil {
		return nil, err
	}
	each := float64(after-before) / float64(len(conns))
	slower := float64(among.P99) / float64(alone.P99)
	return []scaleFigure{
		{What: fmt.Sprintf("memory of an idle keep-alive connection, %d of them", len(conns)), Figure: each / 1024, Unit: "KiB", Bound: 8},
		{What: fmt.Sprintf("p99 of %d busy connections among %d, over theirs alone", activeClients, idleConnections), Figure: slower, Bound: 2,
			Note: fmt.Sprintf("%s among them, %s alone", among.P99, alone.P99)},
	}, nil
}

// scaleStreams measures the memory of slow downloads of large objects.
func scaleStreams(ctx context.Context, f *field) ([]scaleFigure, error) {
	var figures []scaleFigure
	for _, s := range []struct{ path, what string }{
		{"/miss/100m", "plain HTTP origin"}, {"/secure/100m", "HTTPS origin"},
	} {
		c, end, err := f.fresh(ctx, "streams", "")
		if err != nil {
			return nil, err
		}
		defer end()
		address := strings.TrimSuffix(strings.TrimPrefix(c.base["hit"], "http://"), "/hit")
		before, err := c.Memory()
		if err != nil {
			return nil, err
		}
		reading, stop := context.WithTimeout(ctx, 8*time.Second)
		defer stop()
		errs := make(chan error, activeStreams)
		var wg sync.WaitGroup
		for range activeStreams {
			wg.Go(func() { // ends with reading
				if err := readSlowly(reading, address, s.path); err != nil {
					errs <- err
				}
			})
		}
		var most int64
		for reading.Err() == nil && err == nil {
			time.Sleep(100 * time.Millisecond)
			var now int64
			now, err = c.Memory()
			most = max(most, now)
		}
		wg.Wait()
		end()
		if len(errs) > 0 {
			err = errors.Join(err, fmt.Errorf("%d of %d streams failed, the first: %w", len(errs), activeStreams, <-errs))
		}
		if err != nil {
			return nil, err
		}
		figures = append(figures, scaleFigure{What: fmt.Sprintf("memory of an active 100 MB stream, %d of them, %s", activeStreams, s.what),
			Figure: float64(most-before) / activeStreams / 1024, Unit: "KiB", Bound: 160})
	}
	return figures, nil
}

// readSlowly downloads at 160 KB/s until ctx ends. An object that ends first is an error.
func readSlowly(ctx context.Context, address, path string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: "+address+"\r\n\r\n"); err != nil {
		return err
	}
	buf := make([]byte, 16<<10)
	for first := true; ; first = false {
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		if first && !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 200 ") {
			return fmt.Errorf("%.40q", buf[:n])
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}
