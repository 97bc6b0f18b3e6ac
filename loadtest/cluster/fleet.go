package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
	"yatagarasu/loadtest/redisserver"
)

// fleet is three gateways, the Valkey that they share, and what stands between.
type fleet struct {
	dir         string
	within      time.Duration // purge.within
	valkey      *redisserver.Server
	replica     *redisserver.Server // of valkey; nil: there is none
	replicas    int                 // so far
	proxies     *faultProxy         // nil: gateways reach Valkey without
	links       [gateways]*link     // between each gateway and Valkey
	last        int                 // the gateway that was cut off last
	replication *link               // between valkey and replica
	origin      *origin
	objects     [][]*object
	gateways    [gateways]*gateway
	journal     journal
}

// Parts of the gateways' block cluster.
const (
	namespace = "test"
	wait      = time.Second // purge.wait
)

// The keys of the purge log.
const (
	logKey  = "y:{" + namespace + "}:log"
	metaKey = "y:{" + namespace + "}:meta"
)

//go:embed cluster.yaml
var configText string

// startFleet starts what a fault needs.
func startFleet(ctx context.Context, f *fault, within time.Duration) (_ *fleet, err error) {
	c := &fleet{within: within, objects: newObjects()}
	if c.dir, err = os.MkdirTemp("", "yatagarasu-cluster"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	binary, err := process.Find("yatagarasu")
	if err != nil {
		return nil, err
	}
	if f.clocks != [gateways]time.Duration{} {
		if binary, err = buildWithClock(ctx, c.dir); err != nil { // all of it, for minutes on a busy machine
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var all []*object
	for _, own := range c.objects {
		all = append(all, own...)
	}
	if c.origin, err = startOrigin(all, f.slow); err != nil {
		return nil, err
	}
	if c.valkey, err = c.startValkey(ctx, redisserver.Options{Args: f.args}); err != nil {
		return nil, err
	}
	if f.proxied {
		if c.proxies, err = startFaultProxy(ctx); err != nil {
			return nil, err
		}
	}
	if f.replicated {
		if c.replication, err = c.proxies.add(ctx, "replication", c.valkey.Address()); err != nil {
			return nil, err
		}
		if err = c.addReplica(ctx); err != nil {
			return nil, err
		}
	}
	secret := rand.Text() + rand.Text()
	for i := range c.gateways {
		if err = c.startGateway(ctx, i, binary, secret, f); err != nil {
			return nil, err
		}
	}
	if err = c.settle(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// settle waits until a purge through each gateway is confirmed by all.
func (c *fleet) settle(ctx context.Context) error {
	for _, g := range c.gateways {
		for {
			r, err := g.purge(ctx, `{"bucket":"one","key":"settled"}`)
			if err != nil {
				return err
			}
			if r.everywhere() {
				break
			}
			if !pause(ctx, 50*time.Millisecond) {
				return fmt.Errorf("gateways that were just started do not confirm a purge; the last answer of %s: %s", g, r.text)
			}
		}
	}
	return nil
}

// startValkey starts a server with a folder of its own.
func (c *fleet) startValkey(ctx context.Context, o redisserver.Options) (*redisserver.Server, error) {
	o.Dir = filepath.Join(c.dir, fmt.Sprint("valkey", c.replicas))
	c.replicas++
	if err := os.Mkdir(o.Dir, 0o700); err != nil {
		return nil, err
	}
	return redisserver.Start(ctx, o)
}

// addReplica starts a replica of valkey, behind replication.
func (c *fleet) addReplica(ctx context.Context) (err error) {
	c.replica, err = c.startValkey(ctx, redisserver.Options{ReplicaOf: c.replication.address})
	return err
}

// startGateway starts gateway i, which keeps its ports when it is killed and started
// again.
func (c *fleet) startGateway(ctx context.Context, i int, binary, secret string, f *fault) (err error) {
	valkey := c.valkey.Address()
	if c.proxies != nil {
		if c.links[i], err = c.proxies.add(ctx, fmt.Sprint("gateway", i), valkey); err != nil {
			return err
		}
		valkey = c.links[i].address
	}
	env := []string{"GOMAXPROCS=1"}
	if off := f.clocks[i]; off != 0 {
		env = append(env, clockVariable+"="+strconv.Itoa(int(off.Seconds())))
	}
	return port.Retry(func() error {
		listen, err1 := port.Reserve()
		metrics, err2 := port.Reserve()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		token := rand.Text()
		config := filepath.Join(c.dir, fmt.Sprintf("gateway%d.yaml", i))
		text := strings.NewReplacer("LISTEN", port.Address(listen), "METRICS_PORT", strconv.Itoa(metrics), "ADMIN_TOKEN", token, "VALKEY", valkey,
			"NAMESPACE", namespace, "SECRET", secret, "WITHIN", c.within.String(), "WAIT", wait.String(), "ENDPOINT", c.origin.url).Replace(configText)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return err
		}
		g := newGateway(i, "http://"+port.Address(listen), "http://"+port.Address(metrics), token, &c.journal)
		g.launch = func(ctx context.Context) (*process.Process, error) {
			p, err := process.Start(binary, []string{"-config", config}, env, nil)
			if err != nil {
				return nil, err
			}
			starting, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			if err := p.Await(starting, 10*time.Millisecond, func() error { return ready(g.admin) }); err != nil {
				p.Kill()
				return nil, err
			}
			return p, nil
		}
		if g.process, err = g.launch(ctx); err != nil {
			return err
		}
		c.gateways[i] = g
		return nil
	})
}

// ready returns nil once a gateway is ready.
func ready(url string) error {
	r, err := http.Get(url + "/ready")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return errors.New("/ready says " + r.Status)
	}
	return nil
}

// stop ends all that was started.
func (c *fleet) stop() {
	for _, g := range c.gateways {
		if g != nil {
			g.process.Kill()
			g.client.CloseIdleConnections()
		}
	}
	if c.proxies != nil {
		c.proxies.Kill()
	}
	for _, s := range []*redisserver.Server{c.replica, c.valkey} {
		if s != nil {
			s.Kill()
		}
	}
	if c.origin != nil {
		c.origin.stop()
	}
	os.RemoveAll(c.dir)
}
