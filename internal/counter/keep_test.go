package counter

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// held returns what a set holds, by slot.
func held(s *Sums[kind]) map[int]Record[kind] {
	records := make(map[int]Record[kind])
	for slot := range s.Slots() {
		if r, ok := s.Record(slot); ok {
			records[slot] = r
		}
	}
	return records
}

// ordered yields records in the order of their slots, as a store does.
func ordered(records map[int]Record[kind]) iter.Seq2[int, Record[kind]] {
	return func(yield func(int, Record[kind]) bool) {
		for _, slot := range slices.Sorted(maps.Keys(records)) {
			if !yield(slot, records[slot]) {
				return
			}
		}
	}
}

// updated returns what series that are held become by a change.
func updated(records map[int]Record[kind], c *Change[kind]) map[int]Record[kind] {
	for i := range c.Updates() {
		u := &c.Updates()[i]
		r := records[u.Slot()]
		if u.Made {
			r.Key, r.Overflow, r.Start = u.Series()
		}
		r.Value += u.Add
		r.Counted = u.Counted
		records[u.Slot()] = r
	}
	return records
}

func TestAChangeCountsWhenItIsApplied(t *testing.T) {
	sums := newSums(Options{Limit: 2})
	sums.Add([]kind{{"a"}}, at(0))
	change := sums.Stage()
	for i, name := range []string{"a", "b", "a", "c", "d", "b"} {
		want := 0
		if name == "c" || name == "d" {
			want = 1
		}
		assert.Equal(t, want, change.Add([]kind{{name}}, at(time.Duration(i+1))), name)
	}
	assert.Equal(t, 1, sums.Len(), "nothing is counted yet")
	assert.Equal(t, map[int]Record[kind]{0: {Key: kind{"a"}, Value: 1, Start: began, Counted: began}}, held(sums))

	want := map[int]Record[kind]{
		0: {Key: kind{"a"}, Value: 3, Start: began, Counted: at(3)},
		1: {Key: kind{"b"}, Value: 2, Start: began, Counted: at(6)},
		2: {Overflow: true, Value: 2, Start: began, Counted: at(5)},
	}
	assert.Equal(t, want, updated(held(sums), change), "but it is known what will be")
	assert.Equal(t, 3, sums.Slots(), "the slots are taken")
	change.Apply()
	assert.Equal(t, want, held(sums))
	assert.Equal(t, 3, sums.Len())

	assert.Empty(t, change.Updates(), "it is empty then, and is used again")
	assert.Equal(t, 1, change.Add([]kind{{"e"}}, at(7)), "the overflow series that is there")
	assert.Equal(t, 2, change.Add([]kind{{"f"}, {"a"}, {"g"}}, at(8)))
	change.Apply()
	assert.Equal(t, int64(5), held(sums)[2].Value)
	assert.Equal(t, int64(4), held(sums)[0].Value)
}

func TestAChangeThatIsDroppedLeavesNoTrace(t *testing.T) {
	sums := newSums(Options{Limit: 3})
	sums.Add([]kind{{"a"}}, at(0))
	change := sums.Stage()
	for round := range 10 {
		for i := range 5 {
			change.Add([]kind{{fmt.Sprintf("%d-%d", round, i)}}, at(1))
		}
		change.Add([]kind{{"a"}}, at(1))
		change.Drop()
		assert.Equal(t, map[int]Record[kind]{0: {Key: kind{"a"}, Value: 1, Start: began, Counted: began}}, held(sums))
		assert.Equal(t, 1, sums.Len())
		assert.Equal(t, 4, sums.Slots(), "slots are used again")
	}
	assert.Zero(t, sums.Add([]kind{{"b"}}, at(2)))
	assert.Zero(t, sums.Add([]kind{{"c"}}, at(2)))
	assert.Equal(t, 1, sums.Add([]kind{{"d"}}, at(2)))
	assert.Equal(t, 4, sums.Slots())
	assert.Len(t, held(sums), 4)
}

// TestAChangeIsAsGoodAsAdd plays the same events to two sets, one by one to the first and in changes to the second, some of which are
// dropped at first and tried again.
func TestAChangeIsAsGoodAsAdd(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		options := Options{Temporality: Temporality(r.IntN(2)), Limit: 1 + r.IntN(5), MaxStale: time.Duration(r.IntN(2)) * 10 * time.Second}
		one, other := newSums(options), newSums(options)
		clock, change := began, other.Stage()
		for range 60 {
			clock = clock.Add(time.Duration(r.IntN(5000)) * time.Millisecond)
			if r.IntN(4) == 0 {
				a, b := one.Collect(clock), other.Collect(clock)
				require.Equal(t, points(a), points(b), "seed %d", seed)
				if r.IntN(3) > 0 {
					assert.Len(t, b.Taken(), len(a.Taken()))
				}
				continue
			}
			var keys []kind
			for range r.IntN(6) {
				keys = append(keys, kind{fmt.Sprint(r.IntN(8))})
			}
			for tries := r.IntN(3); ; tries-- {
				half := r.IntN(len(keys) + 1)
				overflowed := change.Add(keys[:half], clock)
				overflowed += change.Add(keys[half:], clock)
				if tries > 0 {
					change.Drop()
					continue
				}
				want := updated(held(other), change)
				change.Apply()
				require.Equal(t, want, held(other), "what was to be kept is what there is")
				require.Equal(t, one.Add(keys, clock), overflowed)
				break
			}
			require.Equal(t, one.Len(), other.Len())
			require.LessOrEqual(t, other.Slots(), options.Limit+1, "seed %d: slots are bounded", seed)
		}
		require.ElementsMatch(t, slices.Collect(maps.Values(held(one))), slices.Collect(maps.Values(held(other))), "seed %d", seed)
	}
}

func TestStagedSeriesShareNoMemoryWithWhatTheyCameIn(t *testing.T) {
	sums := newSums(Options{})
	key := kind{string([]byte("a"))}
	change := sums.Stage()
	change.Add([]kind{key}, began)
	change.Apply()
	assert.NotSame(t, unsafe.StringData(key.name), unsafe.StringData(held(sums)[0].Key.name))
}

// TestRestoreGoesOn interrupts a history at any point and goes on with a set that was restored from what the first held.
func TestRestoreGoesOn(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		options := Options{Temporality: Temporality(r.IntN(2)), Limit: 1 + r.IntN(4), MaxStale: 20 * time.Second}
		sums := newSums(options)
		backend := newBackend(t, options.Temporality, fmt.Sprintf("seed %d, %+v", seed, options))
		clock, counted := began, int64(0)
		flush := func() {
			report := sums.Collect(clock)
			backend.take(report)
			report.Taken()
		}
		for range 150 {
			switch r.IntN(8) {
			case 0, 1, 2:
				sums.Add([]kind{{fmt.Sprint(r.IntN(6))}}, clock)
				counted++
			case 3:
				sums.Collect(clock) // refused
			case 4, 5:
				flush()
			case 6:
				clock = clock.Add(time.Duration(r.IntN(15)) * time.Second)
			case 7:
				before, slots := held(sums), sums.Slots()
				clock = clock.Add(time.Duration(1+r.IntN(15)) * time.Second)
				sums = New[kind](options, clock)
				require.NoError(t, sums.Restore(slots, ordered(before)))
				require.Equal(t, before, held(sums))
				require.Equal(t, slots, sums.Slots())
				require.Equal(t, len(before), sums.Len())
			}
			require.LessOrEqual(t, sums.Len(), options.Limit+1)
		}
		for sums.Untaken() {
			flush()
		}
		require.Equal(t, counted, backend.total(), backend.name)
	}
}

func TestRestoreMoreThanTheLimit(t *testing.T) {
	records := make(map[int]Record[kind])
	for i := range 10 {
		records[2*i] = Record[kind]{Key: kind{fmt.Sprint(i)}, Start: began, Value: 1, Counted: at(0), Zeroed: at(Step), ZeroTaken: true}
	}
	sums := newSums(Options{Limit: 3, MaxStale: time.Minute})
	require.NoError(t, sums.Restore(20, ordered(records)))
	assert.Equal(t, 10, sums.Len(), "all are kept")
	assert.Zero(t, sums.Add([]kind{{"4"}}, at(time.Second)))
	assert.Equal(t, 1, sums.Add([]kind{{"new"}}, at(time.Second)), "and no new ones are made")
	assert.Equal(t, 1, sums.Stage().Add([]kind{{"new"}}, at(time.Second)))
	assert.Equal(t, 11, sums.Len())
	r, ok := sums.Record(1)
	assert.False(t, ok, "%v", r)

	for i := range 3 {
		sums.Add([]kind{{"4"}}, at(time.Duration(i+1)*time.Minute))
		sums.Add([]kind{{"new"}}, at(time.Duration(i+1)*time.Minute))
		sums.Collect(at(time.Duration(i+1) * time.Minute)).Taken()
	}
	assert.Equal(t, 2, sums.Len(), "the others have gone stale")
	assert.Zero(t, sums.Add([]kind{{"newer"}}, at(4*time.Minute)), "so that there is room again")
	assert.Equal(t, 20, sums.Slots())
}

func TestRestoreRefusesWhatCannotBe(t *testing.T) {
	a := Record[kind]{Key: kind{"a"}, Start: began, Value: 2, Taken: 1}
	overflow := Record[kind]{Overflow: true, Start: began, Value: 1}
	type entry struct {
		slot   int
		record Record[kind]
	}
	for name, test := range map[string]struct {
		slots   int
		records []entry
		says    string
	}{
		"a slot out of range":       {1, []entry{{1, a}}, "slot 1 of 1 is out of range or taken"},
		"a slot below zero":         {1, []entry{{-1, a}}, "slot -1 of 1 is out of range or taken"},
		"a slot twice":              {2, []entry{{1, a}, {1, overflow}}, "slot 1 of 2 is out of range or taken"},
		"a series twice":            {2, []entry{{0, a}, {1, a}}, "slot 1 holds a series that another slot holds too"},
		"two overflow series":       {2, []entry{{0, overflow}, {1, overflow}}, "slot 1 holds a series that another slot holds too"},
		"more taken than counted":   {1, []entry{{0, Record[kind]{Value: 1, Taken: 2}}}, "slot 0 holds a series of which more was taken than counted"},
		"less than nothing taken":   {1, []entry{{0, Record[kind]{Value: 1, Taken: -1}}}, "slot 0 holds a series of which more was taken than counted"},
		"less than nothing counted": {1, []entry{{0, Record[kind]{Value: -2, Taken: -2}}}, "slot 0 holds a series of which more was taken than counted"},
		"less than no slots":        {-1, nil, "-1"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NotPanics(t, func() {
				err := newSums(Options{}).Restore(test.slots, func(yield func(int, Record[kind]) bool) {
					for _, e := range test.records {
						if !yield(e.slot, e.record) {
							return
						}
					}
				})
				assert.ErrorContains(t, err, test.says)
			})
		})
	}
	sums := newSums(Options{})
	require.NoError(t, sums.Restore(3, ordered(map[int]Record[kind]{1: a, 2: overflow})))
	assert.Equal(t, 2, sums.Len(), "a key without a name is no overflow series, and the other way round")
	require.NoError(t, newSums(Options{}).Restore(0, ordered(nil)))
}

func TestTimeGoesOnAfterARestoreWhateverTheClockDoes(t *testing.T) {
	late := at(time.Hour)
	for name, record := range map[string]Record[kind]{
		"start": {Key: kind{"a"}, Start: late, Value: 1, Counted: late},
		"zero":  {Key: kind{"a"}, Start: began, Value: 1, Counted: began, Zeroed: late, ZeroTaken: true},
		// What counted it was reported no earlier than that, if it was.
		"count": {Key: kind{"a"}, Start: began, Value: 1, Counted: late, Zeroed: at(Step), ZeroTaken: true, Taken: 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, temporality := range []Temporality{Cumulative, Delta} {
				sums := newSums(Options{Temporality: temporality}) // at began, an hour earlier
				require.NoError(t, sums.Restore(1, ordered(map[int]Record[kind]{0: record})))
				sums.Add([]kind{{"a"}}, at(time.Minute))
				sums.Add([]kind{{"b"}}, at(time.Minute))
				for p := range sums.Collect(at(time.Minute)).Points() {
					assert.True(t, p.Time.After(late), "%s is not after %s", p.Time, late)
					assert.True(t, p.Start.Before(p.Time))
				}
			}
		})
	}
}

func TestReportsSayWhichSlotsToKeep(t *testing.T) {
	sums := newSums(Options{MaxStale: time.Minute})
	sums.Add([]kind{{"a"}}, at(0))
	sums.Add([]kind{{"b"}}, at(0))
	first := sums.Collect(at(time.Second))
	assert.Equal(t, []int{0, 1}, first.Changed, "zeros")
	again := sums.Collect(at(2 * time.Second))
	assert.Empty(t, again.Changed)
	assert.Equal(t, []int{0, 1}, again.Taken(), "the zeros are taken")
	third := sums.Collect(at(3 * time.Second))
	assert.Empty(t, third.Taken(), "a total shows by itself")
	sums.Add([]kind{{"b"}}, at(time.Minute))
	end := sums.Collect(at(time.Minute + 3*time.Second))
	assert.Equal(t, []int{0}, end.Taken())
	_, ok := sums.Record(0)
	assert.False(t, ok, "it is gone")

	deltas := newSums(Options{Temporality: Delta})
	deltas.Add([]kind{{"a"}}, at(0))
	deltas.Add([]kind{{"b"}}, at(0))
	report := deltas.Collect(at(time.Second))
	assert.Empty(t, report.Changed)
	assert.Equal(t, []int{0, 1}, report.Taken())
	deltas.Add([]kind{{"b"}}, at(0))
	assert.Equal(t, []int{1}, deltas.Collect(at(2*time.Second)).Taken())
}

func TestASeriesWhoseZeroCouldNotBeKeptIsWithheld(t *testing.T) {
	sums := newSums(Options{})
	sums.Add([]kind{{"a"}}, at(0))
	sums.Collect(at(time.Second)).Taken()
	sums.Add([]kind{{"b"}}, at(time.Second))

	report := sums.Collect(at(2 * time.Second))
	b := report.Changed[0]
	report.Withhold(func(slot int) bool { return slot == b })
	assert.Equal(t, []string{"a 0s..2s 1"}, points(report))
	report.Taken()

	assert.Equal(t, []string{"a 0s..3s 1", "b 1s..3s 0"}, points(sums.Collect(at(3*time.Second))), "it begins with its zero as soon as that can be kept")
	again := sums.Collect(at(4 * time.Second)) // the one before was refused
	again.Withhold(func(slot int) bool { return slot == b })
	assert.Equal(t, []string{"a 0s..4s 1"}, points(again), "and keeps the time of a zero that may have gone out")
	assert.Equal(t, []string{"a 0s..5s 1", "b 1s..3s 0", "b 1s..5s 1"}, points(sums.Collect(at(5*time.Second))))
}

func TestTimeGoesOnFromAnEarlierRun(t *testing.T) {
	earlier := newSums(Options{Temporality: Delta})
	earlier.Collect(at(time.Hour)).Taken()
	earlier.Collect(at(2 * time.Hour)) // refused
	collected, taken := earlier.Times()

	later := newSums(Options{Temporality: Delta}) // with the clock set back
	later.Resume(collected, taken)
	later.Add([]kind{{"a"}}, at(0))
	assert.Equal(t, []string{"a 2h0m0s..2h0m0.001s 1"}, points(later.Collect(at(time.Minute))))
}
