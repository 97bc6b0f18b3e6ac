package file

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func TestParseSize(t *testing.T) {
	for s, want := range map[string]Size{
		"0": 0, "1": 1, "65536": 65536, "5B": 5, "1KB": 1000, "1KiB": 1024, "10 MB": 10e6, "1MiB": 1 << 20, "1.5GB": 15e8,
		"2GiB": 2 << 30, "1TB": 1e12, "1TiB": 1 << 40, "0.5KiB": 512, "9223372036854775807": math.MaxInt64, "007": 7, "8388607TiB": 8388607 << 40,
	} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", s, got, err, want)
		}
	}
	for s, want := range map[string]error{
		"": errSizeSyntax, "B": errSizeSyntax, " 1": errSizeSyntax, "1 ": errSizeSyntax, "1  MB": errSizeSyntax, "-1": errSizeSyntax, "+1": errSizeSyntax,
		"1mb": errSizeSyntax, "1Kb": errSizeSyntax, "1K": errSizeSyntax, "1.MB": errSizeSyntax, ".5MB": errSizeSyntax, "1e3": errSizeSyntax, "0x10": errSizeSyntax,
		"NaN": errSizeSyntax, "Inf": errSizeSyntax, "1_000": errSizeSyntax, "1/2MB": errSizeSyntax, strings.Repeat("1", 41): errSizeSyntax,
		"9223372036854775808": errSizeRange, "8388608TiB": errSizeRange, "99999999999999999999TB": errSizeRange, "1.5": errSizeWhole, "0.3KiB": errSizeWhole,
	} {
		if got, err := ParseSize(s); err != want {
			t.Errorf("%q: got %d, %v; want %v", s, got, err, want)
		}
	}
}

func TestSizeString(t *testing.T) {
	for s, want := range map[Size]string{0: "0B", 1: "1B", 1000: "1KB", 1024: "1KiB", 256e6: "256MB", 64 << 10: "64KiB", 1<<40 + 1: "1099511627777B", -1000: "-1KB", math.MinInt64: "-9223372036854775808B"} {
		if got := s.String(); got != want {
			t.Errorf("%d: got %s, want %s", int64(s), got, want)
		}
		if s < 0 {
			continue
		}
		if back, err := ParseSize(s.String()); err != nil || back != s {
			t.Errorf("%s: got %d, %v back", s, back, err)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "30": 30 * time.Second, "0.5": 500 * time.Millisecond, "3600": time.Hour, "1h30m": 90 * time.Minute, "250ms": 250 * time.Millisecond,
		"1.5s": 1500 * time.Millisecond, "0.0000000001": 0,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", s, got, err, want)
		}
	}
	for s, want := range map[string]error{
		"": errDurationSyntax, "s": errDurationSyntax, "+1s": errDurationSyntax, ".5s": errDurationSyntax, "1 s": errDurationSyntax, "1d": errDurationSyntax,
		"NaN": errDurationSyntax, ".inf": errDurationSyntax, "1e3": errDurationSyntax, "0x10": errDurationSyntax, "1_000": errDurationSyntax,
		"-1": errDurationNegative, "-1s": errDurationNegative, "9999999999": errDurationRange, "99999999999999999999999999999": errDurationRange,
		"9999999h": errDurationSyntax,
	} {
		if got, err := ParseDuration(s); err != want {
			t.Errorf("%q: got %v, %v; want %v", s, got, err, want)
		}
	}
}

func TestSecretPrintsNothing(t *testing.T) {
	const value = "K7MDENG"
	s := NewSecret(value)
	type holder struct {
		A Secret
		B *Secret
	}
	h := holder{s, &s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%10s"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", h)
	}
	fmt.Fprintln(&out, s, s.String(), s.GoString())
	for _, encode := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		b, err := encode(h)
		if err != nil || !bytes.Contains(b, []byte("***")) {
			t.Errorf("%s, %v", b, err)
		}
		out.Write(b)
	}
	if b, err := json.Marshal(map[Secret]int{s: 1}); err != nil || string(b) != `{"***":1}` {
		t.Errorf("as a key: %s, %v", b, err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "s", s, "h", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "s", s, "h", h)
	hex := fmt.Sprintf("%x", value)
	if text := out.String(); strings.Contains(text, value) || strings.Contains(strings.ToLower(text), hex) {
		t.Errorf("the value is in:\n%s", text)
	}
	if s.Reveal() != value || s.Empty() || !(Secret{}).Empty() || s != NewSecret(value) {
		t.Error("the value is lost")
	}
	if fmt.Sprint(Secret{}) != "***" {
		t.Error("the empty secret can be told from others")
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"region", "region", 0}, {"regoin", "region", 1}, {"kitten", "sitting", 3},
		{"bukcet", "bucket", 1}, {strings.Repeat("x", 65), "x", 65},
	} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
	keys := []string{"bucket", "key_prefix", "region", "endpoint", "access_key", "secret_key", "session_token", "addressing", "ca_file", "timeouts", "max_connections", "max_waiting", "allow_query", "empty_segments", "request_payer", "access_denied", "forward_traceparent", "retry", "breaker", "probe_interval", "replicas", "failover_on_404", "hedge", "credentials"}
	for key, want := range map[string]string{
		"Region": "region", "acces_key": "access_key", "accesskey": "access_key", "secretKey": "secret_key", "xyz": "", "secret": "secret_key", "buckte": "bucket", "name": "",
	} {
		if got := closest(key, keys); want != got {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

func TestIsNumber(t *testing.T) {
	for s, want := range map[string]bool{
		"0": true, "-0": true, "12": true, "1.5": true, "-1.5e3": true, "1E+10": true, "1e-5": true, "99999999999999999999": true, "0.1": true,
		"": false, "-": false, "01": false, "+1": false, "1.": false, ".1": false, "0x1": false, "1e": false, "1e9999": false, "NaN": false, "1_0": false, strings.Repeat("9", 41): false,
	} {
		if got := IsNumber(s); got != want {
			t.Errorf("%q: got %v", s, got)
		}
	}
}
