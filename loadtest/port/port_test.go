package port

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"yatagarasu/loadtest/needs"
)

// child makes the test binary another process that reserves ports.
const child = "YATAGARASU_TEST_RESERVE"

func TestMain(m *testing.M) {
	if os.Getenv(child) == "" {
		os.Exit(m.Run())
	}
	for range each {
		n, err := Reserve()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
	io.Copy(io.Discard, os.Stdin) // holds them until the parent has seen all
	os.Exit(0)
}

const each = 50 // ports of a process or goroutine

// reservedByProcesses has n processes reserve at once, and returns all their ports.
// They hold them until the test ends.
func reservedByProcesses(t *testing.T, n int) (ports []int) {
	var outputs []*bufio.Reader
	for range n {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), child+"=1")
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
		outputs = append(outputs, bufio.NewReader(out))
	}
	for _, out := range outputs {
		for range each {
			var port int
			if _, err := fmt.Fscan(out, &port); err != nil {
				t.Fatal(err)
			}
			ports = append(ports, port)
		}
	}
	return ports
}

// outgoing opens n connections, whose ports on this side the kernel chooses.
func outgoing(t *testing.T, n int) map[int]bool {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends with ln
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	taken := map[int]bool{}
	for range n {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		taken[c.LocalAddr().(*net.TCPAddr).Port] = true
	}
	return taken
}

// Processes and goroutines that reserve at once, among outgoing connections that come
// meanwhile, get a port each, and each can be listened on.
func TestReserveAtOnce(t *testing.T) {
	if runtime.GOOS != "linux" {
		needs.Skip(t, "ports are held on Linux alone")
	}
	var (
		mu    sync.Mutex // guards ports
		ports []int
		wg    sync.WaitGroup
	)
	for range 4 {
		wg.Go(func() {
			for range each {
				n, err := Reserve()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				ports = append(ports, n)
				mu.Unlock()
			}
		})
	}
	others := reservedByProcesses(t, 4)
	taken := outgoing(t, 500)
	wg.Wait()
	ports = append(ports, others...)
	seen := map[int]bool{}
	for _, n := range ports {
		if seen[n] {
			t.Errorf("port %d was given twice", n)
		}
		seen[n] = true
		if taken[n] {
			t.Errorf("a connection has port %d", n)
		}
		ln, err := net.Listen("tcp", Address(n))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
	}
	if len(seen) != 8*each {
		t.Errorf("%d ports", len(seen))
	}
}

// A port inside the range that the kernel hands out is held too: neither connections
// nor listeners on port 0 get it.
func TestHeldInsideTheRange(t *testing.T) {
	if runtime.GOOS != "linux" {
		needs.Skip(t, "ports are held on Linux alone")
	}
	var held []int
	for len(held) < each {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n := ln.Addr().(*net.TCPAddr).Port
		ln.Close()
		if err := hold(n, false); err == nil {
			held = append(held, n)
		}
	}
	taken := outgoing(t, 1000)
	for range 500 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		taken[ln.Addr().(*net.TCPAddr).Port] = true
	}
	for _, n := range held {
		if taken[n] {
			t.Errorf("port %d was given to another", n)
		}
		if err := hold(n, false); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("port %d is held twice: %v", n, err)
		}
	}
}

// A server may come, go and come again; between that, connections are refused.
func TestServerRestarts(t *testing.T) {
	n, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	for range 3 {
		if _, err := net.Dial("tcp", Address(n)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("nothing listens, but: %v", err)
		}
		ln, err := net.Listen("tcp", Address(n))
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.NotFoundHandler()}
		served := make(chan error, 1)
		go func() { served <- server.Serve(ln) }() // ends with Close below
		r, err := client.Get("http://" + Address(n))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		server.Close() // closes the connection first, which leaves it in TIME_WAIT
		<-served
	}
}

func TestPrefer(t *testing.T) {
	n, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Prefer(n); err != nil || got != n {
		t.Errorf("nothing listens on %d, but got %d, %v", n, got, err)
	}
	ln, err := net.Listen("tcp", Address(n))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if got, err := Prefer(n); err != nil || got == n || got == 0 {
		t.Errorf("something listens on %d, but got %d, %v", n, got, err)
	}
	_, err = net.Listen("tcp", Address(n))
	if err == nil || !InUse(err.Error()) || InUse("connection refused") {
		t.Errorf("%v", err)
	}
}

func TestTry(t *testing.T) {
	preferred, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	taken, other := errors.New("bind() to it failed (98: Address already in use)"), errors.New("no such file")
	for name, c := range map[string]struct {
		says []error
		want error
	}{
		"the first is good":           {[]error{nil}, nil},
		"the second is good":          {[]error{taken, nil}, nil},
		"none is good":                {[]error{taken, taken, taken}, taken},
		"another port would not help": {[]error{other}, other},
	} {
		var ports []int
		err := Try(preferred, func(port int) error {
			ports = append(ports, port)
			return c.says[len(ports)-1]
		})
		if err != c.want || len(ports) != len(c.says) || ports[0] != preferred {
			t.Errorf("%s: %v, with %v", name, err, ports)
		}
		if len(ports) > 1 && ports[1] == preferred {
			t.Errorf("%s: the taken port is tried again: %v", name, ports)
		}
	}
}

func TestOutside(t *testing.T) {
	for text, want := range map[string][2]int{
		"32768\t60999\n": {20000, 32767},
		"":               {20000, 32767},
		"a b":            {20000, 32767},
		"60999 32768":    {20000, 32767},
		"15000 60000":    {60001, 65535},
		"20500 50000":    {50001, 65535},
		"1024 65535":     {20000, 32767}, // all of them
		"49152 65535":    {20000, 49151},
	} {
		if from, to := outside(text); [2]int{from, to} != want {
			t.Errorf("%q: %d to %d, want %v", text, from, to, want)
		}
	}
}

func ExampleReserve() {
	n, err := Reserve()
	if err != nil {
		panic(err)
	}
	// A program would be told: -listen.address 127.0.0.1:n
	ln, err := net.Listen("tcp", Address(n))
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	fmt.Println(strings.HasPrefix(ln.Addr().String(), "127.0.0.1:"))
	// Output: true
}
