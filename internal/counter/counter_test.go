package counter

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// kind is the key of these tests.
type kind struct{ name string }

func (k kind) Clone() kind { return kind{strings.Clone(k.name)} }

var began = time.Date(2026, time.November, 21, 10, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return began.Add(d) }

func newSums(o Options) *Sums[kind] {
	if o.Limit == 0 {
		o.Limit = 2000
	}
	return New[kind](o, began)
}

// points writes a report out, one point to a line: series, start and time after began, value.
func points(r *Report[kind]) []string {
	var lines []string
	for p := range r.Points() {
		name := p.Key.name
		if p.Overflow {
			name = "overflow"
		}
		value := fmt.Sprint(p.Value)
		if p.Ended {
			value = "ended"
		}
		lines = append(lines, fmt.Sprintf("%s %s..%s %s", name, p.Start.Sub(began), p.Time.Sub(began), value))
	}
	return lines
}

func TestCumulativeBeginsWithZero(t *testing.T) {
	sums := newSums(Options{})
	sums.Add([]kind{{"a"}}, at(3*time.Second))
	sums.Add([]kind{{"a"}}, at(4*time.Second))

	first := sums.Collect(at(10 * time.Second))
	assert.Equal(t, []string{"a 0s..10s 0"}, points(first))
	first.Taken()
	assert.True(t, sums.Untaken(), "the count is still due")

	second := sums.Collect(at(20 * time.Second))
	assert.Equal(t, []string{"a 0s..20s 2"}, points(second))
	second.Taken()
	assert.False(t, sums.Untaken())

	sums.Add([]kind{{"b"}}, at(21*time.Second))
	third := sums.Collect(at(30 * time.Second))
	assert.Equal(t, []string{"a 0s..30s 2", "b 20s..30s 0"}, points(third),
		"totals go out also when nothing new came, and a series begins where it was last certainly zero")
}

func TestCumulativeRepeatsTheZeroUntilItIsTaken(t *testing.T) {
	sums := newSums(Options{})
	sums.Add([]kind{{"a"}}, at(time.Second))

	sums.Collect(at(10 * time.Second)) // refused
	refused := sums.Collect(at(20 * time.Second))
	assert.Equal(t, []string{"a 0s..10s 0", "a 0s..20s 1"}, points(refused), "the zero keeps its time, so that it never looks like a reset")

	sums.Add([]kind{{"a"}}, at(21*time.Second))
	taken := sums.Collect(at(30 * time.Second))
	assert.Equal(t, []string{"a 0s..10s 0", "a 0s..30s 2"}, points(taken))
	taken.Taken()

	assert.Equal(t, []string{"a 0s..40s 2"}, points(sums.Collect(at(40*time.Second))))
}

func TestDelta(t *testing.T) {
	sums := newSums(Options{Temporality: Delta})
	sums.Add([]kind{{"a"}}, at(time.Second))
	first := sums.Collect(at(10 * time.Second))
	assert.Equal(t, []string{"a 0s..10s 1"}, points(first))
	first.Taken()

	assert.Empty(t, points(sums.Collect(at(20*time.Second))), "nothing new, nothing to send")

	sums.Add([]kind{{"a"}}, at(21*time.Second))
	sums.Add([]kind{{"b"}}, at(22*time.Second))
	refused := sums.Collect(at(30 * time.Second))
	assert.Equal(t, []string{"a 10s..30s 1", "b 20s..30s 1"}, points(refused))

	sums.Add([]kind{{"a"}}, at(31*time.Second))
	kept := sums.Collect(at(40 * time.Second))
	assert.Equal(t, []string{"a 10s..40s 2", "b 20s..40s 1"}, points(kept), "what was refused is kept and its time covered")
	kept.Taken()
	assert.False(t, sums.Untaken())
	assert.Empty(t, points(sums.Collect(at(50*time.Second))))
}

func TestWhatIsCountedWhileAReportIsUnderWayGoesIntoTheNext(t *testing.T) {
	for _, temporality := range []Temporality{Cumulative, Delta} {
		sums := newSums(Options{Temporality: temporality})
		sums.Add([]kind{{"a"}}, at(0))
		sums.Collect(at(time.Second)).Taken()
		sums.Add([]kind{{"a"}}, at(time.Second))
		underWay := sums.Collect(at(2 * time.Second))
		sums.Add([]kind{{"a"}}, at(2*time.Second))
		underWay.Taken()

		assert.True(t, sums.Untaken())
		var last int64
		for p := range sums.Collect(at(3 * time.Second)).Points() {
			last = p.Value
		}
		assert.Equal(t, map[Temporality]int64{Cumulative: 3, Delta: 1}[temporality], last)
	}
}

func TestPastTheLimitOneSeriesTakesTheRest(t *testing.T) {
	sums := newSums(Options{Limit: 2})
	for i, name := range []string{"a", "b", "c", "d", "a", "c"} {
		assert.Equal(t, name == "c" || name == "d", sums.Add([]kind{{name}}, at(time.Duration(i))) == 1, name)
	}
	assert.Equal(t, 3, sums.Len(), "the limit and the overflow series")
	sums.Collect(at(time.Second)).Taken()
	assert.Equal(t, []string{"a 0s..2s 2", "b 0s..2s 1", "overflow 0s..2s 3"}, points(sums.Collect(at(2*time.Second))))
}

func TestStaleSeriesEnd(t *testing.T) {
	sums := newSums(Options{MaxStale: time.Minute, Limit: 1})
	sums.Add([]kind{{"a"}}, at(0))
	sums.Add([]kind{{"b"}}, at(30*time.Second))
	sums.Collect(at(31 * time.Second)).Taken()

	late := sums.Collect(at(2 * time.Minute))
	assert.Equal(t, []string{"a 0s..2m0s 1", "overflow 0s..2m0s 1"}, points(late), "no series ends before its total was taken, however late that is")
	late.Taken()

	refused := sums.Collect(at(3 * time.Minute))
	assert.Equal(t, []string{"a 0s..3m0s ended", "overflow 0s..3m0s ended"}, points(refused))
	assert.Equal(t, 2, sums.Len(), "an end that was refused is sent again")
	end := sums.Collect(at(4 * time.Minute))
	assert.Equal(t, []string{"a 0s..4m0s ended", "overflow 0s..4m0s ended"}, points(end))

	sums.Add([]kind{{"a"}}, at(4*time.Minute))
	end.Taken()
	assert.Equal(t, 1, sums.Len(), "a was counted meanwhile and goes on")
	goesOn := sums.Collect(at(5 * time.Minute))
	assert.Equal(t, []string{"a 0s..5m0s 2"}, points(goesOn))
	goesOn.Taken()

	sums.Collect(at(10 * time.Minute)).Taken()
	assert.Zero(t, sums.Len())
	sums.Add([]kind{{"b"}}, at(11*time.Minute))
	assert.Equal(t, []string{"b 10m0s..12m0s 0"}, points(sums.Collect(at(12*time.Minute))), "there is room again, and the new series begins after the old ones ended")
}

func TestStaleDeltasEndSilently(t *testing.T) {
	sums := newSums(Options{Temporality: Delta, MaxStale: time.Minute})
	sums.Add([]kind{{"a"}}, at(0))
	sums.Collect(at(2 * time.Minute)) // refused
	assert.Equal(t, 1, sums.Len())
	sums.Collect(at(3 * time.Minute)).Taken()
	assert.Equal(t, 1, sums.Len(), "it was only just taken")
	end := sums.Collect(at(4 * time.Minute))
	assert.Empty(t, points(end))
	end.Taken()
	assert.Zero(t, sums.Len())
}

func TestZeroMaxStaleKeepsSeriesForever(t *testing.T) {
	sums := newSums(Options{})
	sums.Add([]kind{{"a"}}, at(0))
	for i := range 3 {
		sums.Collect(at(time.Duration(i+1) * 1000 * time.Hour)).Taken()
	}
	assert.Equal(t, 1, sums.Len())
}

func TestTimeAdvancesWhateverTheClockDoes(t *testing.T) {
	sums := newSums(Options{})
	sums.Add([]kind{{"a"}}, at(0))
	last := began
	for _, clock := range []time.Duration{0, 0, time.Second, -time.Hour, time.Second, 2 * time.Second} {
		report := sums.Collect(at(clock))
		report.Taken()
		for p := range report.Points() {
			assert.GreaterOrEqual(t, p.Time.Sub(last), Step)
			assert.True(t, p.Start.Before(p.Time))
			last = p.Time
		}
	}
	assert.Equal(t, at(2*time.Second), last, "and it follows the clock again as soon as that has caught up")
}

func TestPointsStopWhenAskedTo(t *testing.T) {
	for _, temporality := range []Temporality{Cumulative, Delta} {
		sums := newSums(Options{Temporality: temporality})
		sums.Add([]kind{{"a"}}, at(0))
		sums.Add([]kind{{"b"}}, at(0))
		sums.Collect(at(1)) // refused: the next report has zeros and counts
		for stop := 1; stop <= 2; stop++ {
			seen := 0
			for range sums.Collect(at(time.Second)).Points() {
				if seen++; seen == stop {
					break
				}
			}
			assert.Equal(t, stop, seen)
		}
	}
}

func TestConcurrentCountsAreExact(t *testing.T) {
	const goroutines, each = 32, 2000
	sums := newSums(Options{Limit: 10})
	var adding, collecting sync.WaitGroup
	for g := range goroutines {
		adding.Go(func() {
			for i := range each {
				sums.Add([]kind{{fmt.Sprint((g + i) % 20)}}, began)
			}
		})
	}
	done := make(chan struct{})
	collecting.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				sums.Collect(began).Taken()
				sums.Len()
			}
		}
	})
	adding.Wait()
	close(done)
	collecting.Wait()

	sums.Collect(began).Taken()
	var total int64
	for p := range sums.Collect(began).Points() {
		total += p.Value
	}
	assert.Equal(t, int64(goroutines*each), total)
}

// While a report is made of more series than are gone through at once, others are counted, made and ended.
func TestCountsDuringALongReportAreExact(t *testing.T) {
	for _, temporality := range []Temporality{Cumulative, Delta} {
		const goroutines, each, names = 4, 20_000, 4 * chunk
		// Every series that is not counted between two reports is stale.
		sums := newSums(Options{Limit: names, MaxStale: 1, Temporality: temporality})
		var adding sync.WaitGroup
		for g := range goroutines {
			adding.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), 0))
				for range each {
					sums.Add([]kind{{strconv.Itoa(r.IntN(names))}}, began)
				}
			})
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			adding.Wait()
		}()

		ended := 0
		taken := make(map[kind]map[time.Time]int64)
		take := func(now time.Time) {
			report := sums.Collect(now)
			points := 0
			for p := range report.Points() {
				points++
				if taken[p.Key] == nil {
					taken[p.Key] = make(map[time.Time]int64)
				}
				switch {
				case p.Ended:
					ended++
				case temporality == Delta:
					taken[p.Key][p.Time] = p.Value
				default:
					taken[p.Key][p.Start] = p.Value
				}
			}
			require.Equal(t, points, report.Len())
			report.Taken()
		}
		for adds := true; adds; {
			take(began.Add(time.Second))
			select {
			case <-done:
				adds = false
			default:
			}
		}
		// All may have been counted after the last report: then the next one has the zeros, the one after it the counts, and the last one the ends.
		for range 3 {
			take(began.Add(time.Second))
		}

		var total int64
		for _, values := range taken {
			for _, value := range values {
				total += value
			}
		}
		assert.Equal(t, int64(goroutines*each), total)
		if temporality == Cumulative {
			assert.Positive(t, ended)
		}
	}
}

// TestNothingIsLostOrDoubled plays random counts, reports, refusals and leaps of the clock against a reader that adds up what it takes,
// as a backend would: the highest value of each cumulative series and the sum of all deltas.
func TestNothingIsLostOrDoubled(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 0))
		options := Options{
			Temporality: Temporality(r.IntN(2)),
			Limit:       1 + r.IntN(4),
			MaxStale:    time.Duration(r.IntN(3)) * 20 * time.Second,
		}
		sums := newSums(options)
		backend := newBackend(t, options.Temporality, fmt.Sprintf("seed %d, %+v", seed, options))
		clock, counted := began, int64(0)
		for range 200 {
			switch r.IntN(5) {
			case 0, 1:
				sums.Add([]kind{{fmt.Sprint(r.IntN(6))}}, clock)
				counted++
			case 2:
				clock = clock.Add(time.Duration(r.IntN(30)-5) * time.Second)
			default:
				report := sums.Collect(clock)
				if r.IntN(3) > 0 {
					backend.take(report)
					report.Taken()
				}
			}
			require.LessOrEqual(t, sums.Len(), options.Limit+1, backend.name)
		}
		for sums.Untaken() {
			report := sums.Collect(clock)
			backend.take(report)
			report.Taken()
		}
		require.Equal(t, counted, backend.total(), backend.name)
	}
}

// backend adds up points like a reader of differences does.
type backend struct {
	t           *testing.T
	temporality Temporality
	name        string
	values      map[string]int64
	last        map[string]time.Time
}

func newBackend(t *testing.T, temporality Temporality, name string) *backend {
	return &backend{t: t, temporality: temporality, name: name, values: map[string]int64{}, last: map[string]time.Time{}}
}

func (b *backend) take(r *Report[kind]) {
	for p := range r.Points() {
		series := p.Key.name
		if p.Overflow {
			series = "overflow"
		}
		require.True(b.t, p.Start.Before(p.Time), b.name)
		require.True(b.t, p.Time.After(b.last[series]), b.name)
		require.False(b.t, b.temporality == Delta && p.Start.Before(b.last[series]), "%s: deltas overlap", b.name)
		b.last[series] = p.Time
		if p.Ended {
			continue
		}
		if b.temporality == Delta {
			b.values[series] += p.Value
			continue
		}
		// One start, one series: what began anew is added to what was.
		series += p.Start.String()
		_, seen := b.values[series]
		require.True(b.t, seen || p.Value == 0, "%s: %s does not begin with zero", b.name, series)
		require.GreaterOrEqual(b.t, p.Value, b.values[series], "%s: %s went back", b.name, series)
		b.values[series] = p.Value
	}
}

func (b *backend) total() (total int64) {
	for v := range maps.Values(b.values) {
		total += v
	}
	return total
}

func TestSeriesShareNoMemoryWithWhatTheyCameIn(t *testing.T) {
	sums := newSums(Options{})
	key := kind{string([]byte("a"))}
	sums.Add([]kind{key}, began)
	for p := range sums.Collect(began).Points() {
		assert.Equal(t, key, p.Key)
		assert.NotSame(t, unsafe.StringData(key.name), unsafe.StringData(p.Key.name))
	}
}
