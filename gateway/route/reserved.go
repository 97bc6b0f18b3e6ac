package route

// IsReserved tells whether a path is one of the gateway's own: /health, /ready, /metrics,
// and /admin with all below it. They win over every prefix.
func IsReserved(path []byte) bool {
	return IsProbe(path) || string(path) == "/metrics" || IsAdmin(path)
}

// IsProbe tells whether a path is that of a health check, which no limit refuses: a load balancer
// must not take the gateway for dead because of its clients.
func IsProbe(path []byte) bool {
	return string(path) == "/health" || string(path) == "/ready"
}

// IsAdmin tells whether a path is that of an administrative call.
func IsAdmin(path []byte) bool {
	const admin = "/admin"
	return len(path) >= len(admin) && string(path[:len(admin)]) == admin && (len(path) == len(admin) || path[len(admin)] == '/')
}
