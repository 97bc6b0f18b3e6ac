package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// envSlack is set while the program starts itself again for allowSlack.
const envSlack = "YATAGARASU_TIMER_SLACK"

// allowSlack lets the kernel wake any thread of the process up to d later than it asked to be,
// unless it already may wake it later still.
//
// It is for a thread that was there before this code, the Go runtime's monitor, which sleeps
// for some tens of microseconds at a time. No thread may change another's slack without
// CAP_SYS_NICE, but a program inherits that of the thread that starts it: so this one starts
// itself again, as the same process with the same arguments, environment and files
// (PR_SET_TIMERSLACK in prctl(2)). Call it before anything else is done. It returns if there is
// nothing to do, or with the reason why it could not be done, which harms nothing.
func allowSlack(d time.Duration) error {
	again := os.Getenv(envSlack) != ""
	os.Unsetenv(envSlack)
	runtime.LockOSThread() // the slack is of the thread
	defer runtime.UnlockOSThread()
	if again || timerSlack() >= d {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(d), 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_TIMERSLACK: %w", err)
	}
	if timerSlack() != d { // threads in real time have none
		return nil
	}
	program, err := os.Executable()
	if err == nil {
		err = syscall.Exec(program, os.Args, append(os.Environ(), envSlack+"=set"))
	}
	return fmt.Errorf("the program cannot start itself again: %w", err)
}

// timerSlack returns the slack of the calling thread; negative: unknown.
func timerSlack() time.Duration {
	ns, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return -1
	}
	return time.Duration(ns)
}
