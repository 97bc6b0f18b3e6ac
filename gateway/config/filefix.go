package config

import (
	"errors"
	"io/fs"
	"syscall"
)

// fileFix says how to fix err, from opening or reading a file.
func fileFix(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "check the path, seen from the working directory"
	case errors.Is(err, fs.ErrPermission):
		return "let the user that the gateway runs as read it, and enter its folders"
	case errors.Is(err, syscall.ENOTDIR):
		return "check the path: one of its folders is a file"
	case errors.Is(err, syscall.EISDIR):
		return "name the file in the folder"
	case errors.Is(err, syscall.ELOOP):
		return "check the symbolic links on the path: they go in circles"
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL):
		return "write a path, not what is in the file"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "raise the limit of open files: ulimit -n"
	}
	return "see to the disk or file system that it is on"
}

// modeProblem says why no file of this mode may hold keys; empty if it may. Opening a
// pipe could block for ever, and a reload with it.
func modeProblem(mode fs.FileMode) (problem, fix string) {
	switch {
	case mode.IsRegular():
		return "", ""
	case mode.IsDir():
		return "is a folder", "name the file in it"
	case mode&fs.ModeNamedPipe != 0:
		return "is a pipe", "name a regular file: it is read again at each reload"
	case mode&fs.ModeSocket != 0:
		return "is a socket", "name a regular file"
	}
	return "is a device", "name a regular file"
}
