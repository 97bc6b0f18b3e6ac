package listen

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// Closing returns how many closed connections of a TCP port have not delivered all that was
// written to them: their clients have not acknowledged the last bytes, or the end. The kernel
// goes on sending after the process has ended, for as long as the network is there.
func Closing(port int) (n int) {
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue // no IPv6, or no /proc: nothing is known
		}
		local := fmt.Sprintf(":%04X", port)
		for lines := bufio.NewScanner(f); lines.Scan(); {
			// number, local address, remote address, state: proc_pid_net(5)
			fields := strings.Fields(lines.Text())
			if len(fields) < 4 || !strings.HasSuffix(fields[1], local) {
				continue
			}
			switch fields[3] {
			case "04", "09", "0B": // FIN_WAIT1, LAST_ACK, CLOSING (net/tcp_states.h)
				n++
			}
		}
		f.Close()
	}
	return n
}
