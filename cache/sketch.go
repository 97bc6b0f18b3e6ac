package cache

// sketch estimates how often keys were asked for lately: the admission filter of
// TinyLFU (Einziger, Friedman, Manes: https://arxiv.org/abs/1512.00727). It is a
// count-min sketch of 4-bit counters: each key has four of them and its estimate
// is the least, which other keys may have raised. After every ten look-ups for
// each entry, all counters are halved, so that what was popular once does not
// stay forever. The four counters of a key are in one block of 64 bytes, a cache line.
//
// Objects are always evicted in the order of use, oldest first. With a sketch, a new
// object is stored only if its key was asked for at least as often as that of each
// object that has to go for it. One that stays because it was asked for more becomes
// the newest, as if used. There is no window in which new objects stay for a while
// unconditionally: as each new one meets another old one, bursts get in without.
// `make hitratio` compares that with a library that has such a window.
//
// Use newSketch; nil counts nothing. Its shard's lock guards it.
type sketch struct {
	blocks []block // a power of two
	asked  int     // since the last halving, roughly
}

type block [8]uint64 // 16 counters in each word

const (
	blockEntries   = 8  // entries for each block: 16 counters for an entry
	asksPerEntry   = 10 // between halvings
	maxFrequency   = 15
	restBitsOfEach = 0x7777777777777777
)

func newSketch() *sketch { return &sketch{blocks: make([]block, 1)} }

// spread makes bits that are independent of those that choose the shard and the
// place in the index (the finaliser of MurmurHash3).
func spread(hash uint64) uint64 {
	hash ^= hash >> 33
	hash *= 0xff51afd7ed558ccd
	hash ^= hash >> 33
	return hash
}

// counter returns the word and the shift of a key's i-th counter, of four.
func counter(h uint64, i int) (word int, shift uint) {
	h >>= 32 + 8*i
	return 2*i + int(h&1), uint(h>>1&15) * 4
}

func (s *sketch) block(h uint64) *block { return &s.blocks[h&uint64(len(s.blocks)-1)&(1<<32-1)] }

// ask counts a look-up of the key with this hash, found or not.
func (s *sketch) ask(hash uint64) {
	if s == nil {
		return
	}
	h := spread(hash)
	b := s.block(h)
	raised := false
	for i := range 4 {
		word, shift := counter(h, i)
		if b[word]>>shift&maxFrequency < maxFrequency {
			b[word] += 1 << shift
			raised = true
		}
	}
	if !raised {
		return
	}
	if s.asked++; s.asked >= asksPerEntry*blockEntries*len(s.blocks) {
		s.halve()
	}
}

// frequency returns how often a key was asked for lately.
func (s *sketch) frequency(hash uint64) int {
	if s == nil {
		return 0
	}
	h := spread(hash)
	b := s.block(h)
	least := maxFrequency
	for i := range 4 {
		word, shift := counter(h, i)
		least = min(least, int(b[word]>>shift&maxFrequency))
	}
	return least
}

func (s *sketch) halve() {
	for i := range s.blocks {
		for j, word := range s.blocks[i] {
			s.blocks[i][j] = word >> 1 & restBitsOfEach
		}
	}
	s.asked /= 2
}

// grow doubles the sketch until it is large enough for so many entries. A key is in the block that the
// low bits of its hash name, so that two copies of the old blocks, one after
// the other, hold the same estimates.
func (s *sketch) grow(entries int) {
	for s != nil && entries > blockEntries*len(s.blocks) {
		s.blocks = append(s.blocks, s.blocks...)
	}
}
