package ledger

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

func TestAReportThatExpiredIsUnknownToBegin(t *testing.T) {
	s := newSetup()
	l := s.inMemory()
	s.count(t, l, 1, "a")
	s.move(s.ttl)
	s.count(t, l, 1, "a") // nothing else has looked at the ledger since
	assert.Equal(t, map[string]int64{"a": 2}, totals(l, 0))
}

func TestWhatExpiresDuringAnAttemptIsNotEvicted(t *testing.T) {
	s := newSetup()
	s.maxEntries = 1
	l := s.inMemory()
	s.count(t, l, 1, "a")
	attempt, _, err := l.Begin(t.Context(), id(2))
	require.NoError(t, err)
	s.move(s.ttl)
	_, err = attempt.Commit(t.Context(), Accepted, s.one("a"))
	require.NoError(t, err)
	assert.Zero(t, l.EvictedEarly())
}

func TestAnAttemptEndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup()
		l := s.inMemory()
		first, _, err := l.Begin(t.Context(), id(1))
		require.NoError(t, err)
		first.Release()
		second, _, err := l.Begin(t.Context(), id(1))
		require.NoError(t, err)
		first.Release()

		third, known, err := l.Begin(t.Context(), id(1))
		require.ErrorIs(t, err, ErrInFlight, "the second is under way, whatever the first does")
		assert.Nil(t, third)
		assert.Zero(t, known)
		third, known, err = l.Begin(canceled(t), id(1))
		require.ErrorIs(t, err, canceled(t).Err())
		assert.Nil(t, third)
		assert.Zero(t, known)
		second.Release()
		second.Release()
	})
}

// One caller writes for all who wait. If it panics meanwhile, none of them may take its report for committed.
func TestAPanicIsAnErrorForTheOthersOfTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup()
		client := newDisk().client()
		l := s.open(t, client)
		gate, writes := make(chan struct{}), 0
		client.before = func([]*storage.Operation) {
			if writes++; writes == 1 {
				<-gate
			} else if writes == 2 {
				panic("a bug in the extension")
			}
		}
		var all sync.WaitGroup
		all.Go(func() { s.try(t, l, 0, "a") })
		synctest.Wait()
		var mu sync.Mutex
		panics, refused := 0, 0
		for n := range 3 {
			all.Go(func() {
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					if recover() != nil {
						panics++
					}
				}()
				attempt, _, err := l.Begin(t.Context(), id(n+1))
				if err != nil {
					t.Error(err)
					return
				}
				defer attempt.Release()
				_, err = attempt.Commit(t.Context(), Accepted, s.one("a"))
				if errors.Is(err, ErrStore) {
					mu.Lock()
					defer mu.Unlock()
					refused++
				}
			})
		}
		synctest.Wait()
		close(gate)
		all.Wait()
		assert.Equal(t, 1, panics)
		assert.Equal(t, 2, refused)
		assert.Equal(t, int64(1), total(l))
	})
}

func TestOneTryServesAllWhoWaitWhileTheStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetup()
		client := newDisk().client()
		l := s.open(t, client)
		client.set(func(c *fakeClient) { c.full = true })
		_, err := s.send(t.Context(), l, 0, "a")
		require.ErrorIs(t, err, ErrStore)

		gate := make(chan struct{})
		client.before = func([]*storage.Operation) { <-gate }
		before := client.wrote()
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() {
				_, _, err := l.Begin(t.Context(), id(n))
				assert.ErrorIs(t, err, ErrStore)
			})
		}
		synctest.Wait()
		close(gate)
		all.Wait()
		assert.Equal(t, before+1, client.wrote())
	})
}

func TestFailedCommitsUseUpNoSlots(t *testing.T) {
	s := newSetup()
	client := newDisk().client()
	l := s.open(t, client)
	s.count(t, l, 0, "a")
	slots := l.options.Metrics[0].Sums.Slots()
	for n := range 20 {
		attempt, _, err := l.Begin(t.Context(), id(n+1))
		require.NoError(t, err)
		client.set(func(c *fakeClient) { c.full = true })
		_, err = attempt.Commit(t.Context(), Accepted, s.one("b"))
		require.ErrorIs(t, err, ErrStore)
		client.set(func(c *fakeClient) { c.full = false })
	}
	assert.LessOrEqual(t, l.options.Metrics[0].Sums.Slots(), slots+1)
}

// A zero that the store has, but no pipeline yet, goes out again while the store fails: only those that it does not have are withheld.
func TestAZeroThatWasKeptGoesOutWhileTheStoreFails(t *testing.T) {
	s := newSetup()
	client := newDisk().client()
	l := s.open(t, client)
	s.count(t, l, 1, "a")
	_, err := l.Collect(t.Context()) // refused
	require.NoError(t, err)
	s.count(t, l, 2, "b")
	client.set(func(c *fakeClient) { c.full = true })
	s.move(time.Second)
	var names []string
	for _, p := range flush(t, l) {
		names = append(names, p.Key.name)
	}
	assert.Equal(t, []string{"a", "a"}, names, "the zero of a and its total, and nothing of b")
}

func TestAnOverflowThatWasReportedAsATotalIsNeverReportedAsADelta(t *testing.T) {
	s := newSetup()
	s.limit = 1
	disk := newDisk()
	l := s.open(t, disk.client())
	s.count(t, l, 1, "a")
	s.count(t, l, 2, "b")
	flush(t, l)
	s.move(time.Second)
	flush(t, l)
	require.NoError(t, l.Close(t.Context()))

	s.temporality = counter.Delta
	assert.Empty(t, flush(t, s.open(t, disk.client())))
}

func TestAStoreWithASeriesTwiceIsCorrupt(t *testing.T) {
	s := newSetup()
	disk := newDisk()
	l := s.open(t, disk.client())
	for n, name := range []string{"a", "b", "c"} {
		s.count(t, l, n, name)
	}
	require.NoError(t, l.Close(t.Context()))
	disk.set("sum/failures/00000001", disk.snapshot()["sum/failures/00000000"])
	_, err := Open(t.Context(), disk.client(), s.options())
	require.ErrorIs(t, err, ErrStore)
	assert.ErrorContains(t, err, "failures is corrupt: slot 1 holds a series that another slot holds too")
}

func TestObserveIsToldHowManyReportsAWriteHas(t *testing.T) {
	s := newSetup()
	var told []int
	s.observe = func(reports int, err error) {
		require.NoError(t, err)
		told = append(told, reports)
	}
	l := s.open(t, newDisk().client())
	s.count(t, l, 1, "a")
	flush(t, l)
	require.NoError(t, l.Close(t.Context()))
	assert.Equal(t, []int{0, 1, 0, 0, 0}, told, "opened, one report, the zero and that it was taken, closed")
}

func TestTheSecretInMemoryIsThatOfTheOptions(t *testing.T) {
	o := newSetup().options()
	o.Secret = []byte("secret")
	assert.Equal(t, o.Secret, New(o).Secret())
}

func TestWhatIsWrongWithTheMetaRecordIsSaid(t *testing.T) {
	for content, text := range map[string]string{
		`{"format":"smtp_failure ledger","version":3}`:                                            "written by a newer release (version 3, this one reads 2)",
		`{"format":"smtp_failure ledger","version":0}`:                                            "written by version 0, which this release cannot read",
		`{"format":"smtp_failure ledger","version":2,"slots":[]}`:                                 "meta is corrupt",
		`{"format":"smtp_failure ledger","version":1}`:                                            "meta is corrupt: first 0, next 0",
		`{"format":"smtp_failure ledger","version":2}`:                                            "meta is corrupt: first 0, next 0",
		`{"format":"smtp_failure ledger","version":1,"first":1,"slots":{}}`:                       "meta is corrupt: first 1, next 0",
		`{"format":"smtp_failure ledger","version":2,"first":2,"next":3,"folded":1,"slots":{}}`:   "meta is corrupt: first 2, next 3, journal 0, folded 1",
		`{"format":"smtp_failure ledger","version":2,"next":3,"folded":4,"slots":{}}`:             "meta is corrupt: first 0, next 3, journal 0, folded 4",
		`{"format":"smtp_failure ledger","version":2,"next":3,"folded":1,"journal":2,"slots":{}}`: "meta is corrupt: first 0, next 3, journal 2, folded 1",
		`{"format":"smtp_failure ledger","version":2,"next":1e19,"slots":{}}`:                     "meta is corrupt",
		`{"format":"smtp_failure ledger","version":2,"next":18446744073709551615,"slots":{}}`:     "meta is corrupt: first 0, next 18446744073709551615",
		`{"format":"smtp_failure ledger","version":1,"slots":{"failures":-1}}`:                    "meta is corrupt: -1 slots of failures",
		`{"format":"something else","version":1,"slots":{}}`:                                      "no ledger of this receiver",
	} {
		_, err := readMeta(seal([]byte(content)))
		require.ErrorIs(t, err, ErrStore, content)
		require.ErrorIs(t, err, errLeftAlone, content)
		assert.ErrorContains(t, err, text, content)
	}
}
