package ledger

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestARepeatIsKnown(t *testing.T) {
	for name, open := range map[string]func(*setup) *Ledger{
		"in memory": (*setup).inMemory,
		"stored":    func(s *setup) *Ledger { return s.open(t, newDisk().client()) },
	} {
		t.Run(name, func(t *testing.T) {
			l := open(newSetup())
			attempt, _, err := l.Begin(t.Context(), kind, id(1))
			require.NoError(t, err)
			attempt.Release()
			attempt.Release()
			count(t, l, 1, "a")
			repeat(t, l, 1)

			refused, _, err := l.Begin(t.Context(), kind, id(2))
			require.NoError(t, err)
			require.NoError(t, l.Commit(t.Context(), []Entry{{refused, Refused, counts("a")}}))
			refused.Release()
			known, err := send(t.Context(), l, 2)
			require.NoError(t, err)
			assert.Equal(t, Refused, known)
			assert.Equal(t, int64(2), total(l), "a refusal counts too")
		})
	}
}

func TestWithoutDeduplicationEveryReportCounts(t *testing.T) {
	s := newSetup()
	s.Deduplicate = false
	l := s.open(t, newDisk().client())
	for range 3 {
		count(t, l, 1, "a")
	}
	assert.Equal(t, int64(3), total(l))
	assert.Empty(t, l.Stats().Kinds)
}

// Each kind has room of its own, and the oldest of a kind make room for the newer ones.
func TestWhatIsRemembered(t *testing.T) {
	s := newSetup()
	s.MaxEntries = 100
	l := s.inMemory()
	deliver := func(n int) Outcome {
		attempt, known, err := l.Begin(t.Context(), "delivery", id(n))
		require.NoError(t, err)
		if attempt != nil {
			require.NoError(t, l.Commit(t.Context(), []Entry{{attempt, Accepted, nil}}))
		}
		return known
	}
	for n := range 50 {
		count(t, l, n)
	}
	deliveries := 1000
	if *exhaustive {
		deliveries = 1_000_000
	}
	for n := range deliveries {
		require.Zero(t, deliver(n))
	}
	repeat(t, l, 0)
	assert.Equal(t, Accepted, deliver(deliveries-1))
	assert.Zero(t, deliver(deliveries-101), "it was one too many")
	assert.Equal(t, map[string]KindStats{
		kind:       {Remembered: 50},
		"delivery": {Remembered: 100, Evicted: int64(deliveries - 99)},
	}, l.Stats().Kinds)

	s.move(s.TTL - time.Second)
	count(t, l, 50)
	s.move(time.Second)
	assert.Equal(t, 1, l.Stats().Kinds[kind].Remembered)
	count(t, l, 0)
}

// A copy waits for the first, for a moment.
func TestCopiesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup()
		l := s.inMemory()
		first, _, err := l.Begin(t.Context(), kind, id(1))
		require.NoError(t, err)
		began := time.Now()
		_, err = send(t.Context(), l, 1)
		require.ErrorIs(t, err, ErrInFlight)
		assert.Equal(t, s.WaitTimeout, time.Since(began))
		ctx, cancel := context.WithTimeout(t.Context(), s.WaitTimeout/2)
		defer cancel()
		_, err = send(ctx, l, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		var copies sync.WaitGroup
		for range 3 {
			copies.Go(func() { repeat(t, l, 1) })
		}
		synctest.Wait()
		require.NoError(t, l.Commit(t.Context(), []Entry{{first, Accepted, counts("a")}}))
		copies.Wait()
		assert.Equal(t, int64(1), total(l))
	})
}

func TestReportCache(t *testing.T) {
	c := reportCache{outcomes: make(map[ID]Outcome)}
	for n := range 1000 {
		c.insert(&report{id: id(n), outcome: Accepted, committed: int64(n)}, 300)
		assert.Len(t, c.order, len(c.outcomes))
		assert.Equal(t, max(0, n-299), int(c.evicted))
	}
	c.expire(899)
	assert.Equal(t, cachedReport{id(900), 900}, c.order[0])
	assert.Len(t, c.order, 100)
	c.expire(1000)
	assert.Empty(t, c.outcomes)
}

func TestValues(t *testing.T) {
	s, d := newSetup(), newDisk()
	l := s.open(t, d.client())
	assert.Nil(t, l.Value("a"))
	require.NoError(t, l.SetValue(t.Context(), "a", []byte("1")))
	require.NoError(t, l.SetValue(t.Context(), "b", nil))
	require.NoError(t, l.SetValue(t.Context(), "a", []byte("2")))
	require.NoError(t, l.Close(t.Context()))
	l = s.open(t, d.client())
	assert.Equal(t, []byte("2"), l.Value("a"))
	require.NoError(t, l.Close(t.Context()))
	require.NoError(t, s.inMemory().SetValue(t.Context(), "a", []byte("1")))
}
