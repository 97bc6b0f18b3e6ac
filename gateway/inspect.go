package gateway

import (
	"io"
	"yatagarasu/gateway/serve"
)

// Inspect sets up what New would for the configuration of o, to be looked into and not to
// serve: no log is opened, which would leave files of whoever looks, and nothing is logged.
// The caller closes the generation.
func Inspect(o *Options) (*serve.Generation, error) {
	quiet := *o
	quiet.Output, quiet.inspects = io.Discard, true
	g, err := New(&quiet)
	if err != nil {
		return nil, err
	}
	return g.Generation.Load(), nil
}
