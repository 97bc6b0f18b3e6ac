package gateway

import "time"

// Bounds of the gateway as clients and operators meet them.
const (
	boundAdminBody      = 1 << 20 // bytes of the body of an administrative call
	boundOperatorConns  = 256     // connections of the metrics listener
	boundPrewarmJobs    = 4       // prewarm jobs under way at once
	boundKeptJobs       = 16      // finished ones that can be asked about
	boundPrewarmFetches = 4       // fetches of one job at once
	boundFills          = 4       // whole objects that a bucket fetches because of parts, at once
	boundPartGap        = 80      // bytes between two parts below which they are sent as one
	boundProxyHeader    = 5 * time.Second
)
