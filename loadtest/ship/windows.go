package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"yatagarasu/loadtest/port"
	"yatagarasu/loadtest/process"
	"yatagarasu/loadtest/s3server"
)

// windows has the binary for Windows serve a real S3 server's objects under Wine, reload and
// stop as an operator there does.
func windows(t *trial) error {
	program := filepath.Join(t.dir, "yatagarasu.exe")
	build := t.command("go", "build", "-buildvcs=false", "-trimpath", "-o", program, ".")
	build.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if _, err := t.output(build); err != nil {
		return err
	}
	wine := newWine(t)
	if err := wine.open(); err != nil {
		return err
	}

	large := strings.Repeat("0123456789abcdef", 4<<20)
	if err := os.Mkdir(filepath.Join(t.dir, "s3"), 0o755); err != nil {
		return err
	}
	server, err := s3server.Start(t.ctx, s3server.Options{Kind: s3server.VersityGW, Dir: filepath.Join(t.dir, "s3"), AccessKey: "windows", SecretKey: "windows-secret", Region: "us-east-1", Log: t.log})
	if err != nil {
		return err
	}
	t.atEnd(server.Stop)
	if err := server.Seed(t.ctx, "things", s3server.Object{Key: "a b/ü.txt", Body: "hello"}, s3server.Object{Key: "large", Body: large}); err != nil {
		return err
	}
	ports := make([]int, 2)
	for i := range ports {
		if ports[i], err = port.Reserve(); err != nil {
			return err
		}
	}
	config := filepath.Join(t.dir, "config.yaml")
	write := func(prefixes ...string) error {
		text := fmt.Sprintf("server: {address: %q}\nmetrics: {enabled: true, address: 127.0.0.1, port: %d}\ncache: {enabled: true}\nbuckets:\n", port.Address(ports[0]), ports[1])
		for _, prefix := range prefixes {
			text += fmt.Sprintf("  - {name: %q, path_prefix: %q, s3: {bucket: things, region: us-east-1, endpoint: %q, access_key: windows, secret_key: windows-secret}}\n", prefix, "/"+prefix, server.Endpoint())
		}
		return os.WriteFile(config, []byte(text), 0o644)
	}
	if err := write("things"); err != nil {
		return err
	}
	gateway, err := t.start(wine.command(t.log, program, "-config", config))
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 30 * time.Second}
	main, admin := "http://"+port.Address(ports[0]), "http://"+port.Address(ports[1])
	err = t.eventually(time.Minute, func() error { _, err := get(client, main+"/ready", 200); return err })
	if err != nil {
		return fmt.Errorf("%w; it said: %s", err, gateway.Output())
	}
	if _, err := t.output(wine.command(nil, program, "-config", config, "-probe=ready")); err != nil {
		return err
	}

	for _, want := range []string{"MISS", "HIT"} {
		if err := fetch(client, main+"/things/a%20b/%C3%BC.txt", want, "hello"); err != nil {
			return err
		}
	}
	if err := fetch(client, main+"/things/large", "MISS", large); err != nil {
		return err
	}
	if _, err := get(client, main+"/things/absent", 404); err != nil {
		return err
	}

	if _, err := get(client, main+"/more/large", 404); err != nil {
		return err
	}
	if err := write("things", "more"); err != nil {
		return err
	}
	answer, err := client.Post(admin+"/admin/reload", "", nil)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != 200 {
		return fmt.Errorf("the reload answers %d", answer.StatusCode)
	}
	if err := fetch(client, main+"/more/a%20b/%C3%BC.txt", "MISS", "hello"); err != nil {
		return fmt.Errorf("after a reload: %w", err)
	}
	return stopUnderWay(t, client, gateway, main, large)
}

// stopUnderWay presses Ctrl+C during a download, which must come to its end before the gateway
// does.
func stopUnderWay(t *trial, client *http.Client, gateway *process.Process, main, want string) error {
	answer, err := client.Get(main + "/more/large")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.CopyN(io.Discard, answer.Body, 1<<20); err != nil {
		return err
	}
	if err := syscall.Kill(gateway.Pid(), syscall.SIGINT); err != nil {
		return err
	}
	err = t.eventually(10*time.Second, func() error {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(main, "http://"), time.Second)
		if err == nil {
			c.Close()
			return errors.New("connections are accepted after Ctrl+C")
		}
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case <-gateway.Done():
		return fmt.Errorf("it ended before the download; it said: %s", gateway.Output())
	default:
	}
	rest, err := io.ReadAll(answer.Body)
	if err != nil || string(rest) != want[1<<20:] {
		return fmt.Errorf("the download under way at Ctrl+C has %d bytes of %d, %v", len(rest)+(1<<20), len(want), err)
	}
	select {
	case <-gateway.Done():
	case <-time.After(15 * time.Second):
		return errors.New("it does not end after Ctrl+C")
	}
	if said := gateway.Output(); gateway.ExitCode() != 0 || !strings.Contains(said, "stopped; nothing was cut") {
		return fmt.Errorf("after Ctrl+C: exit code %d; it said: %s", gateway.ExitCode(), said)
	}
	return nil
}

// fetch gets an object, and returns an error unless it comes from where it should and is right.
func fetch(client *http.Client, url, from, want string) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if got := answer.Header.Get("X-Cache"); err != nil || answer.StatusCode != 200 || got != from || string(body) != want {
		return fmt.Errorf("%s: status %d, X-Cache %q, not %q, %d bytes, not %d, %v", url, answer.StatusCode, got, from, len(body), len(want), err)
	}
	return nil
}

// wine runs programs for Windows. What they see as a machine is kept in folder from one run of
// the step to the next, as making it takes half a minute.
type wine struct {
	*trial
	folder string
	env    []string
}

func newWine(t *trial) wine {
	folder := filepath.Join(t.root, "bin", "ship", "wine-folder")
	return wine{t, folder, append(os.Environ(), "WINEPREFIX="+folder, "WINEDEBUG=-all")}
}

// command returns a command that runs a program for Windows, with its standard output in out.
func (w wine) command(out io.Writer, args ...string) *exec.Cmd {
	cmd := w.trial.command("wine", args...)
	cmd.Env = w.env
	if out != nil {
		cmd.Stdout = out
	}
	return cmd
}

// end ends what runs in the folder.
func (w wine) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, arg := range []string{"-k", "-w"} {
		cmd := exec.CommandContext(ctx, "wineserver", arg)
		cmd.Env = w.env
		cmd.Run() // 1 where nothing runs
	}
	return ctx.Err()
}

// open makes the folder, and has what runs there end with the step. Debian's Wine lacks the
// library from which Go takes its random numbers; here it is an alias of the function of the same
// meaning that Wine has.
func (w wine) open() error {
	if err := w.debian("wine", "x86_64-w64-mingw32-ld=binutils-mingw-w64-x86-64"); err != nil {
		return err
	}
	made := filepath.Join(w.folder, "made")
	w.atEnd(w.end)
	if _, err := os.Stat(made); err == nil {
		return w.end() // what a killed run left
	}
	if err := os.RemoveAll(w.folder); err != nil {
		return err
	}
	boot := w.trial.command("wineboot", "--init")
	boot.Env = append(w.env, "WINEDLLOVERRIDES=mscoree,mshtml=") // it would offer to download them
	if _, err := w.output(boot); err != nil {
		return err
	}
	source := map[string]string{
		"alias.def": "LIBRARY bcryptprimitives.dll\nEXPORTS\n  ProcessPrng = advapi32.SystemFunction036\n",
		"alias.s":   ".text\n.globl DllMain\nDllMain: mov $1,%eax\nret\n",
	}
	for name, text := range source {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	object := filepath.Join(w.dir, "alias.o")
	if err := w.run("x86_64-w64-mingw32-as", filepath.Join(w.dir, "alias.s"), "-o", object); err != nil {
		return err
	}
	library := filepath.Join(w.folder, "drive_c", "windows", "system32", "bcryptprimitives.dll")
	if err := w.run("x86_64-w64-mingw32-ld", "-shared", "-e", "DllMain", object, filepath.Join(w.dir, "alias.def"), "-o", library); err != nil {
		return err
	}
	return os.WriteFile(made, nil, 0o644)
}
