package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

func TestEverythingSurvivesARestart(t *testing.T) {
	for _, ending := range []string{"closed", "killed"} {
		for _, temporality := range []counter.Temporality{counter.Cumulative, counter.Delta} {
			t.Run(fmt.Sprint(ending, temporality), func(t *testing.T) {
				s := newSetup()
				s.metrics, s.temporality, s.limit = []string{"failures", "by_tag"}, temporality, 2
				disk := newDisk()
				client := disk.client()
				l := s.open(t, client)
				for n := range 10 {
					attempt, _, err := l.Begin(t.Context(), id(n))
					require.NoError(t, err)
					s.move(time.Second)
					_, err = attempt.Commit(t.Context(), Outcome(1+n%2), Counts[kind]{{{"a"}}, {{"x"}, {fmt.Sprint(n)}}})
					require.NoError(t, err)
					switch n {
					case 3:
						flush(t, l) // zeros, taken
					case 6:
						_, err = l.Collect(t.Context()) // more zeros, not taken
						require.NoError(t, err)
					}
				}
				s.note()
				if ending == "closed" {
					require.NoError(t, l.Close(t.Context()))
				} else {
					client.kill()
				}

				s.instance = "second"
				s.move(time.Hour)
				again := s.open(t, disk.client())
				assert.Equal(t, "first", again.Instance())
				assert.Equal(t, 10, again.Remembered())
				for n := range 10 {
					_, known, err := again.Begin(t.Context(), id(n))
					require.NoError(t, err)
					assert.Equal(t, Outcome(1+n%2), known)
				}
				for m := range s.metrics {
					assert.Equal(t, records(l, m), records(again, m))
				}
				assert.Equal(t, map[string]int64{"x": 10, "0": 1, "overflow": 9}, totals(again, 1))
				assert.Zero(t, again.EvictedEarly())
			})
		}
	}
}

func TestACounterGoesOnWhereItStopped(t *testing.T) {
	s := newSetup()
	disk := newDisk()
	client := disk.client()
	l := s.open(t, client)
	s.count(t, l, 1, "a")
	s.move(10 * time.Second)
	flush(t, l)
	s.count(t, l, 2, "a")
	s.move(10 * time.Second)
	before := flush(t, l)
	require.Len(t, before, 1)
	client.kill()

	s.move(time.Hour)
	l = s.open(t, disk.client())
	s.count(t, l, 3, "a")
	s.move(10 * time.Second)
	after := flush(t, l)
	require.Len(t, after, 1, "no second zero")
	assert.True(t, before[0].Start.Equal(after[0].Start))
	assert.Equal(t, int64(3), after[0].Value)
	assert.True(t, after[0].Time.Equal(s.Now()))
}

func TestADeltaGoesOnWhereItStopped(t *testing.T) {
	s := newSetup()
	s.temporality = counter.Delta
	disk := newDisk()
	client := disk.client()
	l := s.open(t, client)
	s.count(t, l, 1, "a")
	s.move(10 * time.Second)
	assert.Equal(t, int64(1), sum(flush(t, l)))
	s.count(t, l, 2, "a")
	s.count(t, l, 3, "a")
	_, err := l.Collect(t.Context()) // refused
	require.NoError(t, err)
	client.kill()

	l = s.open(t, disk.client())
	assert.True(t, l.Untaken())
	s.move(10 * time.Second)
	assert.Equal(t, int64(2), sum(flush(t, l)), "what was taken is not sent again, what was refused is")
	assert.Empty(t, flush(t, l))
}

// The time that a delta covers is the time in which it was counted, also when the process was restarted in between.
func TestADeltaThatWasNotTakenKeepsItsTimeOverARestart(t *testing.T) {
	s := newSetup()
	s.temporality = counter.Delta
	disk := newDisk()
	l := s.open(t, disk.client())
	s.move(10 * time.Second)
	s.count(t, l, 1, "a")
	counted := s.Now()
	require.NoError(t, l.Close(t.Context()))
	s.move(time.Hour)
	l = s.open(t, disk.client())
	s.move(10 * time.Second)
	points := flush(t, l)
	require.Len(t, points, 1)
	assert.False(t, points[0].Start.After(counted), "it was counted at %s, and the point starts at %s", counted, points[0].Start)
}

// What the clock does between two runs must not show in the points: a backend drops those that go back.
func TestTimeGoesOnOverARestart(t *testing.T) {
	for _, temporality := range []counter.Temporality{counter.Cumulative, counter.Delta} {
		s := newSetup()
		s.temporality = temporality
		disk := newDisk()
		l := s.open(t, disk.client())
		var last time.Time
		for n := range 5 {
			s.move(10 * time.Second)
			s.count(t, l, n, "a")
			for _, p := range flush(t, l) {
				last = p.Time
			}
		}
		require.NoError(t, l.Close(t.Context()))

		s.move(-30 * time.Second)
		l = s.open(t, disk.client())
		s.count(t, l, 10, "a")
		points := flush(t, l)
		require.Len(t, points, 1)
		assert.True(t, points[0].Time.After(last), "temporality %d: %s follows on %s", temporality, points[0].Time, last)
	}
}

func TestASlotIsUsedAgainAndComesBackAsWhatItIs(t *testing.T) {
	s := newSetup()
	s.maxStale = time.Minute
	disk := newDisk()
	l := s.open(t, disk.client())
	n := 0
	for round := range 5 {
		for i := range 4 {
			s.count(t, l, n, fmt.Sprintf("%d-%d", round, i))
			n++
		}
		for range 4 {
			s.move(time.Minute)
			flush(t, l)
		}
		assert.Empty(t, totals(l, 0), "all stale")
		assert.Zero(t, disk.keys("sum/"), "and gone from the disk")
		require.NoError(t, l.Close(t.Context()))
		l = s.open(t, disk.client())
		assert.Empty(t, totals(l, 0))
		assert.Equal(t, 4, l.options.Metrics[0].Sums.Slots())
	}
	s.count(t, l, n, "new")
	again := s.open(t, disk.client())
	assert.Equal(t, records(l, 0), records(again, 0))
	assert.Equal(t, map[string]int64{"new": 1}, totals(again, 0))
}

func TestASmallerCardinalityLimitLosesNothing(t *testing.T) {
	s := newSetup()
	disk := newDisk()
	l := s.open(t, disk.client())
	for n := range 10 {
		s.count(t, l, n, fmt.Sprint(n))
	}
	s.limit = 3
	l = s.open(t, disk.client())
	assert.Equal(t, int64(10), total(l))
	s.count(t, l, 10, "9")
	s.count(t, l, 11, "new")
	assert.Equal(t, int64(2), totals(l, 0)["9"])
	assert.Equal(t, int64(1), totals(l, 0)["overflow"])
	again := s.open(t, disk.client())
	assert.Equal(t, totals(l, 0), totals(again, 0))
}

func TestASmallerMaxEntriesKeepsTheLatest(t *testing.T) {
	s := newSetup()
	disk := newDisk()
	l := s.open(t, disk.client())
	for n := range 10 {
		s.count(t, l, n, "a")
	}
	s.maxEntries = 3
	l = s.open(t, disk.client())
	assert.Equal(t, 3, l.Remembered())
	for n := 7; n < 10; n++ {
		s.repeat(t, l, n)
	}
	assert.Equal(t, 3, disk.keys(journalPrefix), "and the disk is relieved of the others at once")
	s.maxEntries = 100
	l = s.open(t, disk.client())
	assert.Equal(t, 3, l.Remembered())
	assert.Equal(t, int64(10), total(l))
}

// groupOf commits n reports from first on in two writes: the first of them alone, and the others.
func groupOf(t *testing.T, s *setup, d *disk, first, n int) {
	synctest.Test(t, func(t *testing.T) {
		client := d.client()
		l := s.open(t, client)
		through := make(chan struct{})
		client.before = func([]*storage.Operation) { <-through }
		for i := range n {
			go s.try(t, l, first+i, "a")
			synctest.Wait()
		}
		close(through)
		synctest.Wait()
	})
}

// A record with reports stays as long as one of them is needed. What of it was forgotten before is forgotten after a restart, too, and
// not counted as evicted a second time.
func TestARestartEvictsNothing(t *testing.T) {
	s := newSetup()
	s.maxEntries = 6
	disk := newDisk()
	groupOf(t, s, disk, 0, 6) // the report 0, and 1 to 5 in one record
	l := s.open(t, disk.client())
	for n := 6; n < 9; n++ {
		s.count(t, l, n, "a")
	}
	assert.Equal(t, int64(3), l.EvictedEarly())
	l = s.open(t, disk.client())
	assert.Equal(t, 6, l.Remembered())
	for n := 3; n < 9; n++ {
		s.repeat(t, l, n)
	}
	assert.Zero(t, l.EvictedEarly())
}

func TestOtherMetrics(t *testing.T) {
	s := newSetup()
	s.metrics = []string{"failures", "by_tag"}
	disk := newDisk()
	l := s.open(t, disk.client())
	attempt, _, err := l.Begin(t.Context(), id(1))
	require.NoError(t, err)
	_, err = attempt.Commit(t.Context(), Accepted, Counts[kind]{{{"a"}}, {{"x"}, {"y"}}})
	require.NoError(t, err)

	s.metrics = []string{"failures"}
	for n := 2; n < 4; n++ {
		l = s.open(t, disk.client())
		s.count(t, l, n, "a")
	}
	assert.Equal(t, 2, disk.keys("sum/by_tag/"), "a metric that is disabled keeps what it has")

	s.metrics = []string{"new", "by_tag", "failures"} // in another order
	l = s.open(t, disk.client())
	assert.Empty(t, totals(l, 0))
	assert.Equal(t, map[string]int64{"x": 1, "y": 1}, totals(l, 1))
	assert.Equal(t, map[string]int64{"a": 3}, totals(l, 2))
	s.count(t, l, 4, "z")
	again := s.open(t, disk.client())
	for m := range s.metrics {
		assert.Equal(t, records(l, m), records(again, m))
	}
}

func TestFromCumulativeToDeltaAndBack(t *testing.T) {
	s := newSetup()
	disk := newDisk()
	l := s.open(t, disk.client())
	s.count(t, l, 1, "a")
	s.move(time.Second)
	flush(t, l)
	s.move(time.Second)
	total := flush(t, l)
	require.Equal(t, int64(1), sum(total))

	s.temporality = counter.Delta
	l = s.open(t, disk.client())
	assert.Empty(t, flush(t, l), "what was reported as a total is not reported as a delta")
	s.count(t, l, 2, "a")
	s.move(time.Second)
	assert.Equal(t, int64(1), sum(flush(t, l)))
	s.count(t, l, 3, "b")

	s.temporality = counter.Cumulative
	l = s.open(t, disk.client())
	s.move(time.Second)
	points := flush(t, l)
	require.Len(t, points, 2)
	assert.Equal(t, "a", points[0].Key.name)
	assert.Equal(t, int64(2), points[0].Value, "the total is that of both")
	assert.True(t, points[0].Start.Equal(total[0].Start))
	assert.Equal(t, "b", points[1].Key.name)
	assert.Zero(t, points[1].Value, "as a total it begins with zero")
}

func TestWhatWasReportedAsATotalIsNeverReportedAsADelta(t *testing.T) {
	begin := func(t *testing.T) (*setup, *disk) {
		s, disk := newSetup(), newDisk()
		s.metrics = []string{"failures", "other"}
		l := s.open(t, disk.client())
		for n := range 5 {
			s.count(t, l, n, "a")
			s.move(time.Second)
			flush(t, l)
		}
		require.False(t, l.Untaken())
		require.NoError(t, l.Close(t.Context()))
		s.temporality = counter.Delta
		return s, disk
	}
	t.Run("after another restart", func(t *testing.T) {
		s, disk := begin(t)
		l := s.open(t, disk.client())
		assert.Empty(t, flush(t, l))
		require.NoError(t, l.Close(t.Context()))
		l = s.open(t, disk.client())
		assert.Empty(t, flush(t, l))
	})
	t.Run("after the metric was disabled meanwhile", func(t *testing.T) {
		s, disk := begin(t)
		s.metrics = []string{"other"}
		require.NoError(t, s.open(t, disk.client()).Close(t.Context()))
		s.metrics = []string{"failures"}
		assert.Empty(t, flush(t, s.open(t, disk.client())))
	})
}

func TestADeltaIsKeptWhileItsMetricIsDisabled(t *testing.T) {
	s, disk := newSetup(), newDisk()
	s.temporality = counter.Delta
	l := s.open(t, disk.client())
	s.count(t, l, 1, "a")
	require.NoError(t, l.Close(t.Context()))

	s.temporality, s.metrics = counter.Cumulative, []string{"other"}
	require.NoError(t, s.open(t, disk.client()).Close(t.Context()))

	s.temporality, s.metrics = counter.Delta, []string{"failures"}
	assert.Equal(t, int64(1), sum(flush(t, s.open(t, disk.client()))))
}

// A restart that is no crash sends no delta twice, even if the store failed for a moment just before.
func TestCloseKeepsWhatTheStoreOwes(t *testing.T) {
	s, disk := newSetup(), newDisk()
	s.temporality = counter.Delta
	client := disk.client()
	l := s.open(t, client)
	s.count(t, l, 1, "a")
	c, err := l.Collect(t.Context())
	require.NoError(t, err)
	client.set(func(c *fakeClient) { c.full = true })
	require.NoError(t, c.Taken(t.Context()))
	client.set(func(c *fakeClient) { c.full = false })
	require.NoError(t, l.Close(t.Context()))

	assert.Empty(t, flush(t, s.open(t, disk.client())))
}

// Totals go out also while the store fails. If the process dies then, the series must go on where the backend has them.
func TestATotalNeverGoesBackAfterACrash(t *testing.T) {
	s, disk := newSetup(), newDisk()
	client := disk.client()
	l := s.open(t, client)
	s.count(t, l, 1, "a")
	client.set(func(c *fakeClient) { c.full = true })
	var last counter.Point[kind]
	for range 3 {
		s.move(10 * time.Second)
		for _, p := range flush(t, l) {
			last = p
		}
	}
	client.kill()

	s.move(time.Minute)
	l = s.open(t, disk.client())
	for range 2 {
		s.move(10 * time.Second)
		for _, p := range flush(t, l) {
			if p.Start.Equal(last.Start) && p.Time.After(last.Time) {
				assert.GreaterOrEqual(t, p.Value, last.Value, "the backend has %d at %s, now it gets %d at %s", last.Value, last.Time, p.Value, p.Time)
			}
		}
	}
}

func TestAmbiguousWritesAreMended(t *testing.T) {
	for _, end := range []string{"killed at once", "mended by the next write"} {
		t.Run(end, func(t *testing.T) {
			s, disk := newSetup(), newDisk()
			client := disk.client()
			l := s.open(t, client)
			s.count(t, l, 1, "a")
			client.set(func(c *fakeClient) { c.nth, c.ambiguous = 1, true })
			_, err := s.send(t.Context(), l, 2, "b")
			require.ErrorIs(t, err, ErrStore)
			assert.Equal(t, map[string]int64{"a": 1}, totals(l, 0))

			if end == "killed at once" {
				client.kill()
				l = s.open(t, disk.client())
				s.repeat(t, l, 2) // it is in, both seen and counted
				assert.Equal(t, map[string]int64{"a": 1, "b": 1}, totals(l, 0))
				return
			}
			client.set(func(c *fakeClient) { c.nth = 0 })
			flush(t, l)
			again := s.open(t, disk.client())
			assert.Equal(t, map[string]int64{"a": 1}, totals(again, 0))
			s.count(t, again, 2, "b")
			assert.Equal(t, map[string]int64{"a": 1, "b": 1}, totals(again, 0))
		})
	}
}

func TestExpiredReportsLeaveTheDisk(t *testing.T) {
	s, disk := newSetup(), newDisk()
	s.ttl, s.maxEntries = time.Hour, 10_000
	client := disk.client()
	l := s.open(t, client)
	for n := range 2500 {
		s.count(t, l, n, "a")
	}
	assert.Equal(t, 2500, disk.keys(journalPrefix))
	s.move(time.Hour)
	s.count(t, l, 3000, "a")
	assert.Equal(t, 1501, disk.keys(journalPrefix), "a write removes so many at most")
	flush(t, l)
	for range 3 { // also when nothing comes any more
		_, err := l.Collect(t.Context())
		require.NoError(t, err)
	}
	assert.Equal(t, 1, disk.keys(journalPrefix))
	assert.LessOrEqual(t, client.mostDeletes, int(usual.deletes))

	s.move(time.Hour)
	flush(t, l)
	assert.Zero(t, disk.keys(journalPrefix))
	again := s.open(t, disk.client())
	s.count(t, again, 1, "a")
	again = s.open(t, disk.client())
	s.repeat(t, again, 1)
}

func TestReportsThatExpiredWhileNothingRanAreRemovedByAndBy(t *testing.T) {
	s, disk := newSetup(), newDisk()
	s.ttl, s.maxEntries = time.Hour, 10_000
	l := s.open(t, disk.client())
	for n := range 2500 {
		s.count(t, l, n, "a")
	}
	s.move(2 * time.Hour)
	client := disk.client()
	l = s.open(t, client)
	assert.LessOrEqual(t, client.mostReads, maxReads)
	assert.Zero(t, l.Remembered())
	assert.Equal(t, 1500, disk.keys(journalPrefix))
	flush(t, l)
	assert.Zero(t, disk.keys(journalPrefix))
	assert.Equal(t, int(usual.deletes), client.mostDeletes)
	assert.Equal(t, int64(2500), total(l))
}

func TestTheDiskIsBounded(t *testing.T) {
	reports := 200_000
	if testing.Short() {
		reports = 20_000
	}
	s, disk := newSetup(), newDisk()
	s.maxEntries, s.limit = 1000, 100
	client := disk.client()
	l := s.open(t, client)
	most := 0
	for n := range reports {
		s.count(t, l, n, fmt.Sprint(n%150))
		if n%1000 == 0 {
			s.move(time.Second)
			flush(t, l)
			most = max(most, disk.keys(""))
		}
	}
	assert.LessOrEqual(t, most, 1000+1+101+1, "reports, one more that the next write removes, series, meta")
	assert.Equal(t, int64(reports), total(l))
	assert.Equal(t, int64(reports-1000), l.EvictedEarly())
}

func TestNothingIsWrittenWhenNothingChanged(t *testing.T) {
	for _, temporality := range []counter.Temporality{counter.Cumulative, counter.Delta} {
		s, disk := newSetup(), newDisk()
		s.temporality = temporality
		client := disk.client()
		l := s.open(t, client)
		s.count(t, l, 1, "a")
		s.repeat(t, l, 1)
		for range 2 {
			s.move(time.Second)
			flush(t, l)
		}
		before := client.wrote()
		for range 20 {
			s.move(time.Second)
			flush(t, l)
			s.repeat(t, l, 1)
		}
		attempt, _, err := l.Begin(t.Context(), id(2))
		require.NoError(t, err)
		attempt.Release()
		assert.Equal(t, before, client.wrote())
	}
}

func TestDeduplicationIsSwitchedOffAndOn(t *testing.T) {
	s, disk := newSetup(), newDisk()
	l := s.open(t, disk.client())
	s.count(t, l, 1, "a")
	s.forgetful = true
	l = s.open(t, disk.client())
	s.count(t, l, 1, "a")
	s.forgetful = false
	l = s.open(t, disk.client())
	s.count(t, l, 2, "a")
	again := s.open(t, disk.client())
	s.repeat(t, again, 2)
	assert.Equal(t, int64(3), total(again))
}

// filled is a disk with what a run has left on it.
func filled(t *testing.T) (*setup, *disk) {
	s, disk := newSetup(), newDisk()
	s.metrics = []string{"failures", "by_tag"}
	l := s.open(t, disk.client())
	for n := range 5 {
		s.count(t, l, n, fmt.Sprint(n%2))
	}
	flush(t, l)
	require.NoError(t, l.Close(t.Context()))
	return s, disk
}

const (
	aRecordKey = "journal/0000000000000002"
	aSumKey    = "sum/failures/00000001"
	// anOutcome is where that of the first report is in a record: after flags, time, number of reports and identity.
	anOutcome = 1 + 8 + 1 + len(ID{})
)

// rewrite changes the meta record as an object of JSON.
func rewrite(t *testing.T, d *disk, change func(meta map[string]any)) {
	content, err := unseal([]byte(d.snapshot()[metaKey]))
	require.NoError(t, err)
	var object map[string]any
	require.NoError(t, json.Unmarshal(content, &object))
	change(object)
	content, err = json.Marshal(object)
	require.NoError(t, err)
	d.set(metaKey, string(seal(content)))
}

func flip(d *disk, key string) {
	value := []byte(d.snapshot()[key])
	value[len(value)/2] ^= 0x10
	d.set(key, string(value))
}

func reseal(t *testing.T, d *disk, key string, change func(content []byte) []byte) {
	content, err := unseal([]byte(d.snapshot()[key]))
	require.NoError(t, err)
	d.set(key, string(seal(change(content))))
}

func TestWhatCannotBeUsedIsRefusedAndLeftAlone(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, d *disk)
		says  string
	}{
		"of a newer release": {func(t *testing.T, d *disk) { rewrite(t, d, func(m map[string]any) { m["version"] = 7 }) }, "newer release (version 7, this one reads 2)"},
		"of a newer release in another shape": {func(t *testing.T, d *disk) {
			rewrite(t, d, func(m map[string]any) { m["version"], m["slots"] = 7, []string{"failures"} })
		}, "newer release (version 7, this one reads 2)"},
		"of no release":           {func(t *testing.T, d *disk) { rewrite(t, d, func(m map[string]any) { delete(m, "version") }) }, "version 0"},
		"of another format":       {func(t *testing.T, d *disk) { rewrite(t, d, func(m map[string]any) { m["format"] = "something" }) }, "holds no ledger"},
		"meta with a flipped bit": {func(_ *testing.T, d *disk) { flip(d, metaKey) }, "corrupt"},
		"meta cut off":            {func(_ *testing.T, d *disk) { d.set(metaKey, "{}") }, "corrupt"},
		"meta empty":              {func(_ *testing.T, d *disk) { d.set(metaKey, "") }, "corrupt"},
		"meta that is no JSON":    {func(_ *testing.T, d *disk) { d.set(metaKey, string(seal([]byte("[")))) }, "corrupt"},
		"meta of somebody else":   {func(_ *testing.T, d *disk) { d.restore(map[string]string{metaKey: "their own"}) }, "holds no ledger of this receiver"},
		"first after next":        {func(t *testing.T, d *disk) { rewrite(t, d, func(m map[string]any) { m["first"] = 99 }) }, "meta is corrupt: first 99, next 5, journal 0, folded 5"},
		"no slots":                {func(t *testing.T, d *disk) { rewrite(t, d, func(m map[string]any) { delete(m, "slots") }) }, "meta is corrupt"},
		"slots below zero": {func(t *testing.T, d *disk) {
			rewrite(t, d, func(m map[string]any) { m["slots"] = map[string]int{"failures": -1} })
		}, "corrupt"},
		"a series with a flipped bit": {func(_ *testing.T, d *disk) { flip(d, aSumKey) }, aSumKey + " is corrupt: the checksum is wrong"},
		"a series cut off":            {func(_ *testing.T, d *disk) { d.set(aSumKey, "abc") }, aSumKey + " is corrupt"},
		"a series that is too short":  {func(t *testing.T, d *disk) { reseal(t, d, aSumKey, func(b []byte) []byte { return b[:20] }) }, aSumKey + " is corrupt: the length is wrong"},
		"a series with no key": {func(t *testing.T, d *disk) {
			reseal(t, d, aSumKey, func(b []byte) []byte { return append(b[:seriesSize], '!') })
		}, aSumKey + " is corrupt: this is no key"},
		"a series that is there twice": {func(_ *testing.T, d *disk) { d.set(aSumKey, d.snapshot()["sum/failures/00000000"]) }, "failures is corrupt"},
		"a report with a flipped bit":  {func(_ *testing.T, d *disk) { flip(d, aRecordKey) }, aRecordKey + " is corrupt: the checksum is wrong"},
		"a report missing":             {func(_ *testing.T, d *disk) { d.delete(aRecordKey) }, aRecordKey + " is corrupt: missing"},
		"a report of a wrong length":   {func(t *testing.T, d *disk) { reseal(t, d, aRecordKey, func(b []byte) []byte { return b[1:] }) }, aRecordKey + " is corrupt: the length is wrong"},
		"a report without an outcome": {func(t *testing.T, d *disk) {
			reseal(t, d, aRecordKey, func(b []byte) []byte { b[anOutcome] = 0; return b })
		}, aRecordKey + " is corrupt"},
		"a report with no such outcome": {func(t *testing.T, d *disk) {
			reseal(t, d, aRecordKey, func(b []byte) []byte { b[anOutcome] = 3; return b })
		}, aRecordKey + " is corrupt"},
	} {
		t.Run(name, func(t *testing.T) {
			s, disk := filled(t)
			test.spoil(t, disk)
			before := disk.snapshot()
			for _, client := range []storage.Client{disk.client(), walkingClient{disk.client()}} {
				told := s.note()
				require.NotPanics(t, func() {
					l, err := Open(t.Context(), client, s.options())
					assert.Equal(t, true, l == nil) //nolint:testifylint // assert.Nil writes all of it out
					if assert.ErrorIs(t, err, ErrStore) {
						assert.ErrorContains(t, err, test.says)
						assert.ErrorIs(t, err, errLeftAlone)
					}
				})
				assert.True(t, maps.Equal(before, disk.snapshot()), "the store was changed")
				assert.Empty(t, told.health)
				require.NoError(t, client.Close(t.Context()), "an error leaves the client to the caller")
			}
		})
	}
}

func TestAForeignStoreIsRefusedWhereTheExtensionCanTell(t *testing.T) {
	s, disk := newSetup(), newDisk()
	disk.set("queue/1", "something")
	before := disk.snapshot()
	_, err := Open(t.Context(), walkingClient{disk.client()}, s.options())
	require.ErrorIs(t, err, ErrStore)
	require.ErrorIs(t, err, errLeftAlone)
	require.ErrorContains(t, err, "something else")
	assert.True(t, maps.Equal(before, disk.snapshot()), "the store was changed")

	l := s.open(t, disk.client())
	s.count(t, l, 1, "a")
	assert.Equal(t, "something", disk.snapshot()["queue/1"], "where it cannot, nothing of it is touched")

	s.open(t, walkingClient{disk.client()})
	s.open(t, walkingClient{newDisk().client()})
}

func TestAStoreThatCannotBeReadOrWrittenIsRefusedAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		empty bool
		fault func(c *fakeClient)
		err   error
		says  string
	}{
		"unreadable":             {false, func(c *fakeClient) { c.unreadable = true }, errUnread, "reading"},
		"empty, unreadable":      {true, func(c *fakeClient) { c.unreadable = true }, errUnread, "reading"},
		"read-only":              {false, func(c *fakeClient) { c.readOnly = true }, errReadOnly, "read-only"},
		"empty, read-only":       {true, func(c *fakeClient) { c.readOnly = true }, errReadOnly, "read-only"},
		"full":                   {false, func(c *fakeClient) { c.full = true }, errFull, "no space"},
		"unreadable from one on": {false, nil, errUnread, "reading"},
	} {
		t.Run(name, func(t *testing.T) {
			s, disk := filled(t)
			if test.empty {
				disk = newDisk()
			}
			before := disk.snapshot()
			client := disk.client()
			var err error
			if test.fault != nil {
				client.set(test.fault)
				_, err = Open(t.Context(), client, s.options())
			} else {
				_, err = Open(t.Context(), &readsFail{client, 1}, s.options())
				require.ErrorIs(t, err, test.err)
				_, err = Open(t.Context(), &readsFail{client, 2}, s.options())
			}
			require.ErrorIs(t, err, ErrStore)
			require.ErrorIs(t, err, test.err)
			require.ErrorContains(t, err, test.says)
			assert.True(t, maps.Equal(before, disk.snapshot()), "the store was changed")
		})
	}
}

// readsFail fails after a number of reads.
type readsFail struct {
	*fakeClient
	reads int
}

func (c *readsFail) Get(ctx context.Context, key string) ([]byte, error) {
	if c.reads--; c.reads < 0 {
		return nil, errUnread
	}
	return c.fakeClient.Get(ctx, key)
}

func (c *readsFail) Batch(ctx context.Context, ops ...*storage.Operation) error {
	if c.reads--; c.reads < 0 {
		return errUnread
	}
	return c.fakeClient.Batch(ctx, ops...)
}

func TestErrorsAreForPeople(t *testing.T) {
	s, disk := filled(t)
	flip(disk, aRecordKey)
	_, err := Open(t.Context(), disk.client(), s.options())
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "%!")
	assert.NotContains(t, err.Error(), "\n")
}
