// Package balance starts balancers with the files of deploy, before gateways on this machine.
package balance

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
)

// Recipe is a file of deploy, and how its program is started.
type Recipe struct {
	File    string   // path in the module
	Listen  string   // what says in it where to listen
	Address string   // how it writes addresses, a format for host and port
	Args    []string // arguments before the name of the file
}

// The recipes there are.
var (
	HAProxy = Recipe{"deploy/haproxy/haproxy.cfg", "bind :8080", "%s:%s", []string{"-db", "-f"}}
	Envoy   = Recipe{"deploy/envoy/envoy.yaml", `address: "::", ipv4_compat: true, port_value: 8080`, "address: %s, port_value: %s",
		[]string{"--concurrency", "1", "--use-dynamic-base-id", "-l", "warning", "-c"}}
)

// Balancer is a running balancer.
type Balancer struct {
	*process.Process
	URL string // base URL, without a trailing slash
}

// Start starts binary by the recipe and waits until it listens, at most until ctx ends. Of
// the file, which is copied to dir, only addresses are replaced, those of the gateways by theirs, and
// what further pairs of old and new say. out receives what the balancer writes.
func (r Recipe) Start(ctx context.Context, binary, dir string, gateways []string, out io.Writer, further ...string) (*Balancer, error) {
	root, err := process.ModuleRoot()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, r.File))
	if err != nil {
		return nil, err
	}
	var b *Balancer
	err = port.Try(0, func(at int) error {
		config, err := r.configuration(string(text), at, gateways, further)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.Base(r.File))
		if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
			return err
		}
		p, err := process.Start(binary, append(r.Args[:len(r.Args):len(r.Args)], path), nil, out)
		if err != nil {
			return err
		}
		b = &Balancer{p, "http://" + port.Address(at)}
		if err := p.Await(ctx, 20*time.Millisecond, func() error { return answers(port.Address(at)) }); err != nil {
			p.Kill()
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// configuration returns text with the addresses of this machine.
func (r Recipe) configuration(text string, at int, gateways, further []string) (string, error) {
	keyword, _, _ := strings.Cut(r.Listen, " ")
	own := fmt.Sprintf(r.Address, "127.0.0.1", fmt.Sprint(at))
	if !strings.HasPrefix(own, keyword) {
		own = keyword + " " + own
	}
	pairs := append([]string{r.Listen, own}, further...)
	for i, gateway := range gateways {
		host, number, err := net.SplitHostPort(gateway)
		if err != nil {
			return "", err
		}
		pairs = append(pairs, fmt.Sprintf(r.Address, fmt.Sprintf("10.0.0.%d", 11+i), "8080"), fmt.Sprintf(r.Address, host, number))
	}
	for i := 0; i < len(pairs); i += 2 {
		if n := strings.Count(text, pairs[i]); n != 1 {
			return "", fmt.Errorf("%s has %q %d times", r.File, pairs[i], n)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text, nil
}

// answers tells whether somebody listens at address.
func answers(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}
