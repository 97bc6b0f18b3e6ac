package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestThreatMemory has another process of the same user look into the gateway's memory, as a
// debugger, a core dump or a neighbour would.
func TestThreatMemory(t *testing.T) {
	adopt(t)
	program := buildProgram(t)
	config := writeConfig(t, strings.Replace(bucketConfig("http://127.0.0.1:1", "admin: {token: 0123456789abcdef}\n"), "server: {", "server: {ready: config, ", 1))
	var user *syscall.Credential // nil: the test's own
	uid := os.Getuid()
	if uid == 0 { // root may look into everything
		uid = 65534
		user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
		for _, path := range []string{program, config} {
			for _, dir := range []string{filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	// So that a core dump would be allowed, as far as the hard limit goes.
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &own); err != nil {
		t.Fatal(err)
	}
	raised := own
	raised.Cur = own.Max
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &raised); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_CORE, &own) })

	// look reads a file of a process as the gateway's user.
	look := func(pid int, file string) (string, error) {
		cmd := exec.Command("cat", fmt.Sprintf("/proc/%d/%s", pid, file))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
		out, err := cmd.Output()
		return string(out), err
	}
	coreLimit := regexp.MustCompile(`(?m)^Max core file size +(\S+)`)
	expect := func(pid int, kept bool) {
		t.Helper()
		if _, err := look(pid, "environ"); (err != nil) != kept {
			t.Errorf("process %d: reading its environment: %v, want it kept: %t", pid, err, kept)
		}
		if _, err := look(pid, "maps"); (err != nil) != kept {
			t.Errorf("process %d: reading its memory's map: %v, want it kept: %t", pid, err, kept)
		}
		limits, err := look(pid, "limits")
		if err != nil {
			t.Fatal(err)
		}
		want := "0"
		if !kept && own.Max != 0 {
			want = "unlimited"
			if own.Max != unix.RLIM_INFINITY {
				want = fmt.Sprint(own.Max)
			}
		}
		if m := coreLimit.FindStringSubmatch(limits); m == nil || m[1] != want {
			t.Errorf("process %d: the limit of core dumps is %q, want %s", pid, m, want)
		}
	}
	t.Run("T106_the_token_command", func(t *testing.T) {
		pipe := filepath.Join(filepath.Dir(config), "pipe") // at which it waits for its secrets
		if err := unix.Mkfifo(pipe, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "token", "-config", pipe)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
		startProcess(t, cmd)
		writer, err := os.OpenFile(pipe, os.O_WRONLY, 0) // once it reads
		if err != nil {
			t.Fatal(err)
		}
		defer writer.Close()
		expect(cmd.Process.Pid, true)
	})
	for _, c := range []struct {
		name string
		args []string
		kept bool
	}{
		{"T106_memory_is_kept", nil, true},
		{"T106_a_flag_opens_it", []string{"-core-dumps"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			free := freeAddresses(t, 2)
			text, err := os.ReadFile(config)
			if err != nil {
				t.Fatal(err)
			}
			_, port, _ := strings.Cut(free[1], ":")
			if err := os.WriteFile(config, []byte(regexp.MustCompile(`port: \d+`).ReplaceAllString(string(text), "port: "+port)), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(program, append([]string{"-config", config, "-listen.address", free[0], "-log.level", "info"}, c.args...)...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
			out := startProcess(t, cmd)
			out.waitFor(t, 1, `"message":"serving"`)
			expect(cmd.Process.Pid, c.kept)
			scrape := func() string {
				t.Helper()
				code, metrics := get("http://" + free[1] + "/metrics")
				if code != 200 {
					t.Fatalf("metrics: %d", code)
				}
				return metrics
			}
			metrics := scrape()
			for _, name := range []string{"process_open_fds", "process_max_fds", "process_resident_memory_bytes"} {
				if !strings.Contains(metrics, "\n"+name+" ") || strings.Contains(metrics, "\n"+name+" 0\n") {
					t.Errorf("no %s", name)
				}
			}
			if strings.Contains(metrics, "\nprocess_io_") == c.kept {
				t.Error("what the process reads and writes is there though it is not shown, or not there though it is")
			}

			// The program that takes over does as well.
			next := upgrade(t, cmd.Process, out, 1)
			if code := waitExit(t, cmd, out); code != 0 {
				t.Errorf("exit code %d", code)
			}
			expect(next.Pid, c.kept)
			scrape()
			if err := next.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if code := exitCode(t, next, out); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if strings.Contains(out.String(), "ERROR") || strings.Contains(out.String(), "permission denied") {
				t.Errorf("the log complains:\n%s", out)
			}
		})
	}
}
