package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"yatagarasu/loadtest/process"
)

// machine describes the machine and the programs of a run.
type machine struct {
	Date, CPU, Kernel, Commit string
	Cores                     int
	Versions                  []string
}

func describeMachine() machine {
	m := machine{Date: time.Now().UTC().Format(time.DateOnly), Cores: runtime.NumCPU(), CPU: "unknown"}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
			}
		}
	}
	m.Kernel = firstLine("uname", "-sr")
	m.Commit = firstLine("git", "describe", "--always", "--dirty")
	m.Versions = []string{runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/valyala/fasthttp" {
				m.Versions = append(m.Versions, "fasthttp "+d.Version)
			}
		}
	}
	if binary, err := process.Find("yatagarasu"); err == nil {
		m.Versions = append(m.Versions, firstLine(binary, "-version"))
	}
	for _, command := range [][]string{{"nginx", "-v"}, {"haproxy", "-v"}, {"varnishd", "-V"}, {"wrk", "-v"}} {
		m.Versions = append(m.Versions, firstLine(command[0], command[1:]...))
	}
	m.Versions = append(m.Versions, "caddy "+firstLine("caddy", "version"))
	return m
}

// firstLine returns the first line that a command writes. stderr and failures count too:
// some programs print their version on stderr, and wrk fails after doing so.
func firstLine(name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	if len(out) == 0 {
		return fmt.Sprintf("%s: %v", name, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	line, _, _ = strings.Cut(line, " Copyright")
	line, _, _ = strings.Cut(line, " - https")
	return strings.TrimSpace(line)
}
