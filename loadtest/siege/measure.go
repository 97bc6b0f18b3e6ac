package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
)

// result is what honest clients saw.
type result struct {
	Attack          string
	Requests        int // beside the attack
	Failed          int
	Alone, Besieged time.Duration // p99
	Hits, HitsAlone int           // percent of large objects from memory
	Attackers       string        // what the attackers were answered
	Failures        map[string]int
}

func (r *result) ratio() float64 { return float64(r.Besieged) / float64(r.Alone) }

// enough is a p99 that is not called slow, however fast it was before: on a machine of two
// cores that clients and origin share, a few milliseconds are the scheduler's.
const enough = 5 * time.Millisecond

// flaw says what the attack did to honest clients that it must not; empty: nothing.
func (r *result) flaw(a *attack) string {
	switch {
	case r.Failed > 0:
		var all []string
		for _, failure := range slices.Sorted(maps.Keys(r.Failures)) {
			all = append(all, fmt.Sprintf("%d x %s", r.Failures[failure], failure))
		}
		return "honest requests failed: " + strings.Join(all, "; ")
	case r.ratio() > a.factor() && r.Besieged > enough:
		return fmt.Sprintf("honest requests were slowed by more than a factor of %.0f", a.factor())
	case r.Hits < r.HitsAlone-20:
		return "honest requests are no longer answered from memory"
	}
	return ""
}

func (r result) String() string {
	return fmt.Sprintf("%-34s %6d honest requests, %d failed; p99 %s before, %s under attack (%.2f); %d%% hits before, %d%% under attack; attackers: %s",
		r.Attack, r.Requests, r.Failed, milliseconds(r.Alone), milliseconds(r.Besieged), r.ratio(), r.HitsAlone, r.Hits, r.Attackers)
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

// siege is a gateway, its origin, and what is needed to ask it.
type siege struct {
	*process.Process
	address string // of the gateway, host:port
	origin  *origin
	secret  string // of the private bucket's tokens
	dir     string
	slower  int // how many times fewer requests attackers send

	answers answers // what attackers are told
}

//go:embed siege.yaml
var configText string

// start starts a gateway that may have so many descriptors; 0: as many as this process.
func start(ctx context.Context, descriptors int) (s *siege, err error) {
	binary, err := process.Find("yatagarasu")
	if err != nil {
		return nil, err
	}
	s = &siege{slower: 1, secret: rand.Text() + rand.Text(), answers: answers{counts: make(map[string]int)}}
	if s.dir, err = os.MkdirTemp("", "yatagarasu-siege"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.origin, err = startOrigin(); err != nil {
		return nil, err
	}
	var files []string
	for i := range 4 {
		path := filepath.Join(s.dir, fmt.Sprintf("key%d.pem", i))
		if err := writeKey(path); err != nil {
			return nil, err
		}
		files = append(files, strconv.Quote(path))
	}
	config := filepath.Join(s.dir, "siege.yaml")
	err = port.Retry(func() error {
		at, err := port.Reserve()
		if err != nil {
			return err
		}
		metrics, err := port.Reserve()
		if err != nil {
			return err
		}
		text := strings.NewReplacer("ENDPOINT", "http://"+s.origin.address, "JWT_SECRET", s.secret, "ADMIN_TOKEN", rand.Text()+rand.Text(),
			"METRICS_PORT", strconv.Itoa(metrics), "KEY_FILES", strings.Join(files, ", ")).Replace(configText)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return err
		}
		s.address = port.Address(at)
		script := `exec "$0" "$@"`
		if descriptors > 0 {
			script = fmt.Sprintf("ulimit -n %d; %s", descriptors, script)
		}
		s.Process, err = process.StartCommand(exec.Command("/bin/sh", "-c", script, binary, "-config", config, "-listen.address", s.address), nil)
		if err != nil {
			return err
		}
		starting, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		return s.Await(starting, 20*time.Millisecond, func() error {
			r, err := http.Get("http://" + s.address + "/ready")
			if err != nil {
				return err
			}
			r.Body.Close()
			if r.StatusCode != http.StatusOK {
				return errors.New("/ready says " + r.Status)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// stop ends the gateway and the origin.
func (s *siege) stop() {
	if s.Process != nil {
		s.Kill()
	}
	if s.origin != nil {
		s.origin.stop()
	}
	os.RemoveAll(s.dir)
}

// writeKey writes a new public key for ES512.
func writeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600)
}

// measure lets honest clients ask a new gateway for span, and once more for span beside the
// attack, from its first moment on.
func (a *attack) measure(ctx context.Context, span time.Duration, rate int) (result, error) {
	s, err := start(ctx, a.descriptors)
	if err != nil {
		return result{}, err
	}
	defer s.stop()
	c := newCrowd(s, rate)
	defer c.close()
	c.run(ctx, max(time.Second, span/5)) // what is hit is stored by then
	alone := c.run(ctx, span)
	if len(alone.failures) > 0 {
		return result{}, fmt.Errorf("honest requests fail without an attack: %v", alone.failures)
	}
	attacking, end := context.WithCancel(ctx)
	defer end()
	ended := make(chan struct{})
	go func() { // ends with attacking
		defer close(ended)
		a.run(attacking, s)
	}()
	besieged := c.run(ctx, span)
	end()
	<-ended
	if err := context.Cause(ctx); err != nil {
		return result{}, err
	}
	select {
	case <-s.Done():
		return result{}, fmt.Errorf("the gateway ended: %s", s.Output())
	default:
	}
	return result{
		Attack: a.name, Requests: len(besieged.took), Failed: besieged.failed(), Failures: besieged.failures,
		Alone: alone.p99(), Besieged: besieged.p99(),
		HitsAlone: alone.hitRatio(), Hits: besieged.hitRatio(), Attackers: s.answers.String(),
	}, nil
}
