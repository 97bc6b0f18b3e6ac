//go:build !race

package cache

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"yatagarasu/loadtest/needs"
)

// memoryEnv names the kind of bodies that a process started by TestMemory fills
// a cache with.
const memoryEnv = "CACHE_TEST_MEMORY"

const memoryBytes = 512 << 20

var memoryKinds = map[string]struct {
	puts int
	size func(r *rand.Rand) int
}{
	"1KB":   {3_000_000, func(*rand.Rand) int { return 1000 }},
	"100KB": {150_000, func(*rand.Rand) int { return 100_000 }},
	"mixed": {1_000_000, func(r *rand.Rand) int {
		if r.IntN(100) == 0 {
			return 10_000 + r.IntN(1_000_000)
		}
		return 100 + r.IntN(10_000)
	}},
	"1KB, then 100KB": {1_000_000, func() func(*rand.Rand) int {
		n := 0
		return func(*rand.Rand) int {
			if n++; n < 900_000 {
				return 1000
			}
			return 100_000
		}
	}()},
}

// TestMemory fills a cache of 512 MB over and over, in a process of its own, and
// asks that its resident set never exceed 1.25 times that and 64 MB. It puts 5
// million objects, or CACHE_MEMORY_ROUNDS times that.
//
// That needs help: with GOGC=100 the runtime lets garbage grow to the size of
// all that is alive before it collects. A memory limit of 1.15 times what the
// cache may hold makes it collect earlier, when the cache is full and only then.
func TestMemory(t *testing.T) {
	if kind := os.Getenv(memoryEnv); kind != "" {
		fillMemory(t, kind)
		return
	}
	if testing.Short() {
		t.Skip("not with -short: it takes half a minute")
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		needs.Skip(t, "there is no /proc, which tells the resident set")
	}
	const bound = memoryBytes*5/4 + 64<<20
	for kind := range memoryKinds {
		t.Run(kind, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestMemory$", "-test.v")
			cmd.Env = append(os.Environ(), memoryEnv+"="+kind)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			_, report, _ := strings.Cut(string(out), "peak ")
			report, _, _ = strings.Cut(report, "\n")
			peak, _, _ := strings.Cut(report, " ")
			n, err := strconv.ParseInt(peak, 10, 64)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("resident set of at most %d MB, bound %d MB; %s", n>>20, bound>>20, report)
			if n > bound {
				t.Errorf("resident set of %d bytes, bound %d", n, bound)
			}
		})
	}
}

func fillMemory(t *testing.T, kind string) {
	debug.SetMemoryLimit(memoryBytes * 23 / 20)
	c := New(Options{MaxBytes: memoryBytes})
	r := rand.New(rand.NewPCG(1, 2))
	k := memoryKinds[kind]
	if rounds, err := strconv.Atoi(os.Getenv("CACHE_MEMORY_ROUNDS")); err == nil {
		k.puts *= rounds
	}
	var key []byte
	begin := time.Now()
	for i := range k.puts {
		body := make([]byte, k.size(r))
		for at := 0; at < len(body); at += 4096 {
			body[at] = 1
		}
		key = appendBenchKey(key[:0], uint64(i))
		o := &Object{Key: bytes.Clone(key), Group: "bucket", Header: bytes.Clone(benchHeader), Body: body, Status: 200}
		o.ETag, o.LastModified = `"9a0364b9e99bb480dd25e1f0284c8555"`, "Fri, 02 Jan 2026 03:04:05 GMT" // without memory of their own, as where they are part of Header
		if !c.Put(o) || c.Bytes() > memoryBytes {
			t.Fatalf("not stored, or %d bytes", c.Bytes())
		}
	}
	took := time.Since(begin)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	live := liveBytes()
	fmt.Printf("peak %d bytes with %d objects of %d MB, %d MB of heap alive, after %d puts in %.1f s, %.0f%% of it for %d collections\n",
		peakRSS(t), c.Len(), c.Bytes()>>20, live>>20, k.puts, took.Seconds(), 100*m.GCCPUFraction, m.NumGC)
	runtime.KeepAlive(c)
}

// liveBytes returns what is alive in the heap.
func liveBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// peakRSS returns the largest resident set of this process so far, in bytes.
func peakRSS(t *testing.T) int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if field, found := strings.CutPrefix(lines.Text(), "VmHWM:"); found {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(field), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
