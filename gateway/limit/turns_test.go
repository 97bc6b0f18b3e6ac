package limit

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A line without those who have given up is served in its turn.
func TestTurnsOfThoseWhoLeft(t *testing.T) {
	const patience = time.Second
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		turns.free = 0
		var mu sync.Mutex
		var got []string
		wait := func(client uint64, name string) {
			deadline := time.Now().Add(patience)
			go func() {
				if turns.Take(client, Turn{Suspect: client == 1, Deadline: deadline}) {
					mu.Lock()
					got = append(got, name)
					mu.Unlock()
				}
			}()
			synctest.Wait()
		}
		wait(1, "gone")
		wait(3, "gone")
		time.Sleep(patience / 2)
		wait(1, "a")
		wait(2, "b")
		wait(1, "c")
		time.Sleep(patience / 2)
		synctest.Wait() // the first have given up
		for range 4 {
			turns.Give(9, false)
			synctest.Wait()
		}
		if mu.Lock(); !slices.Equal(got, []string{"b", "a", "c"}) || turns.free != 1 || len(turns.lines)+len(turns.order)+len(turns.behind) != 0 {
			t.Errorf("turns of %v, %d free", got, turns.free)
		}
		mu.Unlock()
	})
}
