//go:build !race

package main

import (
	"io"
	"testing"
	"time"

	"yatagarasu/loadtest/needs"
)

// TestPurges is the short form of `make cluster`. It asks the program that make has built, so the
// race detector would see the judge alone.
func TestPurges(t *testing.T) {
	needs.Program(t, "redis-server")
	for i := range faults {
		t.Run(faults[i].name, func(t *testing.T) {
			t.Parallel() // they wait more than they work
			trial, err := try(t.Context(), io.Discard, &faults[i], 100, 2*time.Second, 500*time.Millisecond, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(trial.progress())
			for _, flaw := range trial.result.flaws {
				t.Error(flaw)
			}
		})
	}
}
