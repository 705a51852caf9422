package ledger

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

// never are bounds at which no commit folds.
var never = bounds{records: 1 << 40, series: 1 << 40, deletes: 1 << 40}

func (s *setup) openWithin(tb testing.TB, client storage.Client, bounds bounds) *Ledger[kind] {
	tb.Helper()
	l, err := openBounded(tb.Context(), client, s.options(), bounds)
	require.NoError(tb, err)
	return l
}

// keptMeta returns the meta record.
func keptMeta(t *testing.T, d *disk) meta {
	t.Helper()
	content, err := unseal([]byte(d.snapshot()[metaKey]))
	require.NoError(t, err)
	var m meta
	require.NoError(t, json.Unmarshal(content, &m))
	return m
}

func TestACommitIsOneOperation(t *testing.T) {
	s := newSetup()
	s.metrics = []string{"failures", "by_tag"}
	client := newDisk().client()
	l := s.open(t, client)
	client.before = func(ops []*storage.Operation) {
		if assert.Len(t, ops, 1) {
			assert.Equal(t, storage.Set, ops[0].Type)
			assert.Contains(t, ops[0].Key, journalPrefix)
		}
	}
	for n := range 200 {
		attempt, _, err := l.Begin(t.Context(), id(n))
		require.NoError(t, err)
		_, err = attempt.Commit(t.Context(), Accepted, Counts[kind]{{{fmt.Sprint(n)}}, {{"x"}, {"y"}}})
		require.NoError(t, err)
	}
}

func TestACommitFoldsWhenABoundIsReached(t *testing.T) {
	for name, test := range map[string]struct {
		bounds bounds
		folds  []int // the commits that fold, of reports of two series in turn, of which the last three are remembered
	}{
		"records":        {bounds{records: 4, series: 100, deletes: 100}, []int{4, 8}},
		"series":         {bounds{records: 100, series: 2, deletes: 100}, []int{2, 4, 6, 8}},
		"half a removal": {bounds{records: 100, series: 100, deletes: 8}, []int{7}},
		"never":          {never, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, disk := newSetup(), newDisk()
			s.maxEntries = 3
			l := s.openWithin(t, disk.client(), test.bounds)
			var folds []int
			for n := range 10 {
				before := keptMeta(t, disk).Folded
				s.count(t, l, n, fmt.Sprint(n%2))
				after := keptMeta(t, disk)
				if after.Folded == before {
					continue
				}
				folds = append(folds, n)
				assert.Equal(t, uint64(n), after.Folded, "what was committed before is folded, the record itself is not")
				assert.Equal(t, uint64(n)+1, after.Next)
				assert.Equal(t, uint64(max(n-3, 0)), after.First)
			}
			assert.Equal(t, test.folds, folds)
			again := s.openWithin(t, disk.client(), test.bounds)
			assert.Equal(t, records(l, 0), records(again, 0))
			assert.Equal(t, uint64(10), keptMeta(t, disk).Folded, "a start folds all")
			assert.Equal(t, 3, again.Remembered())
		})
	}
}

// What a start folds is the same whether it is the first to do it, or a write of it came through and the process died.
func TestTheJournalIsFoldedOnce(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprint("the fold came through: ", after), func(t *testing.T) {
			s, disk := newSetup(), newDisk()
			client := disk.client()
			l := s.openWithin(t, client, never)
			for n := range 20 {
				s.count(t, l, n, fmt.Sprint(n%3))
			}
			want := records(l, 0)
			client.kill()
			for range 3 {
				client := disk.client()
				client.crashIn, client.crashAfter = 1, after
				_, err := Open(t.Context(), client, s.options())
				require.ErrorIs(t, err, errDead)
			}
			for range 3 {
				l = s.open(t, disk.client())
				assert.Equal(t, want, records(l, 0))
				assert.Equal(t, 20, l.Remembered())
			}
		})
	}
}

// Counts of a metric that is disabled when the journal is folded are in the series that it finds when it is enabled again.
func TestTheJournalIsFoldedIntoMetricsThatAreDisabled(t *testing.T) {
	for _, enabled := range [][]string{{"failures"}, {"new", "failures"}, {"other"}, {}} {
		t.Run(fmt.Sprint(enabled), func(t *testing.T) {
			s, disk := newSetup(), newDisk()
			s.metrics, s.limit = []string{"by_tag", "failures"}, 3
			commit := func(l *Ledger[kind], n int, tags ...kind) {
				attempt, _, err := l.Begin(t.Context(), id(n))
				require.NoError(t, err)
				_, err = attempt.Commit(t.Context(), Accepted, Counts[kind]{tags, {{"a"}}})
				require.NoError(t, err)
			}
			l := s.openWithin(t, disk.client(), never)
			commit(l, 1, kind{"x"}, kind{"y"})
			flush(t, l) // into series
			commit(l, 2, kind{"x"}, kind{"z"}, kind{"overflows"})
			commit(l, 3, kind{"z"})
			want := [...]map[int]counter.Record[kind]{records(l, 0), records(l, 1)}

			all := s.metrics
			s.metrics = enabled
			for range 2 {
				s.openWithin(t, disk.client(), never)
			}
			s.metrics = all
			again := s.openWithin(t, disk.client(), never)
			for m := range want {
				assert.Equal(t, want[m], records(again, m), all[m])
			}
			assert.Equal(t, map[string]int64{"x": 2, "y": 1, "z": 2, "overflow": 1}, totals(again, 0))
		})
	}
}

// What a run with totals left in the journal was not reported as a delta, and what one with deltas left there was not reported as a total.
func TestTheJournalKeepsTheTemporalityOfItsRun(t *testing.T) {
	for name, between := range map[string][]string{"": {"failures"}, "disabled meanwhile": {"other"}} {
		t.Run(name, func(t *testing.T) {
			s, disk := newSetup(), newDisk()
			run := func(temporality counter.Temporality, metrics []string) *Ledger[kind] {
				s.temporality, s.metrics = temporality, metrics
				return s.openWithin(t, disk.client(), never)
			}
			l := run(counter.Cumulative, []string{"failures"})
			s.count(t, l, 1, "a")
			flush(t, l)
			s.count(t, l, 2, "a")
			s.count(t, l, 3, "made by a run with totals")

			run(counter.Cumulative, between)
			l = run(counter.Delta, []string{"failures"})
			assert.Empty(t, flush(t, l), "what was counted as a total is no delta")
			s.count(t, l, 4, "a")
			s.count(t, l, 5, "a")
			s.count(t, l, 6, "made by a run with deltas")

			run(counter.Cumulative, between)
			l = run(counter.Delta, []string{"failures"})
			assert.Equal(t, int64(3), sum(flush(t, l)), "what was counted as a delta is one")
			assert.Equal(t, map[string]int64{"a": 4, "made by a run with totals": 1, "made by a run with deltas": 1}, totals(l, 0))
		})
	}
}

// A panic in the store is no answer: the record may be there or not. The next write takes it back, though nothing was said to have failed.
func TestWhatAPanicLeftIsTakenBack(t *testing.T) {
	s, disk := newSetup(), newDisk()
	client := disk.client()
	l := s.openWithin(t, client, never)
	s.count(t, l, 1, "a")
	client.before = func(ops []*storage.Operation) {
		client.mu.Lock()
		defer client.mu.Unlock()
		client.apply(ops)
		panic("after the fact")
	}
	assert.Panics(t, func() { _, _ = s.send(t.Context(), l, 2, "b") })
	client.before = nil
	assert.Equal(t, 2, disk.keys(journalPrefix))
	flush(t, l)
	assert.Equal(t, 1, disk.keys(journalPrefix))
	s.count(t, l, 3, "c")
	again := s.openWithin(t, disk.client(), never)
	assert.Equal(t, map[string]int64{"a": 1, "c": 1}, totals(again, 0))
	assert.Equal(t, records(l, 0), records(again, 0))
}

// A fold that came through though it was said to have failed has written series, and said how far. All of it is put right by the next.
func TestAnAmbiguousFoldIsMended(t *testing.T) {
	for name, next := range map[string]func(t *testing.T, s *setup, l *Ledger[kind]){
		"by a commit": func(t *testing.T, s *setup, l *Ledger[kind]) { s.count(t, l, 4, "c") },
		"by a flush":  func(t *testing.T, _ *setup, l *Ledger[kind]) { flush(t, l) },
		"at the end":  func(t *testing.T, _ *setup, l *Ledger[kind]) { require.NoError(t, l.Close(t.Context())) },
	} {
		t.Run(name, func(t *testing.T) {
			s, disk := newSetup(), newDisk()
			client := disk.client()
			l := s.openWithin(t, client, bounds{records: 2, series: 100, deletes: 100})
			s.count(t, l, 1, "a")
			s.count(t, l, 2, "a")
			client.set(func(c *fakeClient) { c.nth, c.ambiguous = 1, true })
			_, err := s.send(t.Context(), l, 3, "b")
			require.ErrorIs(t, err, ErrStore)
			require.Equal(t, uint64(2), keptMeta(t, disk).Folded, "it folded")
			client.set(func(c *fakeClient) { c.nth = 0 })
			next(t, s, l)
			want := records(l, 0)
			again := s.open(t, disk.client())
			assert.Equal(t, want, records(again, 0))
			assert.Zero(t, totals(again, 0)["b"])
		})
	}
}

// A series that is gone while the store fails is still in its slot there. Who takes the slot next has to clear it, also if it began before.
func TestASlotIsClearedBeforeItIsUsedAgain(t *testing.T) {
	s, disk := newSetup(), newDisk()
	s.maxStale, s.temporality = 1, counter.Delta
	client := disk.client()
	l := s.openWithin(t, client, never)
	s.count(t, l, 1, "stale")
	s.move(1)
	flush(t, l)
	attempt, _, err := l.Begin(t.Context(), id(2))
	require.NoError(t, err)
	client.set(func(c *fakeClient) { c.full = true })
	s.move(1)
	flush(t, l)
	require.Empty(t, totals(l, 0))
	client.set(func(c *fakeClient) { c.full = false })
	_, err = attempt.Commit(t.Context(), Accepted, s.one("new"))
	require.NoError(t, err)
	require.Equal(t, 1, l.options.Metrics[0].Sums.Slots())
	again := s.open(t, disk.client())
	assert.Equal(t, map[string]int64{"new": 1}, totals(again, 0))
}

// journaled is a disk with a journal of five records that is not folded, of three and two.
func journaled(t *testing.T) (*setup, *disk) {
	s, disk := newSetup(), newDisk()
	s.metrics = []string{"failures", "by_tag"}
	l := s.openWithin(t, disk.client(), bounds{records: 3, series: 100, deletes: 100})
	for n := range 5 {
		s.count(t, l, n, fmt.Sprint(n%2))
	}
	m := keptMeta(t, disk)
	require.Equal(t, []uint64{0, 3, 4}, []uint64{m.First, m.Folded, m.Next})
	require.Equal(t, 5, disk.keys(journalPrefix))
	return s, disk
}

func TestAJournalThatIsSpoiledIsRefusedAndLeftAlone(t *testing.T) {
	const folded, unfolded, last = "journal/0000000000000002", "journal/0000000000000003", "journal/0000000000000004"
	// a record that counts, in a metric, with varints of less than 128: slot, added twice, time
	counts := func(metric byte, rest ...byte) []byte {
		return append(appendReports[kind](appendHead(nil, counter.Cumulative, began), nil, began), append([]byte{metric, 1}, rest...)...)
	}
	set := func(key string, content []byte) func(*testing.T, *disk) {
		return func(_ *testing.T, d *disk) { d.set(key, string(seal(content))) }
	}
	made := append(appendTime([]byte{0}, began), 1, 'x') // what a series is made of
	for name, test := range map[string]struct {
		spoil func(t *testing.T, d *disk)
		says  string
	}{
		"a folded record missing":          {func(_ *testing.T, d *disk) { d.delete(folded) }, folded + " is corrupt: missing"},
		"a record missing":                 {func(_ *testing.T, d *disk) { d.delete(unfolded) }, unfolded + " is corrupt: missing"},
		"a gap":                            {func(_ *testing.T, d *disk) { d.set("journal/0000000000000006", d.snapshot()[last]) }, "journal/0000000000000006 is corrupt: the record before it is missing"},
		"a flipped bit":                    {func(_ *testing.T, d *disk) { flip(d, last) }, last + " is corrupt: the checksum is wrong"},
		"a flipped bit in a folded one":    {func(_ *testing.T, d *disk) { flip(d, folded) }, folded + " is corrupt: the checksum is wrong"},
		"torn":                             {func(_ *testing.T, d *disk) { d.set(last, d.snapshot()[last][:30]) }, last + " is corrupt: the checksum is wrong"},
		"empty":                            {func(_ *testing.T, d *disk) { d.set(last, "") }, last + " is corrupt: the checksum is wrong"},
		"too short":                        {func(t *testing.T, d *disk) { reseal(t, d, last, func(b []byte) []byte { return b[:len(b)-1] }) }, last + " is corrupt: the length is wrong"},
		"a folded one that is too short":   {func(t *testing.T, d *disk) { reseal(t, d, folded, func(b []byte) []byte { return b[:len(b)-1] }) }, folded + " is corrupt: the length is wrong"},
		"no outcome":                       {func(t *testing.T, d *disk) { reseal(t, d, last, func(b []byte) []byte { b[anOutcome] = 9; return b }) }, last + " is corrupt: there is no such outcome"},
		"no such metric":                   {set(last, counts(2, 0, 2, 0)), last + " is corrupt: there is no such metric"},
		"no such slot":                     {set(last, counts(0, 2, 2, 0)), last + " is corrupt: failures: there is no slot 2 among 2"},
		"a new slot that is not the next":  {set(last, counts(0, append([]byte{3, 3, 0}, made...)...)), last + " is corrupt: failures: there is no slot 3 among 2"},
		"a series made twice":              {set(last, counts(0, append([]byte{1, 3, 0}, made...)...)), last + " is corrupt: failures: slot 1 is not free"},
		"a series that is gone":            {func(_ *testing.T, d *disk) { d.delete(aSumKey) }, unfolded + " is corrupt: failures: slot 1 holds no series"},
		"a series whose key another has":   {set(last, counts(0, append(append([]byte{2, 3, 0, 0}, made[1:9]...), 1, '0')...)), "failures is corrupt: slot 2 holds a series that another slot holds too"},
		"a key that is none":               {set(last, counts(0, append(append([]byte{2, 3, 0, 0}, made[1:9]...), 1, '!')...)), "sum/failures/00000002 is corrupt: this is no key"},
		"a metric of the journal spoiled":  {spoilDisabled, "sum/other/00000000 is corrupt: the checksum is wrong"},
		"folded before what was removed":   {func(t *testing.T, d *disk) { rewrite(t, d, func(m map[string]any) { m["first"], m["folded"] = 2, 1 }) }, "meta is corrupt: first 2, next 4, journal 0, folded 1"},
		"folded after the end":             {func(t *testing.T, d *disk) { rewrite(t, d, func(m map[string]any) { m["folded"] = 9 }) }, "meta is corrupt: first 0, next 4, journal 0, folded 9"},
		"the journal begins when it ended": {func(t *testing.T, d *disk) { rewrite(t, d, func(m map[string]any) { m["journal"] = 4 }) }, "meta is corrupt: first 0, next 4, journal 4, folded 3"},
	} {
		t.Run(name, func(t *testing.T) {
			s, disk := journaled(t)
			test.spoil(t, disk)
			before := disk.snapshot()
			l, err := Open(t.Context(), disk.client(), s.options())
			require.ErrorIs(t, err, ErrStore)
			require.ErrorIs(t, err, errLeftAlone)
			require.ErrorContains(t, err, test.says)
			assert.Nil(t, l)
			assert.True(t, maps.Equal(before, disk.snapshot()), "the store was changed")
		})
	}
}

// spoilDisabled makes the second metric of the journal one that is disabled, with a series that cannot be read.
func spoilDisabled(t *testing.T, d *disk) {
	rewrite(t, d, func(m map[string]any) {
		m["metrics"], m["slots"] = []string{"failures", "other"}, map[string]int{"failures": 2, "other": 1}
	})
	d.set("sum/other/00000000", "?")
	d.set("journal/0000000000000004", string(seal(append(appendReports[kind](appendHead(nil, counter.Delta, began), nil, began), 1, 1, 0, 2, 0))))
}

func TestWhileTheJournalIsReadTheStoreFails(t *testing.T) {
	s, disk := journaled(t)
	before := disk.snapshot()
	reads := 0
	for ; ; reads++ {
		_, err := Open(t.Context(), &readsFail{disk.client(), reads}, s.options())
		if err == nil {
			break
		}
		require.ErrorIs(t, err, errUnread)
		require.ErrorIs(t, err, ErrStore)
		assert.True(t, maps.Equal(before, disk.snapshot()), "the store was changed")
	}
	assert.Equal(t, 5, reads, "meta, the series, the journal, what came after, and the fold")
}

// With a thousand reads at once, the end of the journal may be where one of them ends.
func TestTheEndOfTheJournalIsFoundWhereverItIs(t *testing.T) {
	for _, reports := range []int{0, 1, maxReads - 1, maxReads, maxReads + 1, 2 * maxReads} {
		s, disk := newSetup(), newDisk()
		s.maxEntries = 10_000
		l := s.openWithin(t, disk.client(), never)
		for n := range reports {
			s.count(t, l, n, "a")
		}
		client := disk.client()
		again := s.openWithin(t, client, never)
		assert.Equal(t, reports, again.Remembered())
		assert.Equal(t, int64(reports), total(again))
		assert.LessOrEqual(t, client.mostReads, maxReads)
		s.count(t, again, reports, "a")
		assert.Equal(t, int64(reports+1), total(s.open(t, disk.client())))
	}
}

// Reports of a store of version 1 are remembered from where they are until they expire, while the journal goes on behind them.
func TestAStoreOfVersion1IsCarriedOver(t *testing.T) {
	s, disk := newSetup(), newDisk()
	s.maxEntries = 4
	const reports = 3
	old := map[string]any{
		"format": format, "version": 1, "instance": "old", "random": []byte("secret"), "first": 7, "next": 7 + reports, "slots": map[string]int{"failures": 1},
	}
	content, err := json.Marshal(old)
	require.NoError(t, err)
	disk.set(metaKey, string(seal(content)))
	for n := range reports {
		disk.set(numbered(seenPrefix, uint64(7+n), 16), string(seal(legacySeen(pending[kind]{id: id(n), outcome: Accepted, at: s.Now()}))))
	}
	disk.set("sum/failures/00000000", string(seal(appendSeries(nil, &series{value: reports, start: began, counted: began, key: []byte("a")}))))

	for n := reports; n < 3*reports; n++ {
		l := s.openWithin(t, disk.client(), never)
		assert.Equal(t, "old", l.Instance())
		assert.Equal(t, version, keptMeta(t, disk).Version)
		assert.Equal(t, map[string]int64{"a": int64(n)}, totals(l, 0))
		for known := max(0, n-4); known < n; known++ {
			s.repeat(t, l, known)
		}
		s.count(t, l, n, "a")
	}
	s.open(t, disk.client())
	assert.Zero(t, disk.keys(seenPrefix))
	assert.Equal(t, 4, disk.keys(journalPrefix))
}

func TestAStoreOfVersion1ThatCannotBeWrittenIsLeftAsItIs(t *testing.T) {
	disk := readReleased(t, "testdata/store-v1/cumulative.json")
	before := disk.snapshot()
	client := disk.client()
	client.readOnly = true
	s := releasedSetup(counter.Cumulative)
	_, err := Open(t.Context(), client, s.options())
	require.ErrorIs(t, err, errReadOnly)
	assert.True(t, maps.Equal(before, disk.snapshot()), "the release before reads it still")
}

// A zero that went out is in the store before, whatever has become dirty since.
func TestAZeroThatWasKeptGoesOutThoughItsSeriesIsCountedWhileNothingIsFolded(t *testing.T) {
	s := newSetup()
	client := newDisk().client()
	l := s.openWithin(t, client, never)
	s.count(t, l, 1, "a")
	_, err := l.Collect(t.Context()) // refused
	require.NoError(t, err)
	s.count(t, l, 2, "a")
	client.set(func(c *fakeClient) { c.full = true })
	points := flush(t, l)
	require.Len(t, points, 2, "what the journal has is kept")
	assert.Zero(t, points[0].Value)
	assert.Equal(t, int64(2), points[1].Value)
}
