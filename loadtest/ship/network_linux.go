package main

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// inNetworkOf calls do with the network namespace of a process. do must open its sockets itself,
// in no other goroutine. An error of entering the namespace goes to err.
func inNetworkOf(pid string, do func(), err *error) {
	runtime.LockOSThread() // the namespace is the thread's
	defer runtime.UnlockOSThread()
	mine, mineErr := os.Open("/proc/thread-self/ns/net")
	its, itsErr := os.Open("/proc/" + pid + "/ns/net")
	if *err = errors.Join(mineErr, itsErr); *err != nil {
		return
	}
	defer mine.Close()
	defer its.Close()
	if *err = unix.Setns(int(its.Fd()), unix.CLONE_NEWNET); *err != nil {
		return
	}
	do()
	if back := unix.Setns(int(mine.Fd()), unix.CLONE_NEWNET); back != nil {
		panic("BUG: a thread stays in another network: " + back.Error())
	}
}
