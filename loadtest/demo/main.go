// Demo runs the gateway before a real S3 server over a folder, and prints curl
// lines to try. It ends both programs on SIGINT or SIGTERM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"yatagarasu/loadtest/s3server"
)

const (
	accessKey = "demo"
	secretKey = "demo-secret-key"
	region    = "us-east-1"
	bucket    = "demo"
)

func main() {
	dir := flag.String("dir", "", "serve this `folder` instead of demo objects")
	once := flag.Bool("once", false, "send the requests that would be printed, compare the bodies with the files, and exit: 0 if all are right")
	flag.Parse()
	if err := run(*dir, *once); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(dir string, once bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	gatewayBinary, err := s3server.Find("yatagarasu")
	if err != nil {
		return err
	}
	s3Binary, err := s3server.Find("versitygw")
	if err != nil {
		return err
	}
	root := filepath.Dir(filepath.Dir(gatewayBinary))
	config := filepath.Join(root, "config.example.yaml")

	data := filepath.Join(root, "bin", "demo-data")
	if dir != "" {
		// A folder of its own with a link, so that nothing is written to dir.
		if data, err = linkedRoot(root, dir); err != nil {
			return err
		}
	} else if err := os.MkdirAll(filepath.Join(data, bucket), 0o755); err != nil {
		return err
	}

	startCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s3, err := s3server.Start(startCtx, s3server.Options{
		Kind: s3server.VersityGW, Binary: s3Binary, Dir: data,
		AccessKey: accessKey, SecretKey: secretKey, Region: region, Port: freeOr(7070),
	})
	if err != nil {
		return err
	}
	defer s3.Stop()

	var samples []sample
	if dir != "" {
		samples, err = samplesOf(dir)
	} else {
		samples, err = seed(ctx, s3.Endpoint(), filepath.Join(data, bucket))
	}
	if err != nil {
		return err
	}

	address := fmt.Sprintf("127.0.0.1:%d", freeOr(8080))
	gw, err := startGateway(gatewayBinary, config, s3.Endpoint(), address, once)
	if err != nil {
		return err
	}
	defer gw.stop()
	base := "http://" + address
	if err := gw.awaitReady(startCtx, base); err != nil {
		return err
	}
	if once {
		return try(base, samples)
	}
	what := "demo objects"
	if dir != "" {
		what = dir
	}
	fmt.Printf("\nServing %s at %s/demo/ from the S3 server at %s.\nTry:\n\n", what, base, s3.Endpoint())
	printLines(os.Stdout, base, samples)
	fmt.Print("\nThe access log follows. Ctrl-C ends both.\n\n")
	select {
	case <-ctx.Done():
		fmt.Println("\nstopping the gateway, then the S3 server")
		return nil
	case <-gw.done:
		return errors.New("the gateway ended by itself; its log above says why")
	case <-s3.Done():
		return fmt.Errorf("the S3 server ended by itself; it said: %s", s3.Output())
	}
}

// linkedRoot returns a folder whose sub-folder demo is a link to dir.
func linkedRoot(root, dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(abs); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%s is not a folder", dir)
	}
	data := filepath.Join(root, "bin", "demo-link")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", err
	}
	link := filepath.Join(data, bucket)
	os.Remove(link)
	if err := os.Symlink(abs, link); err != nil {
		return "", fmt.Errorf("cannot link to %s: %w", dir, err)
	}
	return data, nil
}

// freeOr returns port if nothing listens on it, else a free one.
func freeOr(port int) int {
	for _, p := range []int{port, 0} {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			fmt.Printf("port %d is taken; using another\n", p)
			continue
		}
		ln.Close()
		return ln.Addr().(*net.TCPAddr).Port
	}
	return port
}

// gatewayProcess is the running gateway.
type gatewayProcess struct {
	cmd  *exec.Cmd
	done chan struct{} // closed at its end
}

func startGateway(binary, config, endpoint, address string, quiet bool) (*gatewayProcess, error) {
	args := []string{"-config", config, "-log.format", "text"}
	if quiet {
		args = append(args, "-log.level", "error")
	}
	g := &gatewayProcess{cmd: exec.Command(binary, args...), done: make(chan struct{})}
	g.cmd.Env = append(os.Environ(), "YATAGARASU_ENDPOINT="+endpoint, "YATAGARASU_ADDRESS="+address,
		"YATAGARASU_ACCESS_KEY="+accessKey, "YATAGARASU_SECRET_KEY="+secretKey)
	g.cmd.Stdout, g.cmd.Stderr = os.Stdout, os.Stderr
	g.cmd.SysProcAttr = s3server.ChildAttributes()
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", binary, err)
	}
	go func() { // ends with the process
		g.cmd.Wait()
		close(g.done)
	}()
	return g, nil
}

// awaitReady waits until /ready is 200.
func (g *gatewayProcess) awaitReady(ctx context.Context, base string) error {
	for {
		r, err := http.Get(base + "/ready")
		var body []byte
		if err == nil {
			body, _ = io.ReadAll(r.Body)
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-g.done:
			return errors.New("the gateway ended while starting")
		case <-ctx.Done():
			return fmt.Errorf("the gateway does not get ready: %s", body)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the gateway and waits for it; it lets requests under way finish.
func (g *gatewayProcess) stop() {
	g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.done:
	case <-time.After(30 * time.Second):
		g.cmd.Process.Kill()
		<-g.done
	}
}
