package limit

import "time"

// Used is what was taken of the bucket of one key, in whole tokens; less than nothing, if more was
// given back.
type Used struct {
	Key    uint64
	Tokens int64
}

// Shared is a limit that several gateways share: each notes what it takes, and is told what is left
// by what all of them took. In between it decides by itself.
type Shared interface {
	// Share begins to note what is taken. Call it before the first Take.
	Share()
	// Collect appends what was taken since it was last called to dst, of at most as many keys as
	// dst has room for. What is left out is forgotten.
	Collect(dst []Used) []Used
	// Settle says what is left for a key, in thousandths of a token, by all that was collected
	// before. Less than nothing is a debt.
	Settle(key uint64, left int64, now time.Duration)
	// Limit returns the bucket's rate in thousandths of a token in a second, and its size in
	// thousandths of a token.
	Limit() (rate, burst int64)
}

// longestDebt bounds what others can have taken: whoever tells lies about that keeps clients out
// for no longer.
const longestDebt = 10 * time.Second

// Limit implements Shared.
func (b *bucket) Limit() (rate, burst int64) { return int64(b.rate), b.burst }

// settled returns the tokens spent of a bucket that has so much left.
func (b *bucket) settled(left int64, now time.Duration) int64 {
	debt := b.burst + int64(b.rate)*int64(longestDebt/time.Second)
	return b.earned(now) - min(max(left, -debt), b.burst)
}

// Share implements Shared.
func (r *Rate) Share() { r.shared = true }

// Collect implements Shared. The key is 0.
func (r *Rate) Collect(dst []Used) []Used {
	if n := r.used.Swap(0); n != 0 && len(dst) < cap(dst) {
		dst = append(dst, Used{Tokens: n})
	}
	return dst
}

// Settle implements Shared.
func (r *Rate) Settle(_ uint64, left int64, now time.Duration) {
	for {
		spent := r.spent.Load()
		if r.spent.CompareAndSwap(spent, r.settled(left-r.used.Load()*token, now)) {
			return
		}
	}
}

// Share implements Shared.
func (t *Table) Share() {
	for i := range t.shards {
		t.shards[i].used = make(map[uint64]int64)
	}
}

// Collect implements Shared.
func (t *Table) Collect(dst []Used) []Used {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for key, n := range s.used {
			if n != 0 && len(dst) < cap(dst) {
				dst = append(dst, Used{key, n})
			}
		}
		clear(s.used)
		s.mu.Unlock()
	}
	return dst
}

// Settle implements Shared. A key without a place has a full bucket, whatever is said of it.
func (t *Table) Settle(key uint64, left int64, now time.Duration) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, known := s.places[key]; known {
		s.clients[i].spent = t.settled(left-s.used[key]*token, now)
	}
}

// note notes tokens that were taken of a key, or given back. The caller holds the lock.
func (s *shard) note(key uint64, tokens int64) {
	if _, known := s.used[key]; known || s.used != nil && len(s.used) < s.most {
		s.used[key] += tokens
	}
}
