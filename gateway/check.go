package gateway

import (
	"fmt"
	"io"
	"os"

	"yatagarasu/gateway/config"
)

// Check validates the configuration file of o as New would, and writes what is
// wrong, and what this build does not enforce, to stderr. It returns an exit
// code: 0 for a valid file.
func Check(o *Options, stdout, stderr io.Writer) int {
	c, err := config.Load(o.ConfigPath, os.LookupEnv)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	for _, u := range c.Unenforced {
		fmt.Fprintf(stderr, "warning: %s\n", u)
	}
	fmt.Fprintf(stdout, "%s: valid, %d bucket(s)\n", o.ConfigPath, len(c.Buckets))
	return 0
}
