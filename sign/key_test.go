package sign

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// dayCase is one request at a time, and its scope.
func dayCase(now time.Time) (*signCase, string) {
	c := &signCase{options: exampleOptions, method: "GET", host: exampleHost, key: "/test.txt", now: now}
	return c, "/" + now.UTC().Format("20060102") + "/us-east-1/s3/aws4_request, "
}

// checkDay compares a signature by s at now with the oracle and the scope.
func checkDay(t *testing.T, s *Signer, now time.Time) {
	t.Helper()
	c, scope := dayCase(now)
	r := c.request()
	got := s.AppendHeaders(nil, r, now)
	if err := diff(got, awsHeader(t, newAWSSigner(), c, r)); err != nil {
		t.Errorf("%v: %v", now, err)
	}
	if !bytes.Contains(got, []byte(scope)) {
		t.Errorf("%v: no scope %q in %q", now, scope, got)
	}
}

func TestMidnight(t *testing.T) {
	midnight := time.Date(2024, time.March, 1, 0, 0, 0, 0, time.UTC)
	east := time.FixedZone("", 14*3600)
	tests := map[string][]time.Time{
		"across, and into the leap day":  {midnight.Add(-time.Nanosecond), midnight, midnight.Add(-24 * time.Hour), midnight.Add(-24*time.Hour - 1)},
		"the clock steps back and forth": {midnight, midnight.Add(-time.Second), midnight, midnight.Add(-time.Second)},
		"back by days of equal parity":   {midnight, midnight.AddDate(0, 0, -2), midnight, midnight.AddDate(0, 0, 2)},
		"back by years":                  {midnight, midnight.AddDate(-4, 0, 0), midnight.AddDate(4, 0, 0)},
		"local day is not the UTC day":   {midnight.In(east), midnight.Add(-time.Second).In(east), midnight.Add(-time.Second).In(time.FixedZone("", -12*3600))},
		"before 1970":                    {time.Unix(-1, 0), time.Unix(0, 0), time.Unix(-secondsPerDay, 0), time.Unix(-secondsPerDay-1, 999)},
		"end of a year":                  {time.Date(2025, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		"far years":                      {time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
	}
	for name, times := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSigner(t, exampleOptions)
			for _, now := range times {
				checkDay(t, s, now)
			}
		})
	}
}

// Every second of a day has its stamp.
func TestStampOfEachSecond(t *testing.T) {
	s := newSigner(t, exampleOptions)
	for second := range secondsPerDay {
		now := exampleTime.Add(time.Duration(second) * time.Second)
		k, n := s.dayKey(now)
		if got, want := string(k.appendStamp(nil, n)), now.Format(stampLayout); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func TestKeyIsDerivedOncePerDay(t *testing.T) {
	s := newSigner(t, exampleOptions)
	today, _ := s.dayKey(exampleTime)
	yesterday, _ := s.dayKey(exampleTime.Add(-1))
	if today == yesterday {
		t.Fatal("one key for two days")
	}
	for range 3 {
		if k, _ := s.dayKey(exampleTime.Add(24*time.Hour - 1)); k != today {
			t.Error("today's key was derived again")
		}
		if k, _ := s.dayKey(exampleTime.Add(-24 * time.Hour)); k != yesterday {
			t.Error("yesterday's key was derived again")
		}
	}
}

// Goroutines sign on several days at once, two of which share a cache slot.
func TestConcurrentDays(t *testing.T) {
	s := newSigner(t, exampleOptions)
	type day struct {
		now  time.Time
		r    *Request
		want []byte
	}
	var days []day
	for n := range 5 {
		now := exampleTime.Add(time.Duration(n)*24*time.Hour - time.Second)
		c, _ := dayCase(now)
		c.key = fmt.Sprintf("/object %d", n)
		r := c.request()
		want := newSigner(t, exampleOptions).AppendHeaders(nil, r, now)
		if err := diff(want, awsHeader(t, newAWSSigner(), c, r)); err != nil {
			t.Fatal(err)
		}
		days = append(days, day{now, r, want})
	}
	var wg sync.WaitGroup
	for worker := range uint64(8) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(worker, 0))
			var dst []byte
			for range 2000 {
				d := days[rnd.IntN(len(days))]
				if dst = s.AppendHeaders(dst[:0], d.r, d.now); !bytes.Equal(dst, d.want) {
					t.Errorf("%v: got %q, want %q", d.now, dst, d.want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The zone of the machine does not matter. No test of this package runs in
// parallel with this one.
func TestMachineZone(t *testing.T) {
	defer func(zone *time.Location) { time.Local = zone }(time.Local)
	for _, hours := range []int{-12, 14} {
		time.Local = time.FixedZone("", hours*3600)
		checkDay(t, newSigner(t, exampleOptions), exampleTime)
		checkDay(t, newSigner(t, exampleOptions), exampleTime.Add(-1).Local())
	}
}
