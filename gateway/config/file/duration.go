package file

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"time"
)

var (
	errDurationSyntax   = errors.New("is no duration")
	errDurationRange    = errors.New("is too long for a duration")
	errDurationNegative = errors.New("is negative")
)

// ParseDuration returns the duration that s means: a number of seconds ("30",
// "0.5") or numbers with the units of time.ParseDuration ("1h30m", "250ms").
// It is never negative.
func ParseDuration(s string) (time.Duration, error) {
	if strings.HasPrefix(s, "-") {
		return 0, errDurationNegative
	}
	if IsDecimal(s) {
		r := scaled(s, int64(time.Second))
		ns := new(big.Int).Quo(r.Num(), r.Denom())
		if !ns.IsInt64() || ns.Int64() > math.MaxInt64/2 {
			return 0, errDurationRange
		}
		return time.Duration(ns.Int64()), nil
	}
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, errDurationSyntax
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errDurationSyntax
	}
	return d, nil
}

// scaled returns the decimal number s times unit.
func scaled(s string, unit int64) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		panic("BUG: scaled is for decimal numbers")
	}
	return r.Mul(r, new(big.Rat).SetInt64(unit))
}
