// Screenshot starts the demo with some load on it and takes pictures of the status
// page, as a desktop and as a phone shows it, light and dark. With -docs they are those of the
// documentation. It fails if the page complains of anything.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"yatagarasu/loadtest/browser"
	"yatagarasu/loadtest/process"
)

func main() {
	duration := flag.Duration("load", 30*time.Second, "how `long` the load lasts before the pictures are taken")
	page := flag.String("page", "", "`address` of a metrics listener, such as http://127.0.0.1:9090: take pictures of that gateway instead")
	docs := flag.Bool("docs", false, "write the documentation's pictures into docs/images instead of those for looking at into bin")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *duration+2*time.Minute)
	defer cancel()
	if err := run(ctx, *duration, strings.TrimSuffix(*page, "/"), shots(*docs)); err != nil {
		fmt.Fprintln(os.Stderr, "screenshot:", err)
		os.Exit(1)
	}
}

// ready is true once the page shows buckets, or says why it does not.
const ready = `document.querySelectorAll('#buckets tbody tr').length > 1 || document.querySelector('#gate:not([hidden])') !== null`

// shot is a picture that is taken.
type shot struct {
	path   string
	window browser.Window
	height float64 // of the picture, in WebP; 0: of the whole page, in PNG
}

func shots(docs bool) []shot {
	if docs {
		return []shot{
			{"docs/images/status-light.webp", browser.Window{Width: 1280, Scale: 1.25, Scheme: "light"}, 536},
			{"docs/images/status-dark.webp", browser.Window{Width: 1280, Scale: 1.25, Scheme: "dark"}, 536},
		}
	}
	return []shot{
		{"bin/screenshot-1280.png", browser.Window{Width: 1280, Scale: 1, Scheme: "light"}, 0},
		{"bin/screenshot-1280-dark.png", browser.Window{Width: 1280, Scale: 1, Scheme: "dark"}, 0},
		{"bin/screenshot-390.png", browser.Window{Width: 390, Scale: 2, Scheme: "light"}, 0},
		{"bin/screenshot-390-dark.png", browser.Window{Width: 390, Scale: 2, Scheme: "dark"}, 0},
	}
}

func run(ctx context.Context, duration time.Duration, page string, shots []shot) error {
	b, err := browser.Start(ctx) // first: it may be missing
	if err != nil {
		return err
	}
	defer b.Close()

	if page != "" {
		return pictures(b, page, shots)
	}
	binary, err := process.Find("demo")
	if err != nil {
		return err
	}
	demo, err := process.Start(binary, nil, nil, nil)
	if err != nil {
		return err
	}
	defer demo.Stop(40 * time.Second)
	var base string
	base, page, err = addresses(ctx, demo)
	if err != nil {
		return err
	}

	fmt.Printf("load on %s for %s\n", base, duration)
	loadCtx, stopLoad := context.WithCancel(ctx)
	loaded := make(chan struct{})
	go func() { // ends with loadCtx
		defer close(loaded)
		load(loadCtx, base)
	}()
	defer func() {
		stopLoad()
		<-loaded
	}()
	select {
	case <-time.After(duration):
	case <-demo.Done():
		return fmt.Errorf("the demo ended by itself; it said: %s", demo.Output())
	case <-ctx.Done():
		return ctx.Err()
	}
	answer, err := http.Post(page+"/admin/reload", "", nil)
	if err != nil {
		return fmt.Errorf("cannot reload: %w", err)
	}
	answer.Body.Close()

	return pictures(b, page, shots)
}

// pictures takes pictures of a page.
func pictures(b *browser.Browser, page string, shots []shot) error {
	root, err := process.ModuleRoot()
	if err != nil {
		return err
	}
	for _, s := range shots {
		image, err := picture(b, page, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		if err := os.WriteFile(filepath.Join(root, s.path), image, 0o644); err != nil {
			return fmt.Errorf("cannot write the picture: %w", err)
		}
		fmt.Printf("%s, %d bytes\n", s.path, len(image))
	}
	if all := b.Complaints(); len(all) > 0 {
		return fmt.Errorf("the page complains:\n%s", strings.Join(all, "\n"))
	}
	return nil
}

// picture takes one picture. The page must not be wider than the window.
func picture(b *browser.Browser, address string, s shot) ([]byte, error) {
	if err := b.Open(address+"/", s.window); err != nil {
		return nil, err
	}
	if err := b.Await(ready, 15*time.Second); err != nil {
		return nil, err
	}
	if over, err := b.Overflow(s.window); err != nil || over > 0 {
		return nil, fmt.Errorf("the page is %d pixels wider than its window of %d (%v)", over, s.window.Width, err)
	}
	if s.height == 0 {
		return chromedp.Run(b.Page, chromedp.FullScreenshot(100))
	}
	return b.Picture(s.window, s.height, page.CaptureScreenshotFormatWebp)
}

var (
	servingAt = regexp.MustCompile(`(http://[0-9.:]+)/demo/`) // in each curl line
	metricsAt = regexp.MustCompile(`Metrics are at (http://[0-9.:]+)/metrics`)
)

// addresses waits until the demo has said where it serves, and where its metrics are.
func addresses(ctx context.Context, demo *process.Process) (base, metrics string, err error) {
	err = demo.Await(ctx, 20*time.Millisecond, func() error {
		serving, page := servingAt.FindStringSubmatch(demo.Output()), metricsAt.FindStringSubmatch(demo.Output())
		if serving == nil || page == nil {
			return errors.New("it does not say where it serves")
		}
		base, metrics = serving[1], page[1]
		return nil
	})
	return base, metrics, err
}
