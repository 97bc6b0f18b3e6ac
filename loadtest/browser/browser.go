// Package browser shows pages in a headless Chromium, for pictures and tests.
package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Browser is a Chromium with one page. Start makes one; call Close once.
type Browser struct {
	// Page is the page's context, for the actions of chromedp.
	Page context.Context

	end context.CancelFunc

	mu         sync.Mutex // guards complaints
	complaints []string
}

// Start starts Chromium with an empty page. Close ends it, and so does the end of ctx.
// Where there is no Chromium, the error is exec.ErrNotFound.
func Start(ctx context.Context) (*Browser, error) {
	b := new(Browser)
	b.Page, b.end = chromedp.NewContext(ctx, chromedp.WithListener(b.listen),
		chromedp.WithAllocatorOptions(chromedp.DisableGPU, chromedp.Flag("disable-component-update", true)))
	if err := chromedp.Do(b.Page); err != nil { // it starts the browser
		b.end()
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("there is no chromium in PATH; install it: apt-get install -y chromium (%w)", err)
		}
		return nil, fmt.Errorf("cannot start chromium: %w", err)
	}
	return b, nil
}

// Close ends the browser and its children, and removes what they wrote.
func (b *Browser) Close() {
	ctx, cancel := context.WithTimeout(b.Page, 5*time.Second)
	defer cancel()
	chromedp.Cancel(ctx) // asks it to end, which ends its children in order
	b.end()
}

// listen notes what the page complains of.
func (b *Browser) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError && e.Type != runtime.ConsoleAPICalledTypeWarning {
			return
		}
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelError && e.Entry.Level != log.EntryLevelWarning {
			return
		}
	default:
		return
	}
	text, err := json.Marshal(event)
	if err != nil {
		text = fmt.Appendf(nil, "%T: %v", event, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, string(text))
}

// Complaints returns what the page has complained of since the last call: exceptions,
// errors and warnings on its console, what its policy blocked, what it could not load.
// Once an action has returned, the complaints that came before its answer are here.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.complaints
	b.complaints = nil
	return all
}

// Await waits until a JavaScript expression is true. It asks again and again from
// outside: chromedp.Poll compiles the expression in the page, whose policy may forbid
// that.
func (b *Browser) Await(expression string, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		if ok, err := chromedp.Run(b.Page, chromedp.Evaluate[bool](expression)); err != nil || ok {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the page is not ready within %s: %s; it complains of: %s", limit, expression, strings.Join(b.Complaints(), "\n"))
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
	viewport := []chromedp.EmulateViewportOption{chromedp.EmulateScale(w.Scale)}
	if w.Width < 600 {
		viewport = append(viewport, chromedp.EmulateMobile)
	}
	scheme := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: w.Scheme}}}
	if _, err := chromedp.Call(b.Page, emulation.SetEmulatedMedia, scheme); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(b.Page, 15*time.Second)
	defer cancel()
	return chromedp.Do(ctx, chromedp.EmulateViewport(int64(w.Width), 800, viewport...), chromedp.Navigate(url))
}

// Picture takes a picture of the upper end of the page, of at most that height, in WebP or, for
// pages to be looked at with any program, in PNG.
func (b *Browser) Picture(w Window, height float64, format page.CaptureScreenshotFormat) ([]byte, error) {
	whole, err := chromedp.Run(b.Page, chromedp.Evaluate[float64]("document.documentElement.scrollHeight"))
	if err != nil {
		return nil, err
	}
	beyond, clip := true, page.Viewport{Width: float64(w.Width), Height: min(height, whole), Scale: 1}
	params := page.CaptureScreenshotParams{Format: format, Clip: &clip, CaptureBeyondViewport: &beyond}
	if format == page.CaptureScreenshotFormatWebp {
		quality := int64(80)
		params.Quality = &quality
	}
	result, err := chromedp.Call(b.Page, page.CaptureScreenshot, params)
	if err != nil {
		return nil, err
	}
	return result.Data, nil
}

// Overflow returns by how many pixels the page is wider than its window.
func (b *Browser) Overflow(w Window) (int, error) {
	wide, err := chromedp.Run(b.Page, chromedp.Evaluate[float64]("document.documentElement.scrollWidth"))
	return int(wide) - w.Width, err
}
