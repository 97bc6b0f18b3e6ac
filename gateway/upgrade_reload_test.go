package gateway

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"yatagarasu/gateway/handover"
)

// TestReloadInUpgrade has the configuration reloaded after the new process has read it:
// that is started again. Reloads that come after the hand-over are for the new process.
func TestReloadInUpgrade(t *testing.T) {
	letTrap(t, syscall.SIGHUP)
	const size = 8 << 20
	gate := make(chan struct{})
	origin := gatedOrigin(t, size, gate)
	program := writeScript(t, `
if ! [ -e $0.first ]; then
	touch $0.first
	until [ -e $0.reloaded ]; do sleep 0.01; done
	echo READY=1 >&3; read line <&3; echo "the first one is told $line" >&3
	exit 7
fi
trap 'touch $0.hup; exit 0' HUP
echo READY=1 >&3; read line <&3; echo SERVING=1 >&3; exec 3>&-
for i in $(seq 600); do sleep 0.05 & wait $!; done`)
	gw, write := fileGateway(t, oneBucket("/pub", origin.URL)+metricsYAML, func(o *Options) { o.Program, o.UpgradeDrain = program, time.Hour })
	gw.stopped = true // Run ends by the upgrade
	download := beginDownload(t, gw, size)
	defer download.Body.Close()
	gw.signals <- syscall.SIGUSR2
	waitForFile(t, program+".first")
	write(oneBucket("/new", origin.URL) + metricsYAML)
	if r := gw.requestReload(); len(r.Errors) > 0 {
		t.Fatal(r.Errors)
	}
	if err := os.WriteFile(program+".reloaded", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	gw.log.waitForWithin(t, 20*time.Second, "upgraded: the new process serves")
	gw.log.waitFor(t, "reloaded meanwhile: starting the new process again")

	if r := gw.requestReload(); len(r.Errors) == 0 || r.Errors[0] != errSuperseded.Error() {
		t.Errorf("a reload of the old process: %+v", r)
	}
	gw.signals <- syscall.SIGHUP
	gw.log.waitFor(t, "passed on to the new process")
	waitForFile(t, program+".hup")
	close(gate)
	expectRest(t, download, size)
	if err := <-gw.done; err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// letTrap has scripts be able to trap a signal: a shell cannot where that is ignored when it
// starts, as with nohup, and one that this process catches is not.
func letTrap(t *testing.T, s os.Signal) {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, s)
	t.Cleanup(func() { signal.Stop(caught) })
}

// TestReloadHeldInUpgrade has SIGHUP come after the new process has read the file, while
// reloads are held: it is for the new process once that serves.
func TestReloadHeldInUpgrade(t *testing.T) {
	letTrap(t, syscall.SIGHUP)
	program := writeScript(t, `
trap 'touch $0.hup; exit 0' HUP
echo READY=1 >&3; read line <&3; echo SERVING=1 >&3; exec 3>&-
for i in $(seq 600); do sleep 0.05 & wait $!; done`)
	gw := startGateway(t, oneBucket("/pub", "http://127.0.0.1:1")+metricsYAML, func(o *Options) { o.Program = program })
	s, err := handover.Start(t.Context(), program, gw.opts.UpgradeTimeout, gw.sockets())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.End() })
	over := make(chan struct{})
	gw.reloads.holds <- over
	gw.signals <- syscall.SIGHUP
	eventually(t, "the signal is taken", func() bool { return len(gw.signals) == 0 }) // else Run may see that s is ready first
	gw.succeeded(s, over)
	if err := <-gw.done; err != nil {
		t.Errorf("it ends with %v", err)
	}
	waitForFile(t, program+".hup")
	if strings.Contains(gw.log.String(), "not reloaded") {
		t.Errorf("the log has a reload that failed: %s", gw.log.String())
	}
}

// waitForFile waits until there is a file of this name.
func waitForFile(t *testing.T, name string) {
	t.Helper()
	eventually(t, "there is "+name, func() bool { _, err := os.Stat(name); return err == nil })
}

// TestClaimWaitsForReload has a reload be under way in the old process, for longer than a
// step of the conversation takes, when the new one is ready.
func TestClaimWaitsForReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := net.Pipe()
		defer old.Close()
		go func() {
			bufio.NewReader(old).ReadString('\n')
			time.Sleep(15 * time.Second) // of the test's own clock
			io.WriteString(old, "SERVE=1\n")
		}()
		in := handover.NewInherited(next, nil)
		if err := in.Claim(NewOptions().UpgradeTimeout); err != nil {
			t.Error(err)
		}
	})
}
