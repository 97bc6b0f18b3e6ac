package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Stat is what the kernel says of a process in /proc/PID/stat, see proc(5); Linux only.
type Stat struct {
	Parent int
	CPU    time.Duration // user and system time so far, in steps of 10 ms
	RSS    int64         // resident set in bytes, less exact than Memory
}

// ReadStat returns the Stat of any process. The error of one that has ended is an
// *fs.PathError.
func ReadStat(pid int) (Stat, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	b, err := os.ReadFile(path)
	if err != nil {
		return Stat{}, err
	}
	s, err := parseStat(string(b))
	if err != nil {
		return Stat{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// clockTick is USER_HZ, the unit of times: 100 a second on every architecture of Linux.
const clockTick = 10 * time.Millisecond

func parseStat(line string) (Stat, error) {
	// The name is in parentheses and may hold any character, parentheses too.
	end := strings.LastIndex(line, ") ")
	if end < 0 {
		return Stat{}, errors.New("no name")
	}
	f := strings.Fields(line[end+2:]) // from field 3, the state
	if len(f) < 22 {
		return Stat{}, errors.New("too few fields")
	}
	parent, e1 := strconv.Atoi(f[1])
	user, e2 := strconv.ParseInt(f[11], 10, 64)
	system, e3 := strconv.ParseInt(f[12], 10, 64)
	pages, e4 := strconv.ParseInt(f[21], 10, 64)
	return Stat{parent, time.Duration(user+system) * clockTick, pages * int64(os.Getpagesize())}, errors.Join(e1, e2, e3, e4)
}

// Memory returns the resident set in bytes; Linux only.
func (p *Process) Memory() (int64, error) { return p.status("VmRSS") }

// PeakMemory returns the largest resident set so far in bytes; Linux only.
func (p *Process) PeakMemory() (int64, error) { return p.status("VmHWM") }

// status returns the bytes of a line of /proc/PID/status.
func (p *Process) status(name string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "\n"+name+":")
	var kb int64
	if _, err := fmt.Sscanf(rest, "%d kB", &kb); err != nil {
		return 0, fmt.Errorf("no %s in /proc", name)
	}
	return kb << 10, nil
}
