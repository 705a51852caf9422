package ledger

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is seen behaves as a list does of which an earlier entry goes when the same report is added again.
func TestSeenIsAList(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := newSeen()
	// The index has only the low half of the numbers, which begins again at 0 on the way.
	s.first, s.next = 1<<32-30_000, 1<<32-30_000
	var list []entry
	for step := range 200_000 {
		// First it grows over several blocks, then it shrinks to nothing, and so on.
		growing := step/20_000%2 == 0
		if adding := rng.IntN(3) > 0; adding == growing {
			e := entry{id: id(rng.IntN(20_000)), at: time.Duration(step), record: uint64(step), outcome: Accepted + Outcome(rng.IntN(2))}
			if n := slices.IndexFunc(list, func(other entry) bool { return other.id == e.id }); n >= 0 {
				list = slices.Delete(list, n, n+1)
			}
			list = append(list, e)
			s.add(e)
			require.Equal(t, e.outcome, s.of(e.id))
		} else {
			s.removeOldest()
			if len(list) > 0 {
				require.Zero(t, s.of(list[0].id))
				list = list[1:]
			}
		}
		require.Equal(t, len(list), s.len())
		if len(list) == 0 {
			require.Nil(t, s.oldest())
			continue
		}
		require.Equal(t, list[0], *s.oldest())
		one := list[rng.IntN(len(list))]
		require.Equal(t, one.outcome, s.of(one.id))
	}
	require.Greater(t, s.first, uint64(1<<32))
	require.LessOrEqual(t, len(s.blocks), len(list)/blockSize+2, "blocks that are left behind go")
}
