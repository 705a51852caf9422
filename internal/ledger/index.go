package ledger

import "hash/maphash"

// index finds the number of an entry by its identity: a table in which what comes too late for its own place takes the next free one (Knuth, The Art of
// Computer Programming, volume 3, section 6.4, algorithms L and R). A map of Go's takes several times the memory, and after some millions of entries
// that came and went half as much again.
type index struct {
	// slots hold a number and, in front of it, bits of the hash, so that few other identities have to be looked at; 0 is free. There are a
	// power of two of them, of which at most three quarters are used.
	slots []uint64
	used  int
	// seed is other in each process, so that nobody can make reports that all belong in one place.
	seed maphash.Seed
}

const (
	// numberBits are enough for a million reports a second over half a year.
	numberBits = 44
	minSlots   = 64
)

func newIndex() index {
	return index{slots: make([]uint64, minSlots), seed: maphash.MakeSeed()}
}

// slotOf returns what a slot holds of an entry. It is never 0, which is a free slot.
func slotOf(hash, number uint64) uint64 { return hash>>numberBits<<numberBits | (number + 1) }

func numberIn(slot uint64) uint64 { return slot&(1<<numberBits-1) - 1 }

// hash has its place in the low bits and what a slot keeps of it in the high ones.
func (x *index) hash(id *ID) uint64 { return maphash.Bytes(x.seed, id[:]) }

// find returns the place of the entry with that identity, or the free one where it belongs. idOf is the identity of the entry with a number.
func (x *index) find(id *ID, hash uint64, idOf func(number uint64) *ID) (at uint64, found bool) {
	mask := uint64(len(x.slots) - 1)
	for at = hash & mask; ; at = (at + 1) & mask {
		slot := x.slots[at]
		if slot == 0 {
			return at, false
		}
		if (slot^hash)>>numberBits == 0 && *idOf(numberIn(slot)) == *id {
			return at, true
		}
	}
}

// get returns the number of an entry.
func (x *index) get(id *ID, idOf func(uint64) *ID) (number uint64, found bool) {
	at, found := x.find(id, x.hash(id), idOf)
	if !found {
		return 0, false
	}
	return numberIn(x.slots[at]), true
}

// put sets the number of an entry, which is there already, and returns the one that it had.
func (x *index) put(id *ID, number uint64, idOf func(uint64) *ID) (before uint64, had bool) {
	hash := x.hash(id)
	at, had := x.find(id, hash, idOf)
	if had {
		before = numberIn(x.slots[at])
	} else {
		x.used++
	}
	x.slots[at] = slotOf(hash, number)
	if 4*x.used > 3*len(x.slots) {
		x.grow(idOf)
	}
	return before, had
}

// grow doubles the table.
func (x *index) grow(idOf func(uint64) *ID) {
	old := x.slots
	x.slots = make([]uint64, 2*len(old))
	mask := uint64(len(x.slots) - 1)
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		at := x.hash(idOf(numberIn(slot))) & mask
		for x.slots[at] != 0 {
			at = (at + 1) & mask
		}
		x.slots[at] = slot
	}
}

// remove takes an entry out, and moves up those behind it that are not in their own places, so that no search ends too early.
func (x *index) remove(id *ID, idOf func(uint64) *ID) {
	free, found := x.find(id, x.hash(id), idOf)
	if !found {
		return
	}
	x.used--
	mask := uint64(len(x.slots) - 1)
	for at := (free + 1) & mask; x.slots[at] != 0; at = (at + 1) & mask {
		home := x.hash(idOf(numberIn(x.slots[at]))) & mask
		// It may not move to before its own place.
		if (at-home)&mask >= (at-free)&mask {
			x.slots[free] = x.slots[at]
			free = at
		}
	}
	x.slots[free] = 0
}
