// Package ledger remembers which reports were seen and what was counted, in memory or in a storage extension, and commits
// the two together: that is what makes counting exact when a sender tries again, a pipeline refuses or the process dies.
//
// # The life of a report
//
// A report is known by its identity. Begin asks what is known of it:
//
//		unknown ──Begin──▶ in flight ──Commit──▶ committed: accepted or refused for good
//		   ▲                  │                      │
//		   ├─────Release──────┘                      │
//		   └──────────── ttl, max_entries ───────────┘
//
//	  - in flight: one caller has it. A second Begin waits for the first, for a moment, and fails with ErrInFlight if it
//	    takes longer.
//	  - Release gives it up: the logs pipelines did not take it. Nothing was counted; the next try begins anew.
//	  - Commit ends it: with a store, its identity and what it counts are in one write; without one, in one step in memory.
//	    Only then may the sender be told that the report was taken. Accepted and refused are both final: a repeat neither
//	    counts nor is handed to the pipelines again.
//	  - When the write fails, the report stays in flight, and its write is tried again: with the next Begin and the next
//	    Collect. Until one works no Begin succeeds, so that the pipelines are handed nothing that cannot be committed.
//
// # One change, one record
//
// Whatever changes is a record. apply makes the change, whether the record was just committed or comes from the store at
// the start. One goroutine writes to the store; all others wait for its outcome, or for the end of their context.
// Commits that wait at the same time share a write. A store that was written to for long is written anew, as records that
// set what there is.
//
// # What it promises, and what it cannot
//
// A committed report is counted once, whatever happens afterwards, for as long as it is remembered; with a store also over a
// kill. A record is handed to the pipelines a second time only where the process dies between their acceptance and the
// store's, or where the caller releases a report that some of several pipelines have taken: no ledger can take back what
// they have. Repeats then carry the same identity.
//
// Deltas are acknowledged after the pipelines have taken them, so that a kill between the two, or while the store fails,
// sends a delta again. A cumulative total has no such gap: it is a state.
//
// All of it rests on a Batch of the storage extension being applied as a whole or not at all.
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

// Outcome is what became of a report in the end.
type Outcome byte

const (
	// Accepted by the logs pipelines.
	Accepted Outcome = 1 + iota
	// Refused by them for good.
	Refused
)

var (
	// ErrInFlight means that another copy of the report is under way.
	ErrInFlight = errors.New("another copy of the report is under way")
	// ErrStore is wrapped by the errors of the store.
	ErrStore = errors.New("the store did not take it")
	// ErrReplaced means that another run has claimed the store. It wraps ErrStore.
	ErrReplaced = fmt.Errorf("%w: another collector has taken it over", ErrStore)

	errClosed  = fmt.Errorf("%w: it is closed", ErrStore)
	errStalled = fmt.Errorf("%w: it does not respond", ErrStore)
)

// Options of a ledger.
type Options struct {
	// Deduplicate reports whether reports are remembered. Without it every report counts.
	Deduplicate bool
	// TTL is how long a committed report is remembered, at least.
	TTL time.Duration
	// MaxEntries is the number of committed reports of each kind that are remembered, at least 1; the oldest make room.
	MaxEntries int
	// WaitTimeout is how long Begin waits for a copy in flight, or for a store that fails to be tried again.
	WaitTimeout time.Duration
	// Metrics are the names of the counters.
	Metrics []string
	// Delta reports whether the points of a collection carry what came since the last that was acknowledged, and not totals.
	Delta bool
	// Limit is the number of series of each metric, at least 1. What comes past it is counted in one more series, which
	// has the attributes Overflow.
	Limit    int
	Overflow string
	// MaxStale is how long a series that is not counted is kept. Zero keeps it forever.
	MaxStale time.Duration
	// Now is the clock.
	Now func() time.Time
	// Health is called when the store begins to fail, with the error, and with nil when it works again. Calls do not
	// overlap.
	Health func(error)
	// Observe is told of every write to the store.
	Observe func(err error)
}

// Ledger is safe for concurrent use.
type Ledger struct {
	options Options
	opened  time.Time
	writer  *writer // nil without a store

	mu       sync.Mutex
	inFlight map[ID]*Attempt
	seen     map[string]*remembered // by kind
	values   map[string][]byte
	metrics  map[string]*metric // those of Options, and disabled ones that the store has
	// collected is the time of the last collection, latest that of the latest point, acknowledged that of the last
	// collection that was acknowledged.
	collected, latest, acknowledged int64
	// collection is the last one, number its number.
	collection *Collection
	number     uint64
	// touched are the series that the record that is being committed adds to, made the places in it of those that it makes.
	touched []*series
	made    map[stagedKey]int
	// live is the record of commits that need no store, to be used again.
	live record
	// replace reports whether the next write has to replace all records.
	replace bool
}

// New returns a ledger that is kept in memory only.
func New(options Options) *Ledger {
	now := options.Now()
	l := &Ledger{
		options: options, opened: now, inFlight: make(map[ID]*Attempt), seen: make(map[string]*remembered),
		values: make(map[string][]byte), metrics: make(map[string]*metric),
		collected: now.UnixNano(), latest: now.UnixNano(), made: make(map[stagedKey]int),
	}
	for _, name := range options.Metrics {
		l.metrics[name] = &metric{series: make(map[string]*series)}
	}
	return l
}

// Open returns the ledger that a storage client holds, empty when it holds nothing, and makes it this run's. The client is
// the ledger's from then on, but an error leaves it to the caller.
func Open(ctx context.Context, client storage.Client, options Options) (*Ledger, error) {
	return open(ctx, &clientStore{client: client}, options, usualBounds)
}

func open(ctx context.Context, s store, options Options, bounds bounds) (*Ledger, error) {
	l := New(options)
	if err := s.claim(ctx); err != nil {
		return nil, err
	}
	err := s.load(ctx, func(content []byte) error {
		r, err := decodeRecord(content)
		if err == nil {
			l.apply(r)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	l.settle()
	l.writer = newWriter(l, s, bounds)
	// A store that cannot be written to is better known now than with the first report.
	if err := l.writer.persist(ctx); err != nil {
		return nil, err
	}
	go l.writer.run() //nolint:gosec // it goes on after the context of the start
	return l, nil
}

// settle ends the loading of what an earlier run has left. What does not fit any more was counted as lost when it was.
func (l *Ledger) settle() {
	l.replace = true
	for _, m := range l.metrics {
		m.overflowed = 0
	}
	now := l.steady(l.opened)
	for _, r := range l.seen {
		r.evicted = 0
		for i := range r.ring {
			r.ring[i].at = min(r.ring[i].at, now)
		}
	}
	for _, m := range l.metrics {
		for _, one := range m.order {
			one.counted = min(one.counted, now)
		}
	}
	l.rewind(l.opened)
	l.collected = max(l.collected, now)
	l.latest = max(l.latest, now)
	l.expire(now)
}

// Attempt is a report in flight. Either Release ends it or a Commit that has it.
type Attempt struct {
	ledger *Ledger
	kind   string
	id     ID
	// done is closed when the report is no longer in flight, and nil when nobody waits for that.
	done chan struct{}
	// active reports whether the report is in flight.
	active bool
}

// Begin asks for a report. Either it is to be handed to the pipelines and committed, then attempt is not nil; or it was
// committed before, then known is what became of it. The error is ErrInFlight, the context's, or wraps ErrStore.
func (l *Ledger) Begin(ctx context.Context, kind string, id ID) (attempt *Attempt, known Outcome, err error) {
	attempt, known, wait, retried := l.begin(kind, id)
	if attempt != nil || known != 0 {
		return attempt, known, nil
	}
	timer := time.NewTimer(l.options.WaitTimeout)
	defer timer.Stop()
	for {
		err := ErrInFlight
		if retried != nil {
			err = errStalled
		}
		select {
		case <-wait:
		case err := <-retried:
			if err != nil {
				return nil, 0, err
			}
		case <-timer.C:
			return nil, 0, err
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
		if attempt, known, wait, retried = l.begin(kind, id); attempt != nil || known != 0 {
			return attempt, known, nil
		}
	}
}

// begin returns the end of another attempt when the report is in flight, and the outcome of another try when the store
// fails: handing over what cannot be committed would only make repeats.
func (l *Ledger) begin(kind string, id ID) (attempt *Attempt, known Outcome, other <-chan struct{}, retried <-chan error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.seen[kind]; r != nil && r.outcomes[id] != 0 {
		// What is too old is forgotten with each commit. Here it need be only where that makes a difference.
		l.expire(l.steady(l.options.Now()))
		if known = r.outcomes[id]; known != 0 {
			return nil, known, nil, nil
		}
	}
	if l.writer != nil && l.writer.failing {
		return nil, 0, nil, l.writer.enqueue(&write{})
	}
	if active, ok := l.inFlight[id]; ok {
		if active.done == nil {
			active.done = make(chan struct{})
		}
		return nil, 0, active.done, nil
	}
	attempt = &Attempt{ledger: l, kind: kind, id: id, active: true}
	if l.options.Deduplicate {
		l.inFlight[id] = attempt
	}
	return attempt, 0, nil, nil
}

// Release gives the report up: the pipelines did not take it, and it may be sent again.
func (a *Attempt) Release() {
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	a.finish()
}

// finish ends the attempt. The ledger's lock is held.
func (a *Attempt) finish() {
	if !a.active {
		return
	}
	a.active = false
	if a.ledger.options.Deduplicate {
		delete(a.ledger.inFlight, a.id)
	}
	if a.done != nil {
		close(a.done)
	}
}

// Count is one event to count: the index of its metric in Options.Metrics, and the attributes of its series, in a form
// that is the same for the same attributes.
type Count struct {
	Metric     int
	Attributes []byte
}

// Entry is a report to commit.
type Entry struct {
	Attempt *Attempt
	Outcome Outcome
	Counts  []Count
}

// Commit makes reports known and counted, all of them or none. The error wraps ErrStore, or is the context's, whose end
// does not stop what has begun. After an error the reports may yet be committed: the ledger tries again, until when they are
// in flight. Entries must not be changed afterwards.
func (l *Ledger) Commit(ctx context.Context, entries []Entry) error {
	if l.writer != nil {
		return l.writer.write(ctx, &write{entries: entries})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.live
	*r = record{seen: r.seen[:0], series: r.series[:0]}
	l.stage(r, entries, l.options.Now())
	l.committed(r, entries)
	return nil
}

// committed applies what was staged of the entries.
func (l *Ledger) committed(r *record, entries []Entry) {
	l.unstage()
	l.expire(l.steady(l.options.Now()))
	l.apply(r)
	for i := range entries {
		entries[i].Attempt.finish()
	}
}

func (l *Ledger) remember(s seen) {
	if !l.options.Deduplicate {
		return
	}
	r := l.seen[s.kind]
	if r == nil {
		r = &remembered{outcomes: make(map[ID]Outcome)}
		l.seen[s.kind] = r
	}
	if r.outcomes[s.id] == 0 {
		r.add(s.id, s.outcome, s.at, l.options.MaxEntries)
	}
}

// expire forgets what is older than the ttl.
func (l *Ledger) expire(now int64) {
	for _, r := range l.seen {
		r.expire(now - int64(l.options.TTL))
	}
}

// Collect returns what is due of the counters. With a store it is also when a store that failed is tried again, and when
// the ledger finds out that another run has the store: then its totals are not this run's to send, and the error is
// ErrReplaced. Any other error of the store is no reason to keep totals back.
func (l *Ledger) Collect(ctx context.Context) (*Collection, error) {
	l.mu.Lock()
	c := l.collect(l.options.Now())
	if l.writer == nil {
		l.mu.Unlock()
		return c, nil
	}
	// Should the clock be set back, the next run knows what time its points have to be after.
	kept := l.writer.enqueue(&write{applied: &record{collected: c.at}})
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, l.options.WaitTimeout)
	defer cancel()
	if err := await(ctx, kept); errors.Is(err, ErrReplaced) {
		return nil, err
	}
	return c, nil
}

// Acknowledge notes that the metrics pipelines have the collection with that number, if it is the last. With a store the
// note is kept; the error wraps ErrStore, and is made up for by the next write that works.
func (l *Ledger) Acknowledge(ctx context.Context, number uint64) error {
	l.mu.Lock()
	c := l.collection
	if c == nil || c.Number != number {
		l.mu.Unlock()
		return nil
	}
	l.collection = nil
	r := l.acknowledge(c)
	if len(r.series) == 0 {
		l.mu.Unlock()
		return nil
	}
	return l.change(ctx, r)
}

// change makes a change that need not be kept to be true. The lock is held, and given up.
func (l *Ledger) change(ctx context.Context, r *record) error {
	l.apply(r)
	if l.writer == nil {
		l.mu.Unlock()
		return nil
	}
	done := l.writer.enqueue(&write{applied: r})
	l.mu.Unlock()
	return await(ctx, done)
}

// Pending reports whether something was counted that the metrics pipelines do not have yet.
func (l *Ledger) Pending() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.options.Metrics, func(name string) bool {
		return slices.ContainsFunc(l.metrics[name].order, (*series).owed)
	})
}

// Value returns what was kept under a name, nil when that is nothing.
func (l *Ledger) Value(name string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.values[name]
}

// SetValue keeps a few bytes under a name, with a store for later runs too. Neither is to be changed afterwards.
func (l *Ledger) SetValue(ctx context.Context, name string, content []byte) error {
	l.mu.Lock()
	return l.change(ctx, &record{values: []value{{name, content}}})
}

// ForgetSeries forgets all series, with what they still owe, and keeps a few bytes under a name: both or neither. No point
// of them is sent any more, not even a last one, because their attributes are not to be told again.
func (l *Ledger) ForgetSeries(ctx context.Context, name string, content []byte) error {
	l.mu.Lock()
	r := &record{values: []value{{name, content}}}
	for name, m := range l.metrics {
		for _, one := range m.order {
			r.series = append(r.series, seriesOp{op: opEnd, metric: name, attributes: one.attributes})
		}
	}
	return l.change(ctx, r)
}

// Stats are figures of what is held.
type Stats struct {
	// Kinds are by the name of the kind. One of which nothing was ever committed is not there.
	Kinds map[string]KindStats
	// Metrics are in the order of Options.Metrics.
	Metrics []MetricStats
}

// KindStats are figures of one kind of events.
type KindStats struct {
	// Remembered is the number of reports that are remembered, Evicted how many were forgotten before their time.
	Remembered int
	Evicted    int64
}

// MetricStats are figures of one metric.
type MetricStats struct {
	Name string
	// Series is the number of series, the overflow series included, Overflowed the number of events counted in that.
	Series     int
	Overflowed int64
}

// Stats returns figures of what is held.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(l.steady(l.options.Now()))
	s := Stats{Kinds: make(map[string]KindStats, len(l.seen))}
	for kind, r := range l.seen {
		s.Kinds[kind] = KindStats{r.count, r.evicted}
	}
	for _, name := range l.options.Metrics {
		m := l.metrics[name]
		s.Metrics = append(s.Metrics, MetricStats{name, len(m.order), m.overflowed})
	}
	return s
}

// Close finishes the writes that wait and gives the store back. If it takes longer than the context allows, that is done
// later, and nothing else can be done with the ledger.
func (l *Ledger) Close(ctx context.Context) error {
	if l.writer == nil {
		return nil
	}
	return l.writer.close(ctx)
}
