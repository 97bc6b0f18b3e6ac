package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// keepMemory keeps the memory of the process to itself: it has the credentials of all buckets,
// and bytes of objects. It goes into no core dump, and no other process of the same user can
// attach to this one or read its memory and environment. A program that an upgrade starts does
// the same for itself.
func keepMemory() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_DUMPABLE: %w", err)
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil {
		return fmt.Errorf("RLIMIT_CORE: %w", err)
	}
	l.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &l); err != nil {
		return fmt.Errorf("RLIMIT_CORE: %w", err)
	}
	return nil
}
