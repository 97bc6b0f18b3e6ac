package gateway

import (
	"fmt"
	"io"
)

// inspect sets up what New would, to be looked into and not to serve: no log is opened,
// which would leave files of whoever looks, and nothing is logged.
func inspect(o *Options) (*Gateway, error) {
	quiet := *o
	quiet.Output, quiet.inspects = io.Discard, true
	return New(&quiet)
}

// Check validates the configuration file of o as New would, and writes what is
// wrong to stderr. It returns an exit code: 0 for a valid file.
func Check(o *Options, stdout, stderr io.Writer) int {
	g, err := inspect(o)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	gen := g.generation.Load()
	defer gen.close()
	fmt.Fprintf(stdout, "%s: valid, %d bucket(s)\n", o.ConfigPath, len(gen.config.Buckets))
	return 0
}
