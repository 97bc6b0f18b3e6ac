package file

import (
	"regexp"
	"strings"
)

// keyForm matches what looks like a key. 31: requests_per_second_per_address
var keyForm = regexp.MustCompile(`^(s3|failover_on_404|[A-Za-z_-]{1,31})$`)

// printable returns key for use in a message: a mistyped key is worth showing,
// but a line out of place can make a key of a secret.
func printable(key string) string {
	if keyForm.MatchString(key) {
		return key
	}
	return "?"
}

// closest returns the known key of which key is most likely a misspelling, "" if of none.
func closest(key string, known []string) string {
	best, distance := "", 1+len(key)/4
	for _, k := range known {
		if len(key) >= 4 && strings.HasPrefix(k, strings.ToLower(key)+"_") {
			return k
		}
		if d := editDistance(strings.ToLower(key), k); d <= distance && (best == "" || d < distance) {
			best, distance = k, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, substitutions and swaps of
// neighbours between a and b (optimal string alignment).
func editDistance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	var before, last, row [66]int
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
