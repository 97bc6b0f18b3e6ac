package observe

import (
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"
)

// A refused request costs its sender next to nothing, so what is written of it is bounded. Bytes
// are those of a line, in which a byte of a hostile path may take six.
const (
	longestPath    = 2 << 10 // bytes of a path
	longestRefused = 512     // of a request that is refused
)

// ellipsis marks a text that was cut.
const ellipsis = "…"

// AppendClipped appends text, or its beginning and an ellipsis where it would take more than most
// bytes of a line. It cuts between characters. dst may be the beginning of text.
//
// Hot path: zero allocations with room in dst, guarded by TestHitAllocs.
func AppendClipped(dst, text []byte, most int) []byte {
	const worst = len(`\u0000`)
	if len(text)*worst <= most {
		return append(dst, text...)
	}
	fits, n := 0, 0 // fits: bytes of text that fit with an ellipsis behind
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		cost := worst
		switch {
		case r == '"' || r == '\\':
			cost = 2
		case r >= utf8.RuneSelf:
			if r, size = utf8.DecodeRune(text[i:]); r != utf8.RuneError || size > 1 {
				cost = size
			}
		case r >= ' ' && r != 0x7f:
			cost = 1
		}
		if n+cost > most {
			return append(append(dst, text[:fits]...), ellipsis...)
		}
		n += cost
		i += size
		if n+len(ellipsis) <= most {
			fits = i
		}
	}
	return append(dst, text...)
}

// flood lets so many lines pass in each second, and counts the others. A second after one was left
// out it tells how many were. The zero value lets all pass. Use start, and stop at the end. Safe
// for concurrent use.
type flood struct {
	most    int64
	started time.Time
	timer   *time.Timer // runs summarize
	tell    func(n uint64)

	second  atomic.Int64 // that lines were counted in, from started
	lines   atomic.Int64
	armed   atomic.Bool   // timer runs
	leftOut atomic.Uint64 // since started
	told    atomic.Uint64 // of these
}

// start has f let most lines pass in each second; 0: all. tell is called with the number of those
// left out.
func (f *flood) start(most int, tell func(n uint64)) {
	f.most, f.started, f.tell = int64(most), time.Now(), tell
	f.timer = time.AfterFunc(time.Hour, f.summarize)
	f.timer.Stop()
}

// pass tells whether a line may be written.
//
// Hot path of a flood: zero allocations, guarded by TestRefuseAllocs.
func (f *flood) pass() bool {
	if f.most == 0 {
		return true
	}
	now := int64(time.Since(f.started) / time.Second)
	if before := f.second.Load(); now > before && f.second.CompareAndSwap(before, now) {
		f.lines.Store(0)
	}
	if f.lines.Add(1) <= f.most {
		return true
	}
	f.leftOut.Add(1)
	if f.armed.CompareAndSwap(false, true) {
		f.timer.Reset(time.Second)
	}
	return false
}

// summarize tells how many lines were left out since it last did.
func (f *flood) summarize() {
	f.armed.Store(false)
	now := f.leftOut.Load()
	if n := now - f.told.Swap(now); n > 0 {
		f.tell(n)
	}
}

// stop tells of the last lines that were left out.
func (f *flood) stop() {
	if f.timer != nil {
		f.timer.Stop()
		f.summarize()
	}
}

// LogsRefusal tells whether a line of this level about a refused request may be written now. If
// not, it is counted as left out, unless the level is off.
func (o *Observer) LogsRefusal(level zerolog.Level) bool {
	return o.level.Sample(level) && o.Logs.refusals.pass()
}
