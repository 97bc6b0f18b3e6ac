package observe

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"
)

func TestAppendClipped(t *testing.T) {
	for _, c := range []struct {
		name, text string
		most       int
		want       string
	}{
		{"short", "/pub/x", 512, "/pub/x"},
		{"as long as may be", strings.Repeat("x", 20), 20, strings.Repeat("x", 20)},
		{"longer", strings.Repeat("x", 21), 20, strings.Repeat("x", 17) + "…"},
		{"not within a character", strings.Repeat("é", 20), 20, strings.Repeat("é", 8) + "…"},
		{"nor beyond it", "x" + strings.Repeat("日", 20), 20, "x" + strings.Repeat("日", 5) + "…"},
		{"quotes take two", strings.Repeat(`"`, 20), 20, strings.Repeat(`"`, 8) + "…"},
		{"what is no text takes six", strings.Repeat("\xff", 20), 20, "\xff\xff…"},
		{"control bytes, too", strings.Repeat("\x01", 20), 20, "\x01\x01…"},
		{"none fits", strings.Repeat("\x01", 20), 5, "…"},
	} {
		if got := string(AppendClipped([]byte("> "), []byte(c.text), c.most)); got != "> "+c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		in := []byte(c.text)
		if got := string(AppendClipped(in[:0], in, c.most)); got != c.want {
			t.Errorf("%s, in its own place: %q, want %q", c.name, got, c.want)
		}
	}
}

// FuzzAppendClipped has what a line takes be bounded, as zerolog writes it.
func FuzzAppendClipped(f *testing.F) {
	f.Add([]byte("/pub/x"), 100)
	f.Add([]byte(strings.Repeat("\xff\x01\"é日\u2028\x7f<&", 100)), 512)
	f.Fuzz(func(t *testing.T, text []byte, most int) {
		most = len(ellipsis) + (most&0x7fffffff)%4096
		got := AppendClipped(nil, text, most)
		var line bytes.Buffer
		log := zerolog.New(&line)
		log.Log().Bytes("p", got).Send()
		if n := line.Len() - len("{\"p\":\"\"}\n"); n > most {
			t.Errorf("%q of %q takes %d bytes of a line, more than %d", got, text, n, most)
		}
		kept, cut := bytes.CutSuffix(got, []byte(ellipsis))
		if !bytes.Equal(got, text) && (!cut || !bytes.HasPrefix(text, kept)) {
			t.Errorf("%q of %q", got, text)
		}
		if utf8.Valid(text) && !utf8.Valid(got) {
			t.Errorf("%q is cut within a character", got)
		}
	})
}

// TestFlood has lines come at different rates: what passes and what is told are all there were.
func TestFlood(t *testing.T) {
	for _, c := range []struct {
		name              string
		most, perSecond   int
		seconds           int
		passed, summaries int
	}{
		{"below the bound", 100, 100, 5, 500, 0},
		{"beyond it", 100, 1000, 5, 500, 5},
		{"one too many", 100, 101, 5, 500, 5},
		{"no bound", 0, 1000, 5, 5000, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f flood
				told, summaries := 0, 0
				f.start(c.most, func(n uint64) { told += int(n); summaries++ })
				passed := 0
				for range c.seconds {
					for range c.perSecond {
						if f.pass() {
							passed++
						}
					}
					time.Sleep(time.Second) // of the test's own clock
					synctest.Wait()
				}
				f.stop()
				if passed != c.passed || passed+told != c.perSecond*c.seconds || summaries != c.summaries || int(f.leftOut.Load()) != told {
					t.Errorf("%d passed and %d left out, told in %d lines; want %d and %d of %d", passed, told, summaries, c.passed, c.summaries, c.perSecond*c.seconds)
				}
			})
		})
	}
}

// TestFloodIsToldAtTheEnd stops before a second is over.
func TestFloodIsToldAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flood
		told := 0
		f.start(1, func(n uint64) { told += int(n) })
		for range 10 {
			f.pass()
		}
		f.stop()
		if told != 9 {
			t.Errorf("told of %d, want 9", told)
		}
	})
}

// TestLinesThatAreOff counts no lines that would not be written anyway.
func TestLinesThatAreOff(t *testing.T) {
	var o Observer
	o.level.Store(int32(zerolog.ErrorLevel))
	o.Logs.refusals.start(1, func(uint64) {})
	for range 10 {
		if o.LogsRefusal(zerolog.WarnLevel) {
			t.Error("a warning is written at the level error")
		}
	}
	b, err := json.Marshal(o.Logs.LeftOut())
	if err != nil || string(b) != `{"main":0}` {
		t.Errorf("%s, %v", b, err)
	}
}
