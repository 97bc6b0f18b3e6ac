package main

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// journal has what was last done to gateways and to Valkey. The zero value is empty. Safe for
// concurrent use.
type journal struct {
	mu    sync.Mutex // guards lines
	lines []string
}

// journalled is how many events a journal keeps.
const journalled = 8

func (j *journal) note(event string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, clock(time.Now())+" "+event)
	j.lines = slices.Delete(j.lines, 0, max(0, len(j.lines)-journalled))
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.lines) == 0 {
		return ""
	}
	return "; before: " + strings.Join(j.lines, ", ")
}
