package ledger

import "hash/maphash"

// index finds the number of an entry by its identity: a table in which what comes too late for its own place takes the next free one (Knuth, The Art of
// Computer Programming, volume 3, section 6.4, algorithms L and R). A map of Go's takes several times the memory, and after some millions of entries
// that came and went half as much again.
type index struct {
	// slots hold half of the entry's hash in the high bits, which says where its place is and nearly always whether it is the one that is looked for,
	// and its number in the low ones; 0 is free. So hardly any entry has to be looked at, which is most of the time: they are not in the processor's
	// cache. There are a power of two of them, of which at most three quarters are used.
	slots []uint64
	// shift is how far the bits of a place are from the low end of the hash.
	shift int
	used  int
	// seed is other in each process, so that nobody can make reports that all belong in one place.
	seed maphash.Seed
}

const (
	// minPlaceBits are the bits of a place in the smallest table.
	minPlaceBits = 6
	// maxIndexed is how many entries there may be: the places of more would need bits that slots do not hold.
	maxIndexed = 1 << 30

	// taken is set in every slot that is not free, whatever its hash and number are.
	taken = 1 << 32
)

func newIndex() index {
	return index{slots: make([]uint64, 1<<minPlaceBits), shift: 64 - minPlaceBits, seed: maphash.MakeSeed()}
}

// slotOf returns what a slot holds of an entry. It is never 0, which is a free slot.
func slotOf(hash uint64, number uint32) uint64 { return hash>>32<<32 | taken | uint64(number) }

func numberIn(slot uint64) uint32 { return uint32(slot) }

// key returns what slots hold of an identity, with 0 for the number.
func (x *index) key(id *ID) uint64 { return slotOf(maphash.Bytes(x.seed, id[:]), 0) }

// place is where the entry of a slot belongs.
func (x *index) place(slot uint64) int { return int(slot >> x.shift) }

func (x *index) after(at int) int { return (at + 1) & (len(x.slots) - 1) }

// find returns the place of the entry with that identity, or the free one where it belongs. idOf is the identity of the entry with a number.
func (x *index) find(id *ID, key uint64, idOf func(number uint32) *ID) (at int, found bool) {
	for at = x.place(key); ; at = x.after(at) {
		slot := x.slots[at]
		if slot == 0 {
			return at, false
		}
		if (slot^key)>>32 == 0 && *idOf(numberIn(slot)) == *id {
			return at, true
		}
	}
}

// get returns the number of an entry.
func (x *index) get(id *ID, idOf func(uint32) *ID) (number uint32, found bool) {
	at, found := x.find(id, x.key(id), idOf)
	if !found {
		return 0, false
	}
	return numberIn(x.slots[at]), true
}

// put sets the number of an entry, which is there already, and returns the one that it had.
func (x *index) put(id *ID, number uint32, idOf func(uint32) *ID) (before uint32, had bool) {
	key := x.key(id)
	at, had := x.find(id, key, idOf)
	if had {
		before = numberIn(x.slots[at])
	} else {
		x.used++
	}
	x.slots[at] = slotOf(key, number)
	if 4*x.used > 3*len(x.slots) {
		x.grow()
	}
	return before, had
}

// grow doubles the table.
func (x *index) grow() {
	old := x.slots
	x.slots = make([]uint64, 2*len(old))
	x.shift--
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		at := x.place(slot)
		for x.slots[at] != 0 {
			at = x.after(at)
		}
		x.slots[at] = slot
	}
}

// remove takes an entry out, and moves up those behind it that are not in their own places, so that no search ends too early.
func (x *index) remove(id *ID, idOf func(uint32) *ID) {
	free, found := x.find(id, x.key(id), idOf)
	if !found {
		return
	}
	x.used--
	mask := len(x.slots) - 1
	for at := x.after(free); x.slots[at] != 0; at = x.after(at) {
		// It may not move to before its own place.
		if (at-x.place(x.slots[at]))&mask >= (at-free)&mask {
			x.slots[free] = x.slots[at]
			free = at
		}
	}
	x.slots[free] = 0
}
