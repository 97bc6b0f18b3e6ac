package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"yatagarasu/gateway/handover"
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
// nothing to do, or the system has no such thing, or with the reason why it could not be done.
func allowSlack(d time.Duration) error {
	again := os.Getenv(envSlack) != ""
	os.Unsetenv(envSlack)
	runtime.LockOSThread() // the slack is of the thread
	defer runtime.UnlockOSThread()
	if had := timerSlack(); again || had < 0 || had >= d {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(d), 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_TIMERSLACK: %w", err)
	}
	if timerSlack() != d { // threads in real time have none
		return nil
	}
	program, err := handover.Program()
	if err == nil {
		err = execute(program)
	}
	return fmt.Errorf("the program cannot start itself again: %w", err)
}

// execute has another program take the place of this one; it returns if that fails.
func execute(program string) error {
	var files syscall.Rlimit
	limitErr := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
	err := syscall.Exec(program, os.Args, append(os.Environ(), envSlack+"=set"))
	if limitErr == nil { // Exec takes back that the runtime has raised it
		limitErr = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files)
	}
	return errors.Join(err, limitErr)
}

// timerSlack returns the slack of the calling thread; negative: unknown.
func timerSlack() time.Duration {
	ns, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return -1
	}
	return time.Duration(ns)
}
