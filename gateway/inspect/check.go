// Package inspect has the commands that look and serve nothing: check, explain, doctor and
// token.
package inspect

import (
	"fmt"
	"io"
	"yatagarasu/gateway/serve"
)

// Check writes that the configuration of gen, from the file at path, is valid.
func Check(gen *serve.Generation, path string, w io.Writer) {
	fmt.Fprintf(w, "%s: valid, %d bucket(s)\n", path, len(gen.Config.Buckets))
}
