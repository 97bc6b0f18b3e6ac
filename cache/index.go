package cache

// index maps hashes to slots of a slab, by open addressing with linear probing.
// It holds no pointers, so the garbage collector never looks into it, and 8
// bytes for each place: the slot below, the hash's low 32 bits above, which are
// all that growing it needs to know. An entry with the same 32 bits may be of
// another key: its key has to be compared.
//
// The zero value is an empty index. Not safe for concurrent use.
type index struct {
	places []uint64 // a power of two; 0: free
	used   int
}

const minPlaces = 16

func place(hash uint64, slot uint32) uint64 { return hash<<32 | uint64(slot) }

// add puts in a slot, not 0, that is not there yet.
func (x *index) add(hash uint64, slot uint32) {
	if x.used >= len(x.places)*3/4 {
		x.grow()
	}
	x.put(place(hash, slot))
	x.used++
}

func (x *index) put(p uint64) {
	mask := uint64(len(x.places) - 1)
	i := p >> 32 & mask
	for x.places[i] != 0 {
		i = (i + 1) & mask
	}
	x.places[i] = p
}

func (x *index) grow() {
	old := x.places
	x.places = make([]uint64, max(minPlaces, 2*len(old)))
	for _, p := range old {
		if p != 0 {
			x.put(p)
		}
	}
}

// remove takes out a slot that was added with this hash.
func (x *index) remove(hash uint64, slot uint32) {
	mask := uint64(len(x.places) - 1)
	want := place(hash, slot)
	i := want >> 32 & mask
	for x.places[i] != want {
		if x.places[i] == 0 {
			panic("BUG: cache: a stored entry is not in the index")
		}
		i = (i + 1) & mask
	}
	// Close the gap: move up what a look-up would otherwise no longer reach.
	for j := i; ; {
		j = (j + 1) & mask
		p := x.places[j]
		if p == 0 {
			break
		}
		if home := p >> 32 & mask; (j-home)&mask >= (j-i)&mask {
			x.places[i] = p
			i = j
		}
	}
	x.places[i] = 0
	x.used--
}
