package gateway

import "fmt"

// attend tells the service manager that the gateway serves, and that it is alive,
// until stop is closed.
func (g *Gateway) attend(stop <-chan struct{}) {
	if in := g.opts.Inherited; in.HandedOver() {
		in.Confirm()
	}
	g.notify.Send("READY=1", g.statusServing())
	g.notify.KeepAlive(stop)
}

// statusServing is the status line of a gateway that serves.
func (g *Gateway) statusServing() string {
	status := fmt.Sprintf("STATUS=serving %d bucket(s) on %s, configuration generation %d", len(g.Generation.Load().Buckets), g.Addr(), g.Generation.Load().Number)
	if last := g.operators.LastReload.Load(); last != nil && len(last.Errors) > 0 {
		status += fmt.Sprintf("; the last reload failed: %d mistake(s), see the log", len(last.Errors))
	}
	return status
}
