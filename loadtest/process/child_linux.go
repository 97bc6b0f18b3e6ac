package process

import "syscall"

// childAttributes give the child a process group of its own: a terminal's Ctrl-C
// reaches the parent alone, which ends the child in order. If the parent dies before
// that, the kernel kills the child.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
