package ledger

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCumulativePoints(t *testing.T) {
	s := newSetup()
	s.MaxStale = time.Minute
	l := s.inMemory()
	assert.Equal(t, []Point{}, flush(t, l))
	s.move(10 * time.Second)
	count(t, l, 1, "a")
	assert.Equal(t, []Point{point("a", 1, 10_000, 0)}, flush(t, l))
	assert.True(t, l.Pending())
	assert.Equal(t, []Point{point("a", 1, 10_001, 1)}, flush(t, l))
	assert.False(t, l.Pending())

	// A new series starts at the last collection.
	s.move(10 * time.Second)
	count(t, l, 2, "a", "b")
	s.move(5 * time.Second)
	assert.Equal(t, []Point{point("a", 1, 25_000, 2), point("b", 10_001, 20_000, 0)}, flush(t, l))

	// What is not acknowledged is sent again.
	for range 2 {
		assert.Equal(t, []int64{2, 1}, values(collect(t, l)))
	}
	require.NoError(t, l.Acknowledge(t.Context(), 1), "an old number changes nothing")
	assert.True(t, l.Pending())
	flush(t, l)
	assert.False(t, l.Pending())

	// A stale series ends, and starts anew when it is counted again.
	s.move(time.Minute)
	count(t, l, 3, "b")
	points := flush(t, l)
	assert.True(t, points[0].Ended)
	assert.Equal(t, int64(2), points[1].Value)
	count(t, l, 4, "a")
	points = flush(t, l)
	assert.Equal(t, "b", points[0].Attributes)
	assert.Equal(t, Point{Attributes: "a", Start: points[1].Start, Time: points[1].Time}, points[1])
	assert.True(t, points[1].Start.After(at(80_000)))
}

// A stale series that is counted before its end is acknowledged goes on, even if the write takes
// longer.
func TestStaleSeriesIsCounted(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%t", late), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, client := newSetup(), newDisk().client()
				s.MaxStale = time.Minute
				l := s.open(t, client)
				count(t, l, 1, "a")
				flush(t, l)
				flush(t, l)
				s.move(time.Minute)
				c := collect(t, l)
				require.True(t, c.Metrics[0].Points[0].Ended)
				gate := make(chan struct{})
				client.before = func() { <-gate }
				go func() { _, _ = send(t.Context(), l, 2, "a") }()
				synctest.Wait()
				acknowledge := func() { assert.NoError(t, l.Acknowledge(t.Context(), c.Number)) }
				if late {
					go acknowledge()
					synctest.Wait()
				}
				close(gate)
				synctest.Wait()
				if !late {
					acknowledge()
				}
				assert.Equal(t, int64(2), flush(t, l)[0].Value)
				_ = l.Close(t.Context())
			})
		})
	}
}

func TestDeltaPoints(t *testing.T) {
	s := newSetup()
	s.Delta = true
	l := s.inMemory()
	s.move(10 * time.Second)
	count(t, l, 1, "a", "b")
	assert.Equal(t, []Point{point("a", 0, 10_000, 1), point("b", 0, 10_000, 1)}, flush(t, l))
	s.move(10 * time.Second)
	count(t, l, 2, "a")
	collect(t, l)
	count(t, l, 3, "a")
	s.move(10 * time.Second)
	assert.Equal(t, []Point{point("a", 10_000, 30_000, 2)}, flush(t, l))
	assert.Empty(t, flush(t, l))
}

func TestOverflow(t *testing.T) {
	s := newSetup()
	s.Limit = 2
	l := s.inMemory()
	for n, name := range []string{"a", "b", "c", "d", "a", overflow} {
		count(t, l, n, name)
	}
	count(t, l, 100, "e", "f", "b")
	assert.Equal(t, map[string]int64{"a": 2, "b": 2, overflow: 5}, totals(l, "failures"))
	assert.Equal(t, []MetricStats{{"failures", 3, 5}}, l.Stats().Metrics)
}

func TestForgetSeries(t *testing.T) {
	s, d := newSetup(), newDisk()
	l := s.open(t, d.client())
	count(t, l, 1, "a", overflow)
	flush(t, l)
	count(t, l, 2, "b")
	require.NoError(t, l.ForgetSeries(t.Context(), "name", []byte("new")))
	assert.Empty(t, flush(t, l))
	assert.False(t, l.Pending())
	count(t, l, 3, "a")
	require.NoError(t, l.Close(t.Context()))

	l = s.open(t, d.client())
	assert.Equal(t, map[string]int64{"a": 1}, totals(l, "failures"))
	assert.Equal(t, []byte("new"), l.Value("name"))
	repeat(t, l, 1)
}

// Points never go back in time, and a clock that was far ahead leaves no trace.
func TestClockIsSet(t *testing.T) {
	for name, tc := range map[string]struct{ ahead, want time.Duration }{
		"9 minutes ahead":  {9 * time.Minute, 9*time.Minute + 10*time.Second + 2*time.Millisecond},
		"11 minutes ahead": {11 * time.Minute, 20 * time.Second},
		"30 years ahead":   {30 * 365 * 24 * time.Hour, 20 * time.Second},
		"not set":          {0, 20 * time.Second},
		"an hour behind":   {-time.Hour, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s, d := newSetup(), newDisk()
			l := s.open(t, d.client())
			s.move(10*time.Second + tc.ahead)
			count(t, l, 1, "a")
			flush(t, l)
			flush(t, l)
			count(t, l, 2, "b")
			s.move(10*time.Second - tc.ahead)
			count(t, l, 3, "a", "c")
			check := func(l *Ledger) (starts []time.Time) {
				points := collect(t, l).Metrics[0].Points
				for _, p := range points {
					starts = append(starts, p.Start)
					assert.True(t, p.Start.Before(p.Time))
					assert.LessOrEqual(t, p.Time, began.Add(tc.want+time.Second))
				}
				assert.GreaterOrEqual(t, points[0].Time.Sub(began), tc.want)
				return starts
			}
			starts := check(l)
			require.NoError(t, l.Close(t.Context()))
			l = s.open(t, d.client())
			assert.Equal(t, starts, check(l), "the series go on")
			repeat(t, l, 1)
			s.move(24*time.Hour + time.Second)
			assert.Zero(t, l.Stats().Kinds[kind].Remembered)
		})
	}
}

// What was not acknowledged is sent in the new temporality.
func TestTemporalityChanges(t *testing.T) {
	s, d := newSetup(), newDisk()
	client := d.client()
	l := s.open(t, client)
	count(t, l, 1, "a")
	flush(t, l)
	flush(t, l)
	for n := range 10 {
		count(t, l, 2+n, "a")
	}
	client.kill()
	s.Delta = true
	l = s.open(t, d.client())
	assert.Equal(t, int64(10), flush(t, l)[0].Value)
	require.NoError(t, l.Close(t.Context()))
	s.Delta = false
	assert.Equal(t, int64(11), flush(t, s.open(t, d.client()))[0].Value)
}
