package file

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. In the file it is a plain number, or a number with
// one of the units B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB
// (powers of 1024): "64KiB", "1.5 GB".
type Size int64

// sizeUnits are the units of a Size, large before small in each family.
var sizeUnits = [...]struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

var (
	errSizeSyntax = errors.New("is no size")
	errSizeRange  = errors.New("is too large for a size")
	errSizeZero   = errors.New("must be more than nothing")
	errSizeWhole  = errors.New("is no whole number of bytes")
)

// ParseSize returns the size that s means.
func ParseSize(s string) (Size, error) {
	number, unit := s, int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			number, unit = strings.TrimSuffix(rest, " "), u.bytes
			break
		}
	}
	if !IsDecimal(number) {
		return 0, errSizeSyntax
	}
	r := scaled(number, unit)
	if !r.IsInt() {
		return 0, errSizeWhole
	}
	if !r.Num().IsInt64() {
		return 0, errSizeRange
	}
	return Size(r.Num().Int64()), nil
}

// String returns the size with the largest unit that divides it.
func (s Size) String() string {
	best := sizeUnits[len(sizeUnits)-1]
	for _, u := range sizeUnits {
		if s != 0 && s != math.MinInt64 && int64(s)%u.bytes == 0 && u.bytes > best.bytes {
			best = u
		}
	}
	return strconv.FormatInt(int64(s)/best.bytes, 10) + best.name
}
