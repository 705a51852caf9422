package ledger

import (
	"context"
	"encoding/binary"
	"flag"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

var exhaustive = flag.Bool("exhaustive", false, "play more histories, which takes minutes")

var began = time.Date(2026, time.November, 21, 10, 0, 0, 0, time.UTC)

// clock is a clock that is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: began} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// setup is one configuration of a ledger, in one run of the process.
type setup struct {
	*clock
	Options
	limits limits
}

const overflow = "overflow"

func newSetup() *setup {
	s := &setup{clock: newClock(), limits: defaultLimits}
	s.Options = Options{
		Deduplicate: true, TTL: 24 * time.Hour, MaxEntries: 1000, WaitTimeout: time.Second,
		Metrics: []string{"failures"}, Limit: 2000, Overflow: overflow, Now: s.clock.Now,
		Health: func(error) {}, Observe: func(error) {},
	}
	return s
}

func (s *setup) now() time.Time { return s.clock.Now() }

// inMemory returns a ledger without a store.
func (s *setup) inMemory() *Ledger { return New(s.Options) }

// open returns the ledger in a store that opens.
func (s *setup) open(tb testing.TB, client storage.Client) *Ledger {
	tb.Helper()
	l, err := open(tb.Context(), &clientStore{client: client}, s.Options, s.limits)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = l.Close(canceledNever) })
	return l
}

func id(n int) (id ID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

const kind = "failure"

// counts is an event that counts in the first metric, once under each name.
func counts(names ...string) (all []Count) {
	for _, name := range names {
		all = append(all, Count{Attributes: name})
	}
	return all
}

// send sends report n, which counts under names. It is acknowledged when there is no error; known is not 0 when it was a repeat.
func send(ctx context.Context, l *Ledger, n int, names ...string) (known Outcome, err error) {
	attempt, known, err := l.Begin(ctx, kind, id(n))
	if err != nil || known != 0 {
		return known, err
	}
	return 0, l.Commit(ctx, []Entry{{attempt, Accepted, counts(names...)}})
}

// count sends a report that is new and gets acknowledged.
func count(tb testing.TB, l *Ledger, n int, names ...string) {
	tb.Helper()
	known, err := send(tb.Context(), l, n, names...)
	require.NoError(tb, err)
	require.Zero(tb, known, "report %d is known already", n)
}

// repeat sends a report that is known.
func repeat(tb testing.TB, l *Ledger, n int) {
	tb.Helper()
	known, err := send(tb.Context(), l, n, "repeated")
	require.NoError(tb, err)
	require.Equal(tb, Accepted, known, "report %d is not known any more", n)
}

// totals returns what was counted in a metric, by attributes.
func totals(l *Ledger, metric string) map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	values := make(map[string]int64)
	for _, one := range l.metrics[metric].order {
		values[one.attributes] = one.value
	}
	return values
}

// total adds up what was counted in the first metric.
func total(l *Ledger) (sum int64) {
	for _, value := range totals(l, l.options.Metrics[0]) {
		sum += value
	}
	return sum
}

// flush collects and acknowledges, and returns the points of the first metric.
func flush(tb testing.TB, l *Ledger) []Point {
	tb.Helper()
	c, err := l.Collect(tb.Context())
	require.NoError(tb, err)
	require.NoError(tb, l.Acknowledge(tb.Context(), c.Number))
	return c.Metrics[0].Points
}

// at is so many milliseconds after the beginning.
func at(milliseconds int) time.Time { return began.Add(time.Duration(milliseconds) * time.Millisecond) }

func point(attributes string, start, end int, value int64) Point {
	return Point{Attributes: attributes, Start: at(start), Time: at(end), Value: value}
}

func assertPoints(tb testing.TB, want, got []Point) {
	tb.Helper()
	for i := range got {
		got[i].Start, got[i].Time = got[i].Start.UTC(), got[i].Time.UTC()
	}
	assert.Equal(tb, want, got)
}

// canceledNever is the context of what no test waits for.
var canceledNever = context.Background()
