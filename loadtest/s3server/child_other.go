//go:build unix && !linux

package s3server

import "syscall"

// ChildAttributes keep a terminal's Ctrl-C from the child, whose parent ends it
// in order.
func ChildAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
