//go:build unix && !linux

package process

import "syscall"

// childAttributes keep a terminal's Ctrl-C from the child, whose parent ends it
// in order.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
