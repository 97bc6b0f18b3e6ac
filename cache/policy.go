package cache

// policy is what tells one way of eviction from another. Objects are always
// evicted in the order of use, oldest first; the policy says how often a key was
// asked for, and a new object is stored only if its key was asked for at least
// as often as that of each object that has to go for it. One that stays because
// it was asked for more becomes the newest, as if used.
//
// There is no window in which new objects stay for a while unconditionally: as
// each new one meets another old one, bursts get in without. `make hitratio`
// compares that with a library that has such a window.
//
// Each shard has one, which its lock guards.
type policy interface {
	// ask counts a look-up of the key with this hash, found or not.
	ask(hash uint64)
	// frequency returns how often a key was asked for lately.
	frequency(hash uint64) int
	// grow prepares for a number of entries.
	grow(entries int)
}

func newPolicy(name string) policy {
	if name == PolicyTinyLFU {
		return new(sketch)
	}
	return lru{}
}

// lru counts nothing: every new object is stored.
type lru struct{}

func (lru) ask(uint64)           {}
func (lru) frequency(uint64) int { return 0 }
func (lru) grow(int)             {}
