package inspect

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"yatagarasu/gateway/cluster"
	"yatagarasu/gateway/config/shared"
)

// reportCluster writes what was found of what gateways share, and what to do about it. It reports
// whether nothing failed.
func reportCluster(c *shared.Cluster, found []cluster.Finding, w io.Writer) bool {
	sound, where := true, strings.Join(c.Valkey.Addresses, ", ")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\nCLUSTER %s\tAT %s\n", c.Namespace, where)
	for _, f := range found {
		row := f.Check + "\t" + cmp.Or(string(f.Result), "-")
		if took := f.Took.Round(100 * time.Microsecond); f.Result == cluster.Sound && took > 0 {
			row += " " + took.String()
		}
		if f.Result == cluster.Sound && f.Detail != "" {
			row += "\t" + f.Detail
		}
		fmt.Fprintln(table, row)
	}
	table.Flush()
	for _, f := range found {
		if f.Result == cluster.Broken || f.Result == cluster.Doubtful {
			sound = sound && f.Result != cluster.Broken
			writeFailure(w, "cluster at "+where, f.Check, f.Detail, f.Fix)
		}
	}
	return sound
}

// explainPurges says when purges that other gateways are told of are in effect.
func explainPurges(c *shared.Cluster) string {
	if c.Purge.Within == 0 {
		return "shared with other gateways; one that cannot hear of them serves objects as long as they are fresh"
	}
	return fmt.Sprintf("shared with other gateways; in effect within %v even on one that cannot hear of them", c.Purge.Within)
}
