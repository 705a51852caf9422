package ledger

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// both runs a test with a ledger in memory and with one in a store: what a report goes through is the same.
func both(t *testing.T, test func(t *testing.T, s *setup, open func() *Ledger[kind])) {
	t.Run("memory", func(t *testing.T) {
		s := newSetup()
		test(t, s, s.inMemory)
	})
	t.Run("store", func(t *testing.T) {
		s := newSetup()
		test(t, s, func() *Ledger[kind] { return s.open(t, newDisk().client()) })
	})
}

func TestAReportIsCountedOnce(t *testing.T) {
	both(t, func(t *testing.T, s *setup, open func() *Ledger[kind]) {
		for _, outcome := range []Outcome{Accepted, Refused} {
			l := open()
			attempt, known, err := l.Begin(t.Context(), id(1))
			require.NoError(t, err)
			require.Zero(t, known)
			require.Zero(t, attempt.HandedOver)
			assert.Zero(t, l.Remembered(), "in flight, not committed")
			assert.Empty(t, totals(l, 0))

			over, err := attempt.Commit(t.Context(), outcome, s.one("a"))
			require.NoError(t, err)
			assert.Equal(t, Overflows{0}, over)
			attempt.Release() // does nothing, so that callers may defer it

			for range 3 {
				attempt, known, err = l.Begin(t.Context(), id(1))
				require.NoError(t, err)
				assert.Nil(t, attempt)
				assert.Equal(t, outcome, known, "both are final, and told apart")
			}
			assert.Equal(t, map[string]int64{"a": 1}, totals(l, 0))
			assert.Equal(t, 1, l.Remembered())
			assert.Equal(t, "first", l.Instance())
			require.NoError(t, l.Close(t.Context()))
		}
	})
}

func TestAReleasedReportBeginsAnew(t *testing.T) {
	both(t, func(t *testing.T, s *setup, open func() *Ledger[kind]) {
		l := open()
		for range 3 {
			attempt, known, err := l.Begin(t.Context(), id(1))
			require.NoError(t, err)
			require.Zero(t, known)
			require.Zero(t, attempt.HandedOver)
			attempt.Release()
			attempt.Release()
		}
		assert.Empty(t, totals(l, 0))
		s.count(t, l, 1, "a")
		s.repeat(t, l, 1)
		assert.Equal(t, map[string]int64{"a": 1}, totals(l, 0))
	})
}

func TestCountsOfAllMetricsAndOverflows(t *testing.T) {
	both(t, func(t *testing.T, s *setup, open func() *Ledger[kind]) {
		s.metrics, s.limit = []string{"failures", "by_tag", "nothing"}, 2
		l := open()
		attempt, _, err := l.Begin(t.Context(), id(1))
		require.NoError(t, err)
		over, err := attempt.Commit(t.Context(), Accepted, Counts[kind]{{{"a"}}, {{"x"}, {"y"}, {"z"}, {"w"}}, nil})
		require.NoError(t, err)
		assert.Equal(t, Overflows{0, 2, 0}, over)
		assert.Equal(t, map[string]int64{"a": 1}, totals(l, 0))
		assert.Equal(t, map[string]int64{"x": 1, "y": 1, "overflow": 2}, totals(l, 1))
		assert.Empty(t, totals(l, 2))
	})
}

func TestASecondCopyWaitsForTheFirst(t *testing.T) {
	both(t, func(t *testing.T, s *setup, open func() *Ledger[kind]) {
		synctest.Test(t, func(t *testing.T) {
			l := open()
			first, _, err := l.Begin(t.Context(), id(1))
			require.NoError(t, err)

			var copies sync.WaitGroup
			for range 20 {
				copies.Go(func() {
					attempt, known, err := l.Begin(t.Context(), id(1))
					assert.Nil(t, attempt)
					assert.Equal(t, Refused, known)
					assert.NoError(t, err)
				})
			}
			synctest.Wait()
			began := time.Now()
			_, err = first.Commit(t.Context(), Refused, s.one("a"))
			require.NoError(t, err)
			copies.Wait()
			assert.Zero(t, time.Since(began), "nobody waits longer than it takes")
			assert.Equal(t, int64(1), total(l))
		})
	})
}

func TestOneOfTheCopiesTakesOverWhatTheFirstReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup()
		l := s.inMemory()
		first, _, err := l.Begin(t.Context(), id(1))
		require.NoError(t, err)
		var copies sync.WaitGroup
		var again, repeats atomic.Int64
		for range 20 {
			copies.Go(func() {
				known, err := s.send(t.Context(), l, 1, "a")
				assert.NoError(t, err) //nolint:testifylint // require is not for goroutines
				if known == 0 {
					again.Add(1)
				} else {
					repeats.Add(1)
				}
			})
		}
		synctest.Wait()
		first.Release()
		copies.Wait()
		assert.Equal(t, int64(1), again.Load(), "two copies never run in parallel")
		assert.Equal(t, int64(19), repeats.Load())
		assert.Equal(t, int64(1), total(l))
	})
}

func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup()
		l := s.inMemory()
		first, _, err := l.Begin(t.Context(), id(1))
		require.NoError(t, err)

		began := time.Now()
		attempt, known, err := l.Begin(t.Context(), id(1))
		require.ErrorIs(t, err, ErrInFlight)
		assert.Nil(t, attempt)
		assert.Zero(t, known)
		assert.Equal(t, s.patience, time.Since(began))

		ctx, cancel := context.WithTimeout(t.Context(), s.patience/2)
		defer cancel()
		began = time.Now()
		_, _, err = l.Begin(ctx, id(1))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, s.patience/2, time.Since(began))

		other, _, err := l.Begin(t.Context(), id(2))
		require.NoError(t, err, "another report is not held up")
		other.Release()

		_, err = first.Commit(t.Context(), Accepted, s.one("a"))
		require.NoError(t, err)
		s.repeat(t, l, 1)
	})
}

func TestWithoutDeduplicationEveryReportCounts(t *testing.T) {
	both(t, func(t *testing.T, s *setup, open func() *Ledger[kind]) {
		s.forgetful = true
		l := open()
		first, _, err := l.Begin(t.Context(), id(1))
		require.NoError(t, err)
		s.count(t, l, 1, "a") // not held up by the copy in flight
		_, err = first.Commit(t.Context(), Accepted, s.one("a"))
		require.NoError(t, err)
		given, _, err := l.Begin(t.Context(), id(1))
		require.NoError(t, err)
		given.Release()
		assert.Equal(t, int64(2), total(l))
		assert.Zero(t, l.Remembered())
	})
}

func TestReportsAreForgottenAfterTheTTL(t *testing.T) {
	both(t, func(t *testing.T, s *setup, open func() *Ledger[kind]) {
		s.ttl = time.Hour
		l := open()
		s.count(t, l, 1, "a")
		s.move(30 * time.Minute)
		s.count(t, l, 2, "a")
		s.repeat(t, l, 1)
		s.move(30*time.Minute - 1)
		s.repeat(t, l, 1) // to the last nanosecond
		s.move(1)
		assert.Equal(t, 1, l.Remembered(), "the repeats have not kept it")
		s.count(t, l, 1, "a")
		s.repeat(t, l, 2)
		assert.Zero(t, l.EvictedEarly(), "expiry is no eviction")
		s.move(-2 * time.Hour)
		s.repeat(t, l, 1)
		s.move(4 * time.Hour)
		assert.Zero(t, l.Remembered())
	})
}

func TestTheOldestMakeRoom(t *testing.T) {
	both(t, func(t *testing.T, s *setup, open func() *Ledger[kind]) {
		s.maxEntries = 3
		l := open()
		for n := range 3 {
			s.count(t, l, n, "a")
		}
		s.repeat(t, l, 0) // which does not refresh it
		assert.Zero(t, l.EvictedEarly())
		s.count(t, l, 3, "a")
		assert.Equal(t, int64(1), l.EvictedEarly())
		assert.Equal(t, 3, l.Remembered())
		for n := 1; n <= 3; n++ {
			s.repeat(t, l, n)
		}
		s.count(t, l, 0, "a")
		s.count(t, l, 1, "a")
		assert.Equal(t, int64(3), l.EvictedEarly())
		s.repeat(t, l, 3)
		assert.Equal(t, int64(6), total(l))
	})
}

func TestWhatIsInFlightIsNotEvicted(t *testing.T) {
	s := newSetup()
	s.maxEntries, s.patience = 1, 0
	l := s.inMemory()
	first, _, err := l.Begin(t.Context(), id(0))
	require.NoError(t, err)
	for n := range 5 {
		s.count(t, l, n+1, "a")
	}
	_, _, err = l.Begin(t.Context(), id(0))
	require.ErrorIs(t, err, ErrInFlight)
	first.Release()
}

// told is what Health and Observe were told.
type told struct {
	health  []error
	reports []int
	errs    []error
}

func (s *setup) note() *told {
	n := &told{}
	s.health = func(err error) { n.health = append(n.health, err) }
	s.observe = func(reports int, err error) {
		n.reports = append(n.reports, reports)
		n.errs = append(n.errs, err)
	}
	return n
}

func TestACommitThatFailsIsMadeUpForWithoutHandingOverAgain(t *testing.T) {
	for _, outcome := range []Outcome{Accepted, Refused} {
		s := newSetup()
		told := s.note()
		client := newDisk().client()
		l := s.open(t, client)

		client.set(func(c *fakeClient) { c.full = true })
		attempt, _, err := l.Begin(t.Context(), id(1))
		require.NoError(t, err, "nobody knows yet")
		_, err = attempt.Commit(t.Context(), outcome, s.one("a"))
		require.ErrorIs(t, err, ErrStore)
		require.ErrorIs(t, err, errFull)
		attempt.Release()
		assert.Empty(t, totals(l, 0))
		assert.Zero(t, l.Remembered())

		for range 3 {
			_, _, err = l.Begin(t.Context(), id(1))
			require.ErrorIs(t, err, ErrStore, "nothing is handed over while the store is known to fail")
			_, _, err = l.Begin(t.Context(), id(2))
			require.ErrorIs(t, err, errFull)
		}

		client.set(func(c *fakeClient) { c.full = false })
		attempt, known, err := l.Begin(t.Context(), id(1))
		require.NoError(t, err, "it healed without a restart")
		require.Zero(t, known)
		assert.Equal(t, outcome, attempt.HandedOver)
		attempt.Release() // the client has gone

		attempt, _, err = l.Begin(t.Context(), id(1))
		require.NoError(t, err)
		assert.Equal(t, outcome, attempt.HandedOver, "it stays handed over")
		_, err = attempt.Commit(t.Context(), attempt.HandedOver, s.one("a"))
		require.NoError(t, err)
		_, known, err = l.Begin(t.Context(), id(1))
		require.NoError(t, err)
		assert.Equal(t, outcome, known)
		assert.Equal(t, map[string]int64{"a": 1}, totals(l, 0))

		other, _, err := l.Begin(t.Context(), id(2))
		require.NoError(t, err)
		assert.Zero(t, other.HandedOver, "it never got as far")
		other.Release()

		require.Len(t, told.health, 2, "one call when it began to fail, one when it was well again")
		require.ErrorIs(t, told.health[0], errFull)
		require.NoError(t, told.health[1])
		assert.Equal(t, []int{0, 1, 0, 0, 0, 0, 0, 0, 0, 1}, told.reports, "open, commit, six attempts to heal, healed, commit")
		assert.Equal(t, []error{nil, errFull, errFull, errFull, errFull, errFull, errFull, errFull, nil, nil}, told.errs)
	}
}

func TestRepeatsAreAnsweredWhileTheStoreFails(t *testing.T) {
	s := newSetup()
	client := newDisk().client()
	l := s.open(t, client)
	s.count(t, l, 1, "a")
	client.set(func(c *fakeClient) { c.full = true })
	_, err := s.send(t.Context(), l, 2, "a")
	require.ErrorIs(t, err, ErrStore)
	before := client.wrote()
	s.repeat(t, l, 1)
	assert.Equal(t, before, client.wrote())
}

func TestHandedOverIsBounded(t *testing.T) {
	s := newSetup()
	s.maxEntries = 2
	client := newDisk().client()
	l := s.open(t, client)
	// Writes of reports fail, those that heal do not.
	for n := range 3 {
		attempt, _, err := l.Begin(t.Context(), id(n))
		require.NoError(t, err)
		client.set(func(c *fakeClient) { c.full = true })
		_, err = attempt.Commit(t.Context(), Accepted, s.one("a"))
		require.ErrorIs(t, err, ErrStore)
		client.set(func(c *fakeClient) { c.full = false })
	}
	for n, want := range []Outcome{0, Accepted, Accepted} {
		attempt, _, err := l.Begin(t.Context(), id(n))
		require.NoError(t, err)
		assert.Equal(t, want, attempt.HandedOver)
		attempt.Release()
	}
}

func TestWithoutDeduplicationAFailedCommitIsForgotten(t *testing.T) {
	s := newSetup()
	s.forgetful = true
	client := newDisk().client()
	l := s.open(t, client)
	client.set(func(c *fakeClient) { c.full = true })
	_, err := s.send(t.Context(), l, 1, "a")
	require.ErrorIs(t, err, ErrStore)
	_, err = s.send(t.Context(), l, 1, "a")
	require.ErrorIs(t, err, ErrStore)
	client.set(func(c *fakeClient) { c.full = false })
	s.count(t, l, 1, "a")
	assert.Equal(t, int64(1), total(l))
}

func TestTotalsGoOutWhileTheStoreFails(t *testing.T) {
	s := newSetup()
	told := s.note()
	client := newDisk().client()
	l := s.open(t, client)
	s.count(t, l, 1, "a")
	s.move(time.Second)
	flush(t, l) // the zero
	client.set(func(c *fakeClient) { c.full = true })
	_, err := s.send(t.Context(), l, 2, "a")
	require.ErrorIs(t, err, ErrStore)
	s.move(time.Second)
	assert.True(t, l.Untaken())
	assert.Equal(t, int64(1), sum(flush(t, l)))
	assert.False(t, l.Untaken())
	client.set(func(c *fakeClient) { c.full = false })
	flush(t, l)
	require.Len(t, told.health, 2)
	require.NoError(t, told.health[1], "a collection heals too")
	s.count(t, l, 2, "a")
}

// hung returns a store whose next write does not end before release is called.
func hung(t *testing.T, s *setup) (l *Ledger[kind], release func()) {
	client := newDisk().client()
	gate := make(chan struct{})
	l = s.open(t, client)
	client.before = func([]*storage.Operation) { <-gate }
	return l, func() { close(gate) }
}

func TestAHungStoreHoldsNobodyPastTheirDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup()
		l, release := hung(t, s)
		collection, err := l.Collect(t.Context())
		require.NoError(t, err)
		var first sync.WaitGroup
		first.Go(func() { s.try(t, l, 1, "a") })
		synctest.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err = l.Collect(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, collection.Taken(ctx), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))

		l.store.failing.Store(true) // as the write before would have left it
		_, _, err = l.Begin(ctx, id(2))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		release()
		first.Wait()
		attempt, known, err := l.Begin(t.Context(), id(2))
		require.NoError(t, err, "it was not left in flight")
		require.Zero(t, known)
		attempt.Release()
	})
}

func TestOnlyOneOfManyHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup()
		client := newDisk().client()
		l := s.open(t, client)
		client.set(func(c *fakeClient) { c.full = true })
		_, err := s.send(t.Context(), l, 0, "a")
		require.ErrorIs(t, err, ErrStore)
		client.set(func(c *fakeClient) { c.full = false })
		gate := make(chan struct{})
		client.before = func([]*storage.Operation) { <-gate }
		before := client.wrote()
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() {
				attempt, _, err := l.Begin(t.Context(), id(n))
				if assert.NoError(t, err) {
					attempt.Release()
				}
			})
		}
		synctest.Wait()
		close(gate)
		all.Wait()
		assert.Equal(t, before+1, client.wrote())
	})
}

// What the pipelines have taken is taken, even when the context that it went out with has just ended: the lock is free, nothing
// has to be waited for. Otherwise a delta that made it in the last moment goes out twice.
func TestTakenIsRecordedWhenNothingHasToBeWaitedFor(t *testing.T) {
	for range 50 {
		s := newSetup()
		l := s.open(t, newDisk().client())
		s.count(t, l, 1, "a")
		collection, err := l.Collect(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, collection.Taken(ctx))
	}
}

func TestInMemoryNothingFails(t *testing.T) {
	s := newSetup()
	l := s.inMemory()
	s.count(t, l, 1, "a")
	assert.True(t, l.Untaken())
	flush(t, l)
	assert.Equal(t, int64(1), sum(flush(t, l)))
	assert.False(t, l.Untaken())
	assert.Equal(t, "first", l.Instance())
	require.NoError(t, l.Close(t.Context()))
}

// A caller that goes on after a panic, as an HTTP server does, finds the ledger in working order.
func TestAPanicInTheStoreDoesNotHangTheOthers(t *testing.T) {
	s := newSetup()
	client := newDisk().client()
	l := s.open(t, client)
	var once sync.Once
	client.before = func([]*storage.Operation) { once.Do(func() { panic("a bug in the extension") }) }
	func() {
		defer func() { _ = recover() }()
		attempt, _, err := l.Begin(t.Context(), id(1))
		if assert.NoError(t, err) {
			defer attempt.Release() // as every careful caller does
			_, err = attempt.Commit(t.Context(), Accepted, s.one("a"))
			assert.ErrorIs(t, err, ErrStore) // unless it panicked
		}
	}()
	done := make(chan error, 2)
	for n := range 2 {
		go func() {
			_, err := s.send(context.Background(), l, n+1, "a")
			done <- err
		}()
	}
	for range 2 {
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(5 * time.Second):
			t.Fatal("a commit hangs since another one panicked")
		}
	}
	assert.Equal(t, int64(2), total(l))
}
