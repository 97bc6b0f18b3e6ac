package gateway

import (
	"fmt"
	"io"
)

// Check writes that the configuration of gen, from the file at path, is valid.
func Check(gen *generation, path string, w io.Writer) {
	fmt.Fprintf(w, "%s: valid, %d bucket(s)\n", path, len(gen.config.Buckets))
}
