package observe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// sink buffers the lines of a log, and has one goroutine write them. If the output is stuck,
// like a pipe that nobody reads, lines are dropped and counted: no request waits. Use newSink,
// and close at the end. Safe for concurrent use.
type sink struct {
	out     io.Writer
	max     int            // bytes of waiting
	dropped atomic.Uint64  // lines
	tell    func(n uint64) // called with the lines dropped, once there is room again

	mu      sync.Mutex // guards the following fields
	more    sync.Cond  // waiting has lines, or closed
	waiting []byte
	closed  bool

	done chan struct{} // closed when run has ended
}

// newSink returns a sink whose goroutine ends with close.
func newSink(out io.Writer, max int, tell func(n uint64)) *sink {
	s := &sink{out: out, max: max, tell: tell, done: make(chan struct{})}
	s.more.L = &s.mu
	go s.run()
	return s
}

// Write implements io.Writer for lines of no level. It never fails.
func (s *sink) Write(line []byte) (int, error) { return s.WriteLevel(zerolog.NoLevel, line) }

// WriteLevel implements zerolog.LevelWriter. An eighth of the buffer is for warnings
// and errors alone.
//
// Hot path: zero allocations once the buffers have grown, guarded by TestSinkAllocs.
func (s *sink) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	room := s.max
	if level < zerolog.WarnLevel {
		room -= s.max / 8
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting)+len(line) > room || s.closed {
		s.dropped.Add(1)
		return len(line), nil
	}
	s.waiting = append(s.waiting, line...)
	s.more.Signal()
	return len(line), nil
}

// run writes until close.
func (s *sink) run() {
	defer close(s.done)
	var batch []byte
	told := uint64(0)
	for {
		s.mu.Lock()
		for len(s.waiting) == 0 && !s.closed {
			s.more.Wait()
		}
		if len(s.waiting) == 0 {
			s.mu.Unlock()
			return
		}
		batch, s.waiting = s.waiting, batch[:0]
		s.mu.Unlock()
		if n, err := s.out.Write(batch); err != nil {
			s.dropped.Add(uint64(bytes.Count(batch[n:], []byte("\n"))))
		} else if n := s.dropped.Load(); n > told {
			s.tell(n - told)
			told = n
		}
	}
}

// close writes the waiting lines, for at most limit. Later lines are dropped.
func (s *sink) close(limit time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.more.Signal()
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-time.After(limit):
	}
}

// logFile is a log that can be opened again, after its file was renamed. Safe for concurrent
// use.
type logFile struct {
	path string

	mu   sync.Mutex // guards file
	file *os.File
}

// OpenLog returns the output of this name: stdout, stderr or a path.
func OpenLog(name string) (io.Writer, error) {
	if f := standardStream(name); f != nil {
		return f, nil
	}
	f := &logFile{path: name}
	return f, f.reopen()
}

// maxLinks bounds the symbolic links that are followed to a standard stream.
const maxLinks = 10

// standardStream returns the standard stream that name is, by its name, its path, or a
// symbolic link to that; else nil. Opening the path would fail for a socket, as under systemd,
// and for a pipe of another user, as in containers.
func standardStream(name string) *os.File {
	switch name {
	case "stdout":
		return os.Stdout
	case "stderr":
		return os.Stderr
	}
	for range maxLinks {
		switch path.Clean(name) {
		case "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", fmt.Sprintf("/proc/%d/fd/1", os.Getpid()):
			return os.Stdout
		case "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2", fmt.Sprintf("/proc/%d/fd/2", os.Getpid()):
			return os.Stderr
		}
		to, err := os.Readlink(name)
		if err != nil {
			return nil
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(name), to)
		}
		name = to
	}
	return nil
}

// checkLog returns what would keep a log of this name from being opened, but for rights: the
// user that checks may be another one.
func checkLog(name string) error {
	if standardStream(name) != nil {
		return nil
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(filepath.Dir(name)) // it will be made there
	}
	switch {
	case err != nil:
		return logProblem(name, err)
	case info != nil && info.IsDir():
		return logProblem(name, syscall.EISDIR)
	case info != nil && info.Mode()&fs.ModeSocket != 0:
		return logProblem(name, syscall.ENXIO)
	}
	return nil
}

// logAdvice are the fixes for a log that cannot be opened, by cause.
var logAdvice = []struct {
	cause error
	fix   string
}{
	{fs.ErrNotExist, "make its folder first"},
	{fs.ErrPermission, "let the user that the gateway runs as write it, and its folder where it is not there yet"},
	{syscall.EISDIR, "name a file in the folder"},
	{syscall.ENOTDIR, "one of its folders is a file: choose another path"},
	{syscall.EROFS, "its file system is read-only: choose another path, or stdout or stderr"},
	{syscall.ENOSPC, "make room on its disk, or choose another path"},
	{syscall.EDQUOT, "make room on its disk, or choose another path"},
	{syscall.EMFILE, "raise the limit of open files: ulimit -n"},
	{syscall.ENFILE, "raise the limit of open files: ulimit -n"},
}

// logProblem returns the error of a log that cannot be opened, with its fix.
func logProblem(name string, err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err // without the path once more
	}
	if errors.Is(err, syscall.ENXIO) { // no reader; the advice depends on the kind of file
		var mode fs.FileMode
		if info, err := os.Stat(name); err == nil {
			mode = info.Mode()
		}
		switch {
		case mode&fs.ModeSocket != 0:
			return fmt.Errorf("cannot open the log %s: it is a socket, which cannot be opened; write stdout or stderr if it is one of those, else name a file or a pipe", name)
		case mode&fs.ModeNamedPipe != 0:
			return fmt.Errorf("cannot open the log: nobody reads the pipe %s; start its reader first: %w", name, err)
		}
		return fmt.Errorf("cannot open the log: nothing is behind the device %s; choose another path, or stdout or stderr: %w", name, err)
	}
	fix := "choose another path, or stdout or stderr"
	for _, a := range logAdvice {
		if errors.Is(err, a.cause) {
			fix = a.fix
			break
		}
	}
	return fmt.Errorf("cannot open the log %s: %w; %s", name, err, fix)
}

// reopen opens the path again, and closes the file before.
//
// With O_NONBLOCK, a named pipe without a reader fails, where it would wait for one in
// silence. For other files it has no effect.
func (f *logFile) reopen() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return logProblem(f.path, err)
	}
	f.mu.Lock()
	old := f.file
	f.file = file
	f.mu.Unlock()
	if old != nil {
		return old.Close()
	}
	return nil
}

// Write implements io.Writer.
func (f *logFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Write(b)
}
