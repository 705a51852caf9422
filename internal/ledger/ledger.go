// Package ledger remembers which reports were seen and what was counted, in memory or in a storage
// extension. It commits both together, so that counts stay exact when a sender tries again, a
// pipeline refuses or the process dies.
//
//	unknown ──Begin──▶ in flight ──Commit──▶ committed: accepted or refused for good
//	   ▲                  │                      │
//	   ├─────Release──────┘                      │
//	   └───────────── TTL, MaxEntries ───────────┘
//
// A second Begin of a report in flight waits for the first. After Release, which is for reports
// that the logs pipelines did not accept, nothing was counted. A committed report is final: a
// repeat is neither counted nor exported again.
//
// If the write of a commit fails, its reports stay in flight, and the next Begin or Collect tries
// again. Until a write works no Begin succeeds, so that the pipelines get nothing that cannot be
// committed.
//
// Each change is a record, which is applied in the same way when it is committed and when it is
// loaded. One goroutine writes to the store; commits that wait at the same time share a write. When
// many records were appended, a checkpoint replaces them all. This relies on atomic batches of the
// storage extension. docs/delivery.md lists what is not guaranteed.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// ID is the identity of a report.
type ID [16]byte

// Outcome is what became of a report.
type Outcome byte

const (
	// Accepted means that the logs pipelines accepted the report.
	Accepted Outcome = 1 + iota
	// Refused means that the logs pipelines refused the report for good.
	Refused
)

var (
	// ErrInFlight means that another copy of the report is in flight.
	ErrInFlight = errors.New("another copy of the report is under way")
	// ErrStore is wrapped by the errors of the store.
	ErrStore = errors.New("the store did not take it")
	// ErrReplaced means that another run has claimed the store. It wraps ErrStore.
	ErrReplaced = fmt.Errorf("%w: another collector has taken it over", ErrStore)

	errClosed  = fmt.Errorf("%w: it is closed", ErrStore)
	errStalled = fmt.Errorf("%w: it does not respond", ErrStore)
)

// Options configure a ledger. All are required.
type Options struct {
	Deduplicate bool          // whether committed reports are remembered
	TTL         time.Duration // how long each is remembered
	MaxEntries  int           // how many of each kind are remembered
	WaitTimeout time.Duration // how long Begin waits for a copy in flight, or for a failing store

	Metrics  []string      // names of the counters
	Delta    bool          // whether points have what came since the last acknowledged collection
	Limit    int           // series of each metric, at least 1, beside the overflow series
	Overflow string        // attributes of the series that counts what is beyond Limit
	MaxStale time.Duration // how long a series that is not counted is kept; zero keeps it forever

	Now func() time.Time
	// Health is called with an error when the store starts to fail, and with nil when it works
	// again. Calls do not overlap.
	Health func(error)
	// Observe is called with the outcome of each write to the store.
	Observe func(error)
}

// Ledger is safe for concurrent use.
type Ledger struct {
	options Options
	opened  time.Time
	writer  *writer // nil without a store

	mu       sync.Mutex
	inFlight map[ID]*Attempt
	reports  map[string]*reportCache // by kind
	values   map[string]string
	metrics  map[string]*metric // also what the store has beside Options.Metrics
	number   uint64             // of the last collection
	// collected is the time of the last collection, latest that of the last point, and acknowledged
	// that of the last acknowledged collection, in nanoseconds since 1970.
	collected, latest, acknowledged int64

	staged        record // what is being committed and not applied yet
	checkpointDue bool   // whether the next write has to be a checkpoint
}

// New returns an empty ledger that is kept in memory only.
func New(options Options) *Ledger {
	now := options.Now()
	l := &Ledger{
		options:   options,
		opened:    now,
		inFlight:  make(map[ID]*Attempt),
		reports:   make(map[string]*reportCache),
		values:    make(map[string]string),
		metrics:   make(map[string]*metric),
		collected: now.UnixNano(),
		latest:    now.UnixNano(),
	}
	for _, name := range options.Metrics {
		l.metrics[name] = newMetric()
	}
	return l
}

// Open claims the store behind a storage client and returns the ledger that it holds. The ledger
// closes the client, unless Open fails.
func Open(ctx context.Context, client storage.Client, options Options) (*Ledger, error) {
	return open(ctx, &clientStore{client: client}, options, defaultLimits)
}

func open(ctx context.Context, s store, options Options, limits limits) (*Ledger, error) {
	l := New(options)
	if err := s.claim(ctx); err != nil {
		return nil, err
	}
	if err := s.load(ctx, l.apply); err != nil {
		return nil, err
	}
	l.finishLoad()
	l.writer = &writer{ledger: l, store: s, limits: limits, wake: sync.NewCond(&l.mu), closed: make(chan struct{})}
	// This copies what an earlier run left, and finds out now if the store cannot be written to.
	if err := l.writer.persist(ctx); err != nil {
		return nil, err
	}
	go l.writer.run() //nolint:gosec // it goes on after the context of the start
	return l, nil
}

// finishLoad fits what was loaded to this run's clock and starts its statistics at zero.
func (l *Ledger) finishLoad() {
	l.checkpointDue = true
	now := l.monotonic(l.opened)
	for _, cache := range l.reports {
		cache.evicted = 0
		for i := range cache.order {
			cache.order[i].committed = min(cache.order[i].committed, now)
		}
	}
	for _, m := range l.metrics {
		m.overflowed = 0
		for _, s := range m.order {
			s.counted = min(s.counted, now)
		}
	}
	l.correctClock(l.opened)
	l.collected = max(l.collected, now)
	l.latest = max(l.latest, now)
	l.expire(l.opened)
}

// Attempt is a report in flight.
type Attempt struct {
	ledger *Ledger
	kind   string
	id     ID
	done   chan error // is closed when the report is not in flight any more; nil if nobody waits
}

// Begin returns an attempt, which has to be committed or released, or the outcome if the report is
// known. The error is ErrInFlight, the context's, or wraps ErrStore.
func (l *Ledger) Begin(ctx context.Context, kind string, id ID) (attempt *Attempt, known Outcome, err error) {
	var timeout <-chan time.Time
	for {
		attempt, known, wait, timeoutErr := l.begin(kind, id)
		if wait == nil {
			return attempt, known, nil
		}
		if timeout == nil {
			timeout = time.After(l.options.WaitTimeout)
		}
		select {
		case err := <-wait:
			if err != nil {
				return nil, 0, err
			}
		case <-timeout:
			return nil, 0, timeoutErr
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// begin returns what Begin does, or what to wait for and the error if that takes too long.
func (l *Ledger) begin(kind string, id ID) (attempt *Attempt, known Outcome, wait <-chan error, timeoutErr error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cache := l.reports[kind]; cache != nil && cache.outcomes[id] != 0 {
		l.expire(l.options.Now())
		if known := cache.outcomes[id]; known != 0 {
			return nil, known, nil, nil
		}
	}
	if l.writer != nil && l.writer.failing {
		return nil, 0, l.writer.enqueue(writeRequest{}), errStalled
	}
	if other := l.inFlight[id]; other != nil {
		if other.done == nil {
			other.done = make(chan error)
		}
		return nil, 0, other.done, ErrInFlight
	}
	attempt = &Attempt{ledger: l, kind: kind, id: id}
	if l.options.Deduplicate {
		l.inFlight[id] = attempt
	}
	return attempt, 0, nil, nil
}

// Release gives the report up. It does nothing after a commit.
func (a *Attempt) Release() {
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	a.finish()
}

// finish ends the attempt once. The ledger's lock must be held.
func (a *Attempt) finish() {
	if a.ledger.inFlight[a.id] != a {
		return
	}
	delete(a.ledger.inFlight, a.id)
	if a.done != nil {
		close(a.done)
	}
}

// Count is an event to count.
type Count struct {
	Metric     int    // its index in Options.Metrics
	Attributes string // in a form that is the same for the same attributes
}

// Entry is a report to commit.
type Entry struct {
	Attempt *Attempt
	Outcome Outcome
	Counts  []Count
}

// Commit remembers and counts reports, all of them or none. The error wraps ErrStore; the ledger
// then tries again, even if it was the context that ended. Entries must not be changed afterwards.
func (l *Ledger) Commit(ctx context.Context, entries []Entry) error {
	l.mu.Lock()
	if l.writer == nil {
		defer l.mu.Unlock()
		now := l.options.Now()
		l.stage(entries, now)
		l.commit(entries, now)
		return nil
	}
	done := l.writer.enqueue(writeRequest{entries: entries})
	l.mu.Unlock()
	return await(ctx, done)
}

// change applies the record that build returns, which has the lock, and waits until it is written.
func (l *Ledger) change(ctx context.Context, build func() *record) error {
	l.mu.Lock()
	r := build()
	l.apply(r)
	if l.writer == nil || r.empty() {
		l.mu.Unlock()
		return nil
	}
	done := l.writer.enqueue(writeRequest{applied: *r})
	l.mu.Unlock()
	return await(ctx, done)
}

func await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrStore, ctx.Err())
	}
}

// Collect returns the points to send. It fails only with ErrReplaced: then another run sends them.
func (l *Ledger) Collect(ctx context.Context) (c *Collection, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.options.WaitTimeout)
	defer cancel()
	err = l.change(ctx, func() *record {
		c = l.collect(l.options.Now())
		// The points of the next run have to be later, even if the clock is set back.
		return &record{collected: l.collected}
	})
	if errors.Is(err, ErrReplaced) {
		return nil, err
	}
	return c, nil
}

// Acknowledge notes that the metrics pipelines accepted a collection, if it is the last one. The
// error wraps ErrStore; the next write that works makes up for it.
func (l *Ledger) Acknowledge(ctx context.Context, number uint64) error {
	return l.change(ctx, func() *record { return l.acknowledge(number) })
}

// Pending reports whether there are counts that the metrics pipelines do not have yet.
func (l *Ledger) Pending() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.options.Metrics, func(name string) bool {
		return slices.ContainsFunc(l.metrics[name].order, (*series).pending)
	})
}

// Value returns what was set under a name, or nil.
func (l *Ledger) Value(name string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if content, ok := l.values[name]; ok {
		return []byte(content)
	}
	return nil
}

// SetValue keeps a few bytes under a name, with a store for later runs too.
func (l *Ledger) SetValue(ctx context.Context, name string, content []byte) error {
	return l.change(ctx, func() *record {
		return &record{values: []value{{name, string(content)}}}
	})
}

// ForgetSeries removes all series with what is pending of them, and sets a value, in one write. No
// point of them is sent any more, because their attributes must not be sent again.
func (l *Ledger) ForgetSeries(ctx context.Context, name string, content []byte) error {
	return l.change(ctx, func() *record {
		r := &record{values: []value{{name, string(content)}}}
		for metric, m := range l.metrics {
			for _, s := range m.order {
				r.series = append(r.series, seriesOp{op: opEnd, metric: metric, attributes: s.attributes})
			}
		}
		return r
	})
}

// Stats has the numbers of reports and series that are kept.
type Stats struct {
	Kinds   map[string]KindStats // without kinds of which nothing was committed
	Metrics []MetricStats        // in the order of Options.Metrics
}

// KindStats has the numbers of reports of one kind.
type KindStats struct {
	Remembered int
	Evicted    int64 // before their TTL
}

// MetricStats has the numbers of one metric.
type MetricStats struct {
	Name       string
	Series     int   // with the overflow series
	Overflowed int64 // events counted in the overflow series
}

// Stats returns the numbers of reports and series that are kept.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(l.options.Now())
	stats := Stats{Kinds: make(map[string]KindStats, len(l.reports))}
	for kind, cache := range l.reports {
		stats.Kinds[kind] = KindStats{len(cache.order), cache.evicted}
	}
	for _, name := range l.options.Metrics {
		m := l.metrics[name]
		stats.Metrics = append(stats.Metrics, MetricStats{name, len(m.order), m.overflowed})
	}
	return stats
}

// Close writes what is enqueued and closes the store, even after the end of the context.
func (l *Ledger) Close(ctx context.Context) error {
	if l.writer == nil {
		return nil
	}
	return l.writer.close(ctx)
}
