package token

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"1", "1", 0}, {"1", "1.0", 0}, {"1", "1e0", 0}, {"10", "1E1", 0}, {"0.001", "1e-3", 0}, {"0", "-0", 0}, {"0", "0e999999", 0}, {"-0.0", "0", 0},
		{"1", "2", -1}, {"-1", "1", -1}, {"-2", "-1", -1}, {"0", "-1", 1}, {"0", "1e-300", -1},
		{"9007199254740993", "9007199254740992", 1}, {"9007199254740993", "9007199254740993.0", 0}, {"9007199254740993", "9007199254740993.00000000000000000001", -1},
		{"123456789012345678901234567890", "123456789012345678901234567891", -1},
		{"1e400", "1e401", -1}, {"-1e400", "1", -1}, {"99", "100", -1}, {"100", "1e2", 0}, {"1.5", "1.50", 0}, {"12.5", "12.05", 1}, {"0.1", "0.01", 1},
		{"1e999999999999999", "9e999999999999999", -1},
	} {
		a, okA := ParseNumber(c.a)
		b, okB := ParseNumber(c.b)
		if !okA || !okB {
			t.Errorf("%s or %s is no number", c.a, c.b)
			continue
		}
		if got := a.Compare(b); got != c.want {
			t.Errorf("Compare(%s, %s) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := b.Compare(a); got != -c.want {
			t.Errorf("Compare(%s, %s) = %d, want %d", c.b, c.a, got, -c.want)
		}
	}
}

func TestParseNumberRefuses(t *testing.T) {
	for _, s := range []string{"", "-", "x", "1e1000000000000000", "NaN", "1.2.3", "e5", "1e", "1ex", "Infinity", "1e99999999999999999999"} {
		if n, ok := ParseNumber(s); ok {
			t.Errorf("%q is taken as %+v", s, n)
		}
	}
}

// TestCompareMatchesBig compares Compare with math/big.
func TestCompareMatchesBig(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() string {
		s := ""
		if r.IntN(2) == 0 {
			s = "-"
		}
		s += fmt.Sprint(r.IntN(30))
		if r.IntN(2) == 0 {
			s += fmt.Sprintf(".%0*d", 1+r.IntN(4), r.IntN(100))
		}
		if r.IntN(2) == 0 {
			s += fmt.Sprintf("e%d", r.IntN(9)-4)
		}
		return s
	}
	for range 200_000 {
		s, u := random(), random()
		a, okA := ParseNumber(s)
		b, okB := ParseNumber(u)
		x, okX := new(big.Rat).SetString(s)
		y, okY := new(big.Rat).SetString(u)
		if !okA || !okB || !okX || !okY {
			t.Fatalf("%s, %s: %v %v %v %v", s, u, okA, okB, okX, okY)
		}
		if got, want := a.Compare(b), x.Cmp(y); got != want {
			t.Fatalf("Compare(%s, %s) = %d, want %d", s, u, got, want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for _, c := range []struct {
		text     string
		want     int64
		fraction bool
		ok       bool
	}{
		{"0", 0, false, true}, {"-0", 0, false, true}, {"1772366400", 1772366400, false, true}, {"1772366400.5", 1772366400, true, true},
		{"1.7723664e9", 1772366400, false, true}, {"17723664e2", 1772366400, false, true}, {"0.5", 0, true, true}, {"5e-9", 0, true, true},
		{"253402300799", lastSecond, false, true}, {"253402300800", 0, false, false}, {"1e300", 0, false, false}, {"-1", 0, false, false}, {"-0.5", 0, false, false},
		{"1e12", 0, false, false}, {"100.0", 100, false, true},
	} {
		n, ok := ParseNumber(c.text)
		if !ok {
			t.Errorf("%s is no number", c.text)
			continue
		}
		got, fraction, ok := n.seconds()
		if ok != c.ok || ok && (got != c.want || fraction != c.fraction) {
			t.Errorf("%s: %d, %v, %v; want %d, %v, %v", c.text, got, fraction, ok, c.want, c.fraction, c.ok)
		}
	}
}
