package gateway

import (
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/listen"
)

const (
	// descriptorsKept are for listeners, logs, and files that are read.
	descriptorsKept = 32
	// descriptorsPerOrigin are a connection to an origin, and the pipe from it to a client.
	descriptorsPerOrigin = 3
)

// maxOpenFiles is more than any process has.
const maxOpenFiles = 1 << 30

// clientsWithin returns how many of files descriptors are for clients: what origins with so
// many connections, operators and the gateway itself are left. Origins get a third at most.
func clientsWithin(files, origins int) int {
	return max(1, files-descriptorsKept-listen.OperatorsWithin(files)-min(descriptorsPerOrigin*origins, files/3))
}

// filesFor returns how many descriptors so many clients and connections to origins take.
func filesFor(clients, origins int) int {
	own := clients + descriptorsKept + listen.MaxOperators
	return min(own+descriptorsPerOrigin*origins, own*3/2+1)
}

// limitConns sets the limits of client connections to those of c, as far as the descriptors
// last: without some for origins, clients would be let in for nothing.
func (g *Gateway) limitConns(c *config.Config) {
	origins := 0
	for i := range c.Buckets {
		for _, s := range c.Buckets[i].S3.Origins() {
			origins += s.MaxConnections
		}
	}
	files, limits := openFiles(), &c.Server.Limits
	most := clientsWithin(files, origins)
	if limits.MaxConnections > 0 && limits.MaxConnections <= most {
		most = limits.MaxConnections
	} else if limits.MaxConnections > most {
		g.Log.Warn().Int("max_connections", limits.MaxConnections).Int("allowed", most).
			Int("open_files", files).Int("wanted_open_files", filesFor(limits.MaxConnections, origins)).
			Msg("the limit of open files is too low for max_connections: fewer are accepted, so that some descriptors are left for origins, logs and operators; raise it (LimitNOFILE= of systemd, ulimit -Hn), or lower max_connections")
	}
	g.conns.Limit(most, limits.MaxConnectionsPerAddress)
}
