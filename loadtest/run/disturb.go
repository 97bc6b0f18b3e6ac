package main

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"time"
)

// disturbance is what the runner does while a script makes load.
type disturbance struct {
	// run disturbs until ctx ends, and leaves the servers as they were.
	run func(ctx context.Context, duration time.Duration) error
	// verify adds the outcome to the result.
	verify func(ctx context.Context, r *result) error
}

func disturbanceOf(script string, o *origin, f *front) disturbance {
	switch script {
	case "reload":
		return reloads(f)
	case "faults":
		return outages(o, f)
	default:
		return disturbance{
			run:    func(context.Context, time.Duration) error { return nil },
			verify: func(context.Context, *result) error { return nil },
		}
	}
}

// reloads changes the configuration each second and sends SIGHUP.
func reloads(f *front) disturbance {
	sent := 0
	return disturbance{
		run: func(ctx context.Context, _ time.Duration) error {
			for pause(ctx, time.Second) {
				f.ttl++
				if err := f.configure(); err != nil {
					return err
				}
				if err := syscall.Kill(f.Pid(), syscall.SIGHUP); err != nil {
					return fmt.Errorf("cannot signal the gateway: %w", err)
				}
				sent++
			}
			return nil
		},
		verify: func(ctx context.Context, r *result) error {
			watch := newSampler(f.Pid(), f.metrics())
			for deadline := time.Now().Add(5 * time.Second); ; pause(ctx, 50*time.Millisecond) {
				m, err := watch.scrape(ctx)
				if err != nil {
					return err
				}
				done := int(m.sum("yatagarasu_config_reloads_total", `outcome="ok"`))
				failed := int(m.sum("yatagarasu_config_reloads_total", `outcome="failed"`))
				if done+failed < sent && time.Now().Before(deadline) {
					continue
				}
				r.Notes = append(r.Notes, fmt.Sprintf("%d reloads, %d failed", done, failed))
				if done != sent || sent == 0 {
					r.Problems = append(r.Problems, fmt.Sprintf("of %d reloads %d worked", sent, done))
				}
				return nil
			}
		},
	}
}

// outages kills the S3 server, starts it again, halts it and lets it go on, over and
// over.
func outages(o *origin, f *front) disturbance {
	killed, halted := 0, 0
	return disturbance{
		run: func(ctx context.Context, duration time.Duration) error {
			step := min(duration, 20*time.Second) / 5
			for pause(ctx, step) {
				o.Kill()
				killed++
				pause(ctx, step)
				// Not with ctx: the server must be there afterwards.
				starting, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
				err := o.Restart(starting)
				cancel()
				if err != nil {
					return err
				}
				if !pause(ctx, step) {
					return nil
				}
				if err := syscall.Kill(o.Pid(), syscall.SIGSTOP); err != nil {
					return fmt.Errorf("cannot halt the S3 server: %w", err)
				}
				halted++
				pause(ctx, step)
				if err := syscall.Kill(o.Pid(), syscall.SIGCONT); err != nil {
					return fmt.Errorf("cannot continue the S3 server: %w", err)
				}
				pause(ctx, step)
			}
			return nil
		},
		verify: func(ctx context.Context, r *result) error {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			began := time.Now()
			for status(ctx, f.URL+"/plain/1k") != http.StatusOK {
				if !pause(ctx, 100*time.Millisecond) {
					r.Problems = append(r.Problems, "the gateway does not get on with the S3 server again within 20 s of the last outage")
					return nil
				}
			}
			r.Notes = append(r.Notes, fmt.Sprintf("S3 server killed %d times, halted %d times; served again %.1f s after the end", killed, halted, time.Since(began).Seconds()))
			if killed == 0 || halted == 0 {
				r.Problems = append(r.Problems, "too short: there was no outage")
			}
			return nil
		},
	}
}

// status returns the status of an answer, 0 without one.
func status(ctx context.Context, url string) int {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	answer.Body.Close()
	return answer.StatusCode
}

// pause waits for d; it returns false, at once, when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
