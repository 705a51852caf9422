package counter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestThereIsNoSeriesPastTheLastSlot(t *testing.T) {
	sums := newSums(Options{})
	_, ok := sums.Record(0)
	assert.False(t, ok)
	sums.Add([]kind{{"a"}}, at(0))
	_, ok = sums.Record(sums.Slots())
	assert.False(t, ok)
}

// A key without any attribute is as good as any, and not the overflow series, whose key is the same.
func TestTheEmptyKeyIsNotTheOverflowSeries(t *testing.T) {
	sums := newSums(Options{Limit: 1})
	assert.Zero(t, sums.Add([]kind{{}}, at(0)))
	assert.Equal(t, 1, sums.Add([]kind{{"b"}}, at(0)))
	want := held(sums)
	require.Len(t, want, 2)

	restored := newSums(Options{Limit: 1})
	require.NoError(t, restored.Restore(2, ordered(want)))
	assert.Zero(t, restored.Add([]kind{{}}, at(1)))
	assert.Equal(t, 1, restored.Add([]kind{{"c"}}, at(1)))
	assert.Equal(t, int64(2), held(restored)[0].Value)
	assert.Equal(t, int64(2), held(restored)[1].Value)
}

func TestARestoredDeltaBeginsWhereTheLastOneEnded(t *testing.T) {
	earlier := newSums(Options{Temporality: Delta})
	earlier.Add([]kind{{"a"}}, at(0))
	earlier.Collect(at(time.Minute)).Taken()
	earlier.Collect(at(time.Hour)) // refused
	collected, taken := earlier.Times()
	assert.Equal(t, at(time.Hour), collected)
	assert.Equal(t, at(time.Minute), taken)

	later := newSums(Options{Temporality: Delta})
	require.NoError(t, later.Restore(earlier.Slots(), ordered(held(earlier))))
	later.Resume(collected, taken)
	later.Add([]kind{{"a"}}, at(2*time.Hour))
	assert.Equal(t, []string{"a 1m0s..2h0m0s 1"}, points(later.Collect(at(2*time.Hour))))
	later.Resume(at(time.Second), taken)
	collected, _ = later.Times()
	assert.Equal(t, at(2*time.Hour), collected, "time never goes back")
}

func TestTheLastPointOfASeriesHasNoValue(t *testing.T) {
	sums := newSums(Options{MaxStale: time.Minute})
	sums.Add([]kind{{"a"}}, at(0))
	sums.Collect(at(time.Second)).Taken()
	sums.Collect(at(2 * time.Second)).Taken()
	ended := 0
	for p := range sums.Collect(at(time.Minute)).Points() {
		assert.Equal(t, Point[kind]{Key: kind{"a"}, Start: began, Time: at(time.Minute), Ended: true}, p)
		ended++
	}
	assert.Equal(t, 1, ended)
}

// Two reports may be under way at the same time, and what the first of them settled is not settled once more.
func TestWhatTwoReportsShowIsSettledOnce(t *testing.T) {
	sums := newSums(Options{MaxStale: time.Minute})
	sums.Add([]kind{{"a"}}, at(0))
	one, two := sums.Collect(at(time.Second)), sums.Collect(at(2*time.Second))
	assert.Equal(t, []int{0}, one.Taken(), "the zero was taken")
	assert.Empty(t, two.Taken())

	one, two = sums.Collect(at(time.Minute)), sums.Collect(at(2*time.Minute))
	assert.Equal(t, []int{0}, one.Taken(), "the series has ended")
	assert.Empty(t, two.Taken())
	sums.Add([]kind{{"b"}}, at(2*time.Minute))
	sums.Add([]kind{{"c"}}, at(2*time.Minute))
	assert.Len(t, held(sums), 2, "no two series are in one slot")
}

func TestOnlySeriesWithoutAZeroThatCouldBeKeptAreWithheld(t *testing.T) {
	sums := newSums(Options{})
	sums.Add([]kind{{"a"}}, at(0))
	sums.Collect(at(time.Second)).Taken()
	sums.Add([]kind{{"b"}}, at(time.Second))
	sums.Add([]kind{{"c"}}, at(time.Second))

	report := sums.Collect(at(2 * time.Second))
	a, b := 0, report.Changed[0]
	report.Withhold(func(slot int) bool { return slot == a || slot == b })
	assert.Equal(t, []string{"a 0s..2s 1", "c 1s..2s 0"}, points(report), "the zero of a was taken long ago")
}
