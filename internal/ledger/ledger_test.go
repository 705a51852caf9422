package ledger

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRepeatIsKnown(t *testing.T) {
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
			assert.Equal(t, map[string]int64{"a": 2}, totals(l, "failures"), "refused reports count too")
		})
	}
}

func TestEvictionAndExpiry(t *testing.T) {
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
	assert.Zero(t, deliver(deliveries-101), "it was evicted")
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

func TestCopiesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup()
		l := s.inMemory()
		first, _, err := l.Begin(t.Context(), kind, id(1))
		require.NoError(t, err)
		start := time.Now()
		_, err = send(t.Context(), l, 1)
		require.ErrorIs(t, err, ErrInFlight)
		assert.Equal(t, s.WaitTimeout, time.Since(start))
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
		assert.Equal(t, map[string]int64{"a": 1}, totals(l, "failures"))
	})
}

func BenchmarkCommit(b *testing.B) {
	s := newSetup()
	s.MaxEntries = 100_000
	l := s.inMemory()
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		count(b, l, n, "a", "tag "+strconv.Itoa(n%1000))
		n++
	}
}
