// Package browser shows pages in a headless Chromium, for pictures and tests.
package browser

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"yatagarasu/loadtest/process"
)

// ErrMissing says that there is no Chromium.
var ErrMissing = errors.New("there is no chromium in PATH; install it: apt-get install -y chromium")

// Browser is a headless Chromium with one page, spoken to over a pair of pipes in the DevTools
// protocol (https://chromedevtools.github.io/devtools-protocol/): messages of JSON,
// each ended by a zero byte.
type Browser struct {
	*process.Process
	profile  string // folder
	to, from *os.File
	in       *bufio.Reader
	id       int
	session  string // of the page

	// Mistakes are what the page complained of so far: exceptions, what its policy
	// blocked, what it could not load.
	Mistakes []string
}

// Start starts Chromium with an empty page. It answers until limit; Close ends it.
func Start(limit time.Time) (b *Browser, err error) {
	var binary string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if binary, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if err != nil {
		return nil, ErrMissing
	}
	b = new(Browser)
	if b.profile, err = os.MkdirTemp("", "yatagarasu-browser-"); err != nil {
		return nil, fmt.Errorf("cannot make a folder: %w", err)
	}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	theirs, to, err := os.Pipe()
	if err != nil {
		return b, err
	}
	defer theirs.Close()
	from, back, err := os.Pipe()
	if err != nil {
		to.Close()
		return b, err
	}
	defer back.Close()
	b.to, b.from, b.in = to, from, bufio.NewReader(from)
	for _, f := range []*os.File{to, from} {
		if err := f.SetDeadline(limit); err != nil {
			return b, err
		}
	}
	args := []string{
		"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + b.profile, "--hide-scrollbars", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--no-default-browser-check", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // it refuses to run as root otherwise
	}
	cmd := exec.Command(binary, append(args, "about:blank")...)
	cmd.ExtraFiles = []*os.File{theirs, back} // its descriptors 3 and 4
	if b.Process, err = process.StartCommand(cmd, nil); err != nil {
		return b, err
	}
	return b, b.open()
}

// open attaches to a page of its own.
func (b *Browser) open() error {
	var target struct{ TargetID string }
	if err := b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return err
	}
	var attached struct{ SessionID string }
	if err := b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		return err
	}
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		if err := b.call(domain+".enable", nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the browser and its children, and removes what it wrote.
func (b *Browser) Close() {
	if b.Process != nil {
		b.session = ""
		b.call("Browser.close", nil, nil) // it ends its children itself
		select {
		case <-b.Done():
		case <-time.After(5 * time.Second):
			b.KillGroup()
		}
	}
	for _, f := range []*os.File{b.to, b.from} {
		if f != nil {
			f.Close()
		}
	}
	os.RemoveAll(b.profile)
}

// message is what comes from the browser: an answer, or news.
type message struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// call sends a command, waits for its answer and decodes it into result, which may be
// nil.
func (b *Browser) call(method string, params, result any) error {
	b.id++
	command := map[string]any{"id": b.id, "method": method}
	if params != nil {
		command["params"] = params
	}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	text, err := json.Marshal(command)
	if err != nil {
		return err
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		return fmt.Errorf("cannot tell the browser %s: %w; it said: %s", method, err, b.Output())
	}
	for {
		text, err := b.in.ReadBytes(0)
		if err != nil {
			return fmt.Errorf("the browser does not answer %s: %w; it said: %s", method, err, b.Output())
		}
		var m message
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			return fmt.Errorf("the browser answers %s with no JSON: %w", method, err)
		}
		switch {
		case m.ID != b.id:
			b.heed(&m)
		case m.Error != nil:
			return fmt.Errorf("the browser refuses %s: %s", method, m.Error.Message)
		case result != nil:
			return json.Unmarshal(m.Result, result)
		default:
			return nil
		}
	}
}

// heed notes what the page complains of.
func (b *Browser) heed(m *message) {
	bad := m.Method == "Runtime.exceptionThrown"
	switch m.Method {
	case "Log.entryAdded", "Runtime.consoleAPICalled":
		var news struct {
			Type  string
			Entry struct{ Level string }
		}
		bad = json.Unmarshal(m.Params, &news) == nil && (news.Type == "error" || news.Type == "warning" || news.Entry.Level == "error" || news.Entry.Level == "warning")
	}
	if bad {
		b.Mistakes = append(b.Mistakes, string(m.Params))
	}
}

// Evaluate has the page calculate a JavaScript expression.
func (b *Browser) Evaluate(expression string, result any) error {
	var reply struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	if err := b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &reply); err != nil {
		return err
	}
	if reply.ExceptionDetails != nil {
		return fmt.Errorf("the page cannot calculate %s: %s", expression, reply.ExceptionDetails)
	}
	return json.Unmarshal(reply.Result.Value, result)
}

// Await waits until a JavaScript expression is true.
func (b *Browser) Await(expression string, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		var ok bool
		if err := b.Evaluate(expression, &ok); err != nil || ok {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the page is not ready within %s: %s; it complains of: %s", limit, expression, strings.Join(b.Mistakes, "\n"))
		}
	}
}

// Window describes how a page is looked at.
type Window struct {
	Width  int
	Scale  float64 // pixels of a picture for one of the page
	Scheme string  // light or dark
}

// Open shows a page and waits until it is loaded.
func (b *Browser) Open(url string, w Window) error {
	for _, c := range []struct {
		method string
		params map[string]any
	}{
		{"Emulation.setDeviceMetricsOverride", map[string]any{"width": w.Width, "height": 800, "deviceScaleFactor": w.Scale, "mobile": w.Width < 600}},
		{"Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": w.Scheme}}}},
		{"Page.navigate", map[string]any{"url": url}},
	} {
		if err := b.call(c.method, c.params, nil); err != nil {
			return err
		}
	}
	return b.Await("document.readyState === 'complete' && location.href !== 'about:blank'", 15*time.Second)
}

// Picture returns a PNG of the whole page.
func (b *Browser) Picture() ([]byte, error) {
	var layout struct {
		CSSContentSize struct{ Width, Height float64 }
	}
	if err := b.call("Page.getLayoutMetrics", nil, &layout); err != nil {
		return nil, err
	}
	size := layout.CSSContentSize
	var shot struct{ Data string }
	clip := map[string]any{"x": 0, "y": 0, "width": size.Width, "height": size.Height, "scale": 1}
	if err := b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true, "clip": clip}, &shot); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(shot.Data)
}
