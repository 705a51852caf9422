package ledger

import (
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// The index does what a map does, whatever comes and goes in whatever order.
func TestIndexIsAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	x, want, ids := newIndex(), make(map[ID]uint32), []ID{}
	idOf := func(number uint32) *ID { return &ids[number] }
	for step := range 300_000 {
		// Nearly full tables, whose searches are long, are the hard ones: their sizes go up to a few hundred and down again.
		one := id(rng.IntN(50 + step/100%600))
		switch rng.IntN(3) {
		case 0:
			x.remove(&one, idOf)
			delete(want, one)
		default:
			number := uint32(len(ids))
			ids = append(ids, one)
			before, had := x.put(&one, number, idOf)
			wantBefore, wantHad := want[one]
			require.Equal(t, wantHad, had)
			require.Equal(t, wantBefore, before)
			want[one] = number
		}
		require.Equal(t, len(want), x.used)
		other := id(rng.IntN(700))
		got, found := x.get(&other, idOf)
		wantNumber, wantFound := want[other]
		require.Equal(t, wantFound, found)
		require.Equal(t, wantNumber, got)
		if step%10_000 != 0 {
			continue
		}
		got2 := make(map[ID]uint32)
		for _, slot := range x.slots {
			if slot != 0 {
				number := numberIn(slot)
				got2[*idOf(number)] = number
			}
		}
		require.True(t, maps.Equal(want, got2), "step %d: nothing else is in the table", step)
	}
}

// Where entries come and go the table stays as large as it was: Go's map does not.
func TestIndexDoesNotGrowByWhatGoes(t *testing.T) {
	const entries = 1000
	x, ids := newIndex(), make([]ID, 2*entries)
	idOf := func(number uint32) *ID { return &ids[number%uint32(len(ids))] }
	size := 0
	for number := range uint32(500_000) {
		if number >= entries {
			x.remove(idOf(number-entries), idOf)
		}
		*idOf(number) = id(int(number))
		x.put(idOf(number), number, idOf)
		if number == entries {
			size = len(x.slots)
		}
	}
	require.Equal(t, entries, x.used)
	require.Len(t, x.slots, size)
	require.LessOrEqual(t, size, 4*entries, "at least three eighths are used")
}

// What a slot holds comes out of it again, and is never what a free slot holds.
func TestSlots(t *testing.T) {
	x := newIndex()
	for _, number := range []uint32{0, 1, 1<<32 - 1} {
		for _, hash := range []uint64{0, 1, 1 << 33, 1 << 63, 1<<64 - 1} {
			slot := slotOf(hash, number)
			require.NotZero(t, slot)
			require.Equal(t, number, numberIn(slot))
			require.Equal(t, hash>>33, slot>>33)
			require.Equal(t, int(hash>>(64-minPlaceBits)), x.place(slot))
		}
	}
}

// No more is remembered than the index has places for, whatever is asked for.
func TestMaxEntriesHasABound(t *testing.T) {
	s := newSetup()
	s.maxEntries = math.MaxInt
	require.Equal(t, maxIndexed, s.inMemory().options.MaxEntries)
}
