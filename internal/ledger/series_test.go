package ledger

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCumulativePoints(t *testing.T) {
	s := newSetup()
	s.MaxStale = time.Minute
	l := s.inMemory()
	assertPoints(t, []Point{}, flush(t, l))
	s.move(10 * time.Second)
	count(t, l, 1, "a")
	assertPoints(t, []Point{point("a", 1, 10_000, 0)}, flush(t, l))
	assert.True(t, l.Pending())
	assertPoints(t, []Point{point("a", 1, 10_001, 1)}, flush(t, l))
	assert.False(t, l.Pending())

	// A series that comes later was zero at the last collection. One that is counted again goes on.
	s.move(10 * time.Second)
	count(t, l, 2, "a", "b")
	s.move(5 * time.Second)
	assertPoints(t, []Point{point("a", 1, 25_000, 2), point("b", 10_001, 20_000, 0)}, flush(t, l))

	// What is not acknowledged is due again.
	for range 2 {
		c, err := l.Collect(t.Context())
		require.NoError(t, err)
		assert.Equal(t, int64(1), c.Metrics[0].Points[1].Value)
	}
	require.NoError(t, l.Acknowledge(t.Context(), 1), "an old number changes nothing")
	assert.True(t, l.Pending())
	flush(t, l)
	assert.False(t, l.Pending())

	// Stale series end when that was acknowledged, and begin anew.
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

// A series that is counted after it was collected as stale does not end.
func TestAStaleSeriesThatIsCountedGoesOn(t *testing.T) {
	s := newSetup()
	s.MaxStale = time.Minute
	l := s.inMemory()
	count(t, l, 1, "a")
	flush(t, l)
	flush(t, l)
	s.move(time.Minute)
	c, err := l.Collect(t.Context())
	require.NoError(t, err)
	require.True(t, c.Metrics[0].Points[0].Ended)
	count(t, l, 2, "a")
	require.NoError(t, l.Acknowledge(t.Context(), c.Number))
	assert.Equal(t, int64(2), flush(t, l)[0].Value)
}

func TestDeltaPoints(t *testing.T) {
	s := newSetup()
	s.Delta = true
	l := s.inMemory()
	s.move(10 * time.Second)
	count(t, l, 1, "a", "b")
	assertPoints(t, []Point{point("a", 0, 10_000, 1), point("b", 0, 10_000, 1)}, flush(t, l))
	s.move(10 * time.Second)
	count(t, l, 2, "a")
	_, err := l.Collect(t.Context())
	require.NoError(t, err)
	count(t, l, 3, "a")
	s.move(10 * time.Second)
	assertPoints(t, []Point{point("a", 10_000, 30_000, 2)}, flush(t, l))
	assert.Empty(t, flush(t, l))
}

func TestPastTheLimit(t *testing.T) {
	s := newSetup()
	s.Limit = 2
	l := s.inMemory()
	for n, name := range []string{"a", "b", "c", "d", "a", overflow} {
		count(t, l, n, name)
	}
	// In one commit, as in several.
	attempt, _, err := l.Begin(t.Context(), kind, id(100))
	require.NoError(t, err)
	require.NoError(t, l.Commit(t.Context(), []Entry{{attempt, Accepted, counts("e", "f", "b")}}))
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
	assert.Empty(t, flush(t, l), "nobody is told of them again")
	assert.False(t, l.Pending())
	count(t, l, 3, "a")
	require.NoError(t, l.Close(t.Context()))

	l = s.open(t, d.client())
	assert.Equal(t, map[string]int64{"a": 1}, totals(l, "failures"))
	assert.Equal(t, []byte("new"), l.Value("name"))
	_, known, err := l.Begin(t.Context(), kind, id(1))
	require.NoError(t, err)
	assert.Equal(t, Accepted, known, "reports are remembered")
	require.NoError(t, l.Close(t.Context()))
}

// The time of no point is before that of one before it. A clock that was far ahead leaves nothing of that.
func TestClock(t *testing.T) {
	for name, set := range map[string]struct{ ahead, want time.Duration }{
		"set back a little":  {9 * time.Minute, 9*time.Minute + 10*time.Second + 2*time.Millisecond},
		"30 years ahead":     {30 * 365 * 24 * time.Hour, 20 * time.Second},
		"11 minutes ahead":   {11 * time.Minute, 20 * time.Second},
		"never set at all":   {0, 20 * time.Second},
		"far behind at once": {-time.Hour, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s, d := newSetup(), newDisk()
			l := s.open(t, d.client())
			s.move(10*time.Second + set.ahead)
			count(t, l, 1, "a")
			flush(t, l)
			flush(t, l)
			s.move(10*time.Second - set.ahead)
			count(t, l, 2, "a", "b")
			check := func(l *Ledger) {
				c, err := l.Collect(t.Context())
				require.NoError(t, err)
				for _, p := range c.Metrics[0].Points {
					assert.True(t, p.Start.Before(p.Time))
					assert.LessOrEqual(t, p.Time, began.Add(set.want+time.Second))
				}
				assert.GreaterOrEqual(t, c.Metrics[0].Points[0].Time.Sub(began), set.want)
			}
			check(l)
			require.NoError(t, l.Close(t.Context()))
			again := s.open(t, d.client())
			check(again)
			repeat(t, again, 1)
			s.move(24*time.Hour + time.Second)
			assert.Zero(t, again.Stats().Kinds[kind].Remembered, "what was seen in the future is not remembered until then")
		})
	}
}

// What was counted and not acknowledged is sent in the new temporality.
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
	points := flush(t, l)
	require.Len(t, points, 1)
	assert.Equal(t, int64(10), points[0].Value)
	require.NoError(t, l.Close(t.Context()))
	s.Delta = false
	l = s.open(t, d.client())
	assert.Equal(t, int64(11), flush(t, l)[0].Value)
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
