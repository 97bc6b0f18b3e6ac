//go:build !race

package main

import (
	"testing"
	"time"
)

// slowOnABusyMachine is what honest requests may take beside an attack while other tests run;
// `make siege` measures the ratio.
const slowOnABusyMachine = time.Second

// TestSiege is the short form of `make siege`: no honest request may fail or hang. It attacks the
// program that make has built, so the race detector would see the attackers alone.
func TestSiege(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			r, err := a.measure(t.Context(), 2*time.Second, 100)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r)
			if flaw := r.flaw(a); flaw != "" && (r.Failed > 0 || r.Besieged > slowOnABusyMachine) {
				t.Error(flaw)
			}
			if r.Attackers == "" {
				t.Error("the attackers were told nothing: they attacked nothing")
			}
		})
	}
}
