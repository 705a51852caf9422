package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
)

// kind is the key of these tests.
type kind struct{ name string }

func (k kind) Clone() kind { return kind{strings.Clone(k.name)} }

func encode(k kind) []byte { return []byte(k.name) }

func decode(b []byte) (kind, error) {
	if len(b) > 0 && b[0] == '!' {
		return kind{}, errors.New("this is no key")
	}
	return kind{string(b)}, nil
}

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
	forgetful   bool // deduplication is disabled
	ttl         time.Duration
	maxEntries  int
	patience    time.Duration
	metrics     []string
	temporality counter.Temporality
	limit       int
	maxStale    time.Duration
	instance    string
	health      func(error)
	observe     func(int, error)
}

func newSetup() *setup {
	return &setup{
		clock: newClock(), ttl: 24 * time.Hour, maxEntries: 1000, patience: time.Second,
		metrics: []string{"failures"}, limit: 2000, instance: "first",
	}
}

func (s *setup) options() Options[kind] {
	o := Options[kind]{
		Deduplicate: !s.forgetful, TTL: s.ttl, MaxEntries: s.maxEntries, Patience: s.patience, Now: s.Now,
		Temporality: s.temporality, Encode: encode, Decode: decode, Instance: s.instance, Health: s.health, Observe: s.observe,
	}
	for _, name := range s.metrics {
		sums := counter.New[kind](counter.Options{Temporality: s.temporality, Limit: s.limit, MaxStale: s.maxStale}, s.Now())
		o.Metrics = append(o.Metrics, Metric[kind]{name, sums})
	}
	return o
}

// inMemory returns a ledger without a store.
func (s *setup) inMemory() *Ledger[kind] { return New(s.options()) }

// open returns the ledger in a store that opens.
func (s *setup) open(tb testing.TB, client storage.Client) *Ledger[kind] {
	tb.Helper()
	l, err := Open(tb.Context(), client, s.options())
	require.NoError(tb, err)
	return l
}

func id(n int) (id ID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

// one is a report that counts once in the first metric, and in no other.
func (s *setup) one(name string) Counts[kind] {
	counts := make(Counts[kind], len(s.metrics))
	counts[0] = []kind{{name}}
	return counts
}

// send sends report n, which counts under name. It is acknowledged when there is no error; known is not 0 when it was a repeat.
func (s *setup) send(ctx context.Context, l *Ledger[kind], n int, name string) (known Outcome, err error) {
	attempt, known, err := l.Begin(ctx, id(n))
	if err != nil || known != 0 {
		return known, err
	}
	_, err = attempt.Commit(ctx, Accepted, s.one(name))
	return 0, err
}

// count sends a report that is new and gets acknowledged.
func (s *setup) count(tb testing.TB, l *Ledger[kind], n int, name string) {
	tb.Helper()
	known, err := s.send(tb.Context(), l, n, name)
	require.NoError(tb, err)
	require.Zero(tb, known, "report %d is known already", n)
}

// try is count for goroutines of a test.
func (s *setup) try(t *testing.T, l *Ledger[kind], n int, name string) {
	t.Helper()
	known, err := s.send(t.Context(), l, n, name)
	assert.NoError(t, err) //nolint:testifylint // require is not for goroutines
	assert.Zero(t, known, "report %d is known already", n)
}

// repeat sends a report that is known.
func (s *setup) repeat(tb testing.TB, l *Ledger[kind], n int) {
	tb.Helper()
	known, err := s.send(tb.Context(), l, n, "repeated")
	require.NoError(tb, err)
	require.Equal(tb, Accepted, known, "report %d is not known any more", n)
}

// totals returns what was counted in a metric, by name.
func totals(l *Ledger[kind], metric int) map[string]int64 {
	values := make(map[string]int64)
	sums := l.options.Metrics[metric].Sums
	for slot := range sums.Slots() {
		if r, ok := sums.Record(slot); ok {
			name := r.Key.name
			if r.Overflow {
				name = "overflow"
			}
			values[name] += r.Value
		}
	}
	return values
}

// total adds up what was counted in the first metric.
func total(l *Ledger[kind]) (sum int64) {
	for _, value := range totals(l, 0) {
		sum += value
	}
	return sum
}

// records returns the series of a metric by slot.
func records(l *Ledger[kind], metric int) map[int]counter.Record[kind] {
	all := make(map[int]counter.Record[kind])
	sums := l.options.Metrics[metric].Sums
	for slot := range sums.Slots() {
		if r, ok := sums.Record(slot); ok {
			r.Start, r.Counted, r.Zeroed = r.Start.UTC(), r.Counted.UTC(), r.Zeroed.UTC()
			all[slot] = r
		}
	}
	return all
}

// flush collects and has the collection taken, and returns the points of the first metric.
func flush(tb testing.TB, l *Ledger[kind]) (points []counter.Point[kind]) {
	tb.Helper()
	c, err := l.Collect(tb.Context())
	require.NoError(tb, err)
	for p := range c.Reports[0].Points() {
		points = append(points, p)
	}
	require.NoError(tb, c.Taken(tb.Context()))
	return points
}

// legacySeen is a record of version 1.
func legacySeen(reports ...pending[kind]) (b []byte) {
	for _, p := range reports {
		b = append(append(b, p.id[:]...), byte(p.outcome))
		b = appendTime(b, p.at)
	}
	return b
}

// sum adds up the values of points.
func sum(points []counter.Point[kind]) (sum int64) {
	for _, p := range points {
		sum += p.Value
	}
	return sum
}

// canceled returns the context of a client that has gone.
func canceled(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	cancel()
	return ctx
}

// canceledNever is the context of what no test waits for.
var canceledNever = context.Background()
