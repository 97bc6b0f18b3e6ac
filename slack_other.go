//go:build !linux

package main

import "time"

// allowSlack does nothing: timers have slack that a process can set on Linux alone.
func allowSlack(time.Duration) error { return nil }
