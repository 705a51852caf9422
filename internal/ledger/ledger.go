// Package ledger remembers which reports were seen and what was counted, in memory or in a storage extension, and commits the two
// together: that is what makes counting exact when a sender tries again, a pipeline refuses or the process dies.
//
// # The life of a report
//
// A report is known by its identity. Begin asks what is known of it:
//
//		unknown ──Begin──▶ in flight ──Commit──▶ committed: accepted or refused for good
//		   ▲                │     │                   │
//		   │                │     └─Commit failed─▶ handed over ──Begin──▶ in flight, but Attempt.HandedOver
//		   ├────Release─────┘                         │
//		   ├────────────────────────── max_entries ───┘
//		   └─ ttl, max_entries ─ committed
//
//	  - unknown: nothing is known; Begin makes it in flight.
//	  - in flight: one caller has it. A second Begin waits for the first, for a moment, and fails with ErrInFlight if it takes longer.
//	  - Release gives it up: the logs pipelines did not take it. Nothing was counted; the next try begins anew.
//	  - Commit ends it: with a store, its identity and what it counts are in one write; without one, in one step in memory. Only then
//	    may the sender be told that the report was taken. Accepted and refused are both final: a repeat neither counts nor is
//	    handed to the pipelines again.
//	  - handed over: the logs pipelines have had their say, but the store failed. It is not counted, and the sender has to try again.
//	    The next Begin says so, and the report is committed without being handed over a second time.
//
// # What it promises, and what it cannot
//
// A committed report is counted once, whatever happens afterwards, for as long as it is remembered; with a store also over a kill. A report that
// is not committed is not counted. A record is handed to the pipelines a second time only where the process dies between their
// acceptance and the commit, where the memory of "handed over" was full, or where the caller releases a report that some of
// several pipelines have taken: no ledger can take back what they have. Repeats then carry the same identity.
//
// Deltas are marked as taken after the pipelines have taken them, so that a kill between the two, or while the store fails, sends a delta
// again. A cumulative total has no such gap: it is a state.
//
// All of it rests on a Batch of the storage extension being applied as a whole or not at all. One that was torn by a crash is refused at the
// next start where that can be seen.
package ledger

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/counter"
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

// Errors of Begin and Commit. The report can be sent again after each.
var (
	// ErrInFlight means that another copy of the report is under way.
	ErrInFlight = errors.New("another copy of the report is under way")
	// ErrStore is wrapped by the errors of the store.
	ErrStore = errors.New("the store did not take it")
)

// Options of a ledger.
type Options[K counter.Key[K]] struct {
	// Deduplicate says whether reports are remembered. Without it every report counts.
	Deduplicate bool
	// TTL is how long a committed report is remembered, at least.
	TTL time.Duration
	// MaxEntries is the number of committed reports that are remembered, at least 1 and at most 1<<30; the oldest make room.
	MaxEntries int
	// Patience is how long Begin waits for a copy in flight.
	Patience time.Duration
	// Now is the clock.
	Now func() time.Time
	// Metrics are the sums that are counted, by name.
	Metrics []Metric[K]
	// Temporality that the sums are reported with.
	Temporality counter.Temporality
	// Encode and Decode turn a key into bytes to keep and back. They are needed with a store only.
	Encode func(K) []byte
	Decode func([]byte) (K, error)
	// Instance is the instance id, unless the store has one from an earlier run.
	Instance string
	// Secret is random bytes for the caller to use as a key, unless the store has some from an earlier run.
	Secret []byte
	// Health is called when the store begins to fail, with the error, and with nil when it works again. Calls do not overlap.
	Health func(error)
	// Observe is told of every write to the store, by the number of reports in it and its error.
	Observe func(reports int, err error)
}

// Metric is one counter by name.
type Metric[K counter.Key[K]] struct {
	Name string
	Sums *counter.Sums[K]
}

// Ledger is safe for concurrent use.
type Ledger[K counter.Key[K]] struct {
	options Options[K]
	store   *store[K] // nil without a storage extension

	// began is what the times in seen count from.
	began time.Time

	mu       sync.Mutex
	inFlight map[ID]*Attempt[K]
	// seen are the committed reports, handedOver those that the store still owes.
	seen       seen
	handedOver *simplelru.LRU[ID, Outcome]
	evicted    int64
}

// New returns a ledger that is kept in memory only.
func New[K counter.Key[K]](options Options[K]) *Ledger[K] {
	options.MaxEntries = min(options.MaxEntries, maxIndexed)
	l := &Ledger[K]{options: options, began: options.Now(), inFlight: make(map[ID]*Attempt[K]), seen: newSeen()}
	// The size was checked when the configuration was; it is the only error there is.
	l.handedOver, _ = simplelru.NewLRU[ID, Outcome](max(options.MaxEntries, 1), nil)
	return l
}

// Attempt is a report in flight. Exactly one of Commit and Release ends it; Release after Commit does nothing.
type Attempt[K counter.Key[K]] struct {
	// HandedOver is what the logs pipelines said to an earlier attempt whose commit failed, or 0.
	HandedOver Outcome

	ledger *Ledger[K]
	id     ID
	// flying says that the report is in flight, as far as its owner knows. landed is closed when it no longer is, and nil when nobody waits for that;
	// the ledger's lock guards it.
	flying bool
	landed chan struct{}
	// room is for what Commit returns.
	room [2]int
}

// Begin asks for a report. Either it is to be handed to the pipelines and counted, then attempt is not nil; or it was committed before,
// then known is what became of it. The error is ErrInFlight, the context's, or wraps ErrStore.
func (l *Ledger[K]) Begin(ctx context.Context, id ID) (attempt *Attempt[K], known Outcome, err error) {
	if !l.options.Deduplicate {
		attempt = &Attempt[K]{ledger: l, id: id}
	}
	var patience <-chan time.Time
	for attempt == nil {
		var landed <-chan struct{}
		attempt, known, landed = l.begin(id)
		if known != 0 {
			return nil, known, nil
		}
		if landed == nil {
			break
		}
		if patience == nil {
			patience = time.After(l.options.Patience)
		}
		select {
		case <-landed:
		case <-patience:
			return nil, 0, ErrInFlight
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	if l.store != nil {
		// Handing over what cannot be committed would only make repeats.
		if err := l.store.heal(ctx); err != nil {
			attempt.Release()
			return nil, 0, err
		}
	}
	return attempt, 0, nil
}

// begin returns what is closed when another attempt at the report ends, if there is one.
func (l *Ledger[K]) begin(id ID) (attempt *Attempt[K], known Outcome, landed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()

	if l.seen.of(id) != 0 {
		// What is too old is forgotten with each commit. Here it need be only where that makes a difference.
		l.expire(l.options.Now())
		if known = l.seen.of(id); known != 0 {
			return nil, known, nil
		}
	}
	if other, ok := l.inFlight[id]; ok {
		if other.landed == nil {
			other.landed = make(chan struct{})
		}
		return nil, 0, other.landed
	}
	handedOver, _ := l.handedOver.Peek(id)
	attempt = &Attempt[K]{HandedOver: handedOver, ledger: l, id: id, flying: true}
	l.inFlight[id] = attempt
	return attempt, 0, nil
}

// Release gives the report up: the pipelines did not take it, and it may be sent again.
func (a *Attempt[K]) Release() {
	if !a.flying {
		return
	}
	a.ledger.mu.Lock()
	defer a.ledger.mu.Unlock()
	a.land()
}

// land ends the flight. The ledger's lock is held.
func (a *Attempt[K]) land() {
	if !a.flying {
		return
	}
	a.flying = false
	delete(a.ledger.inFlight, a.id)
	if a.landed != nil {
		close(a.landed)
	}
}

// Counts are the keys of one report to count, for each metric in the order of Options.Metrics.
type Counts[K counter.Key[K]] [][]K

// Overflows is how many of the counts of one report went to the overflow series of each metric.
type Overflows []int

// Commit makes the report known and counted, both or neither. After an error, which wraps ErrStore, it is neither, and a later attempt
// is told that the report was handed over. Neither the counts nor their keys are kept, and the end of ctx does not stop what has begun.
func (a *Attempt[K]) Commit(ctx context.Context, outcome Outcome, counts Counts[K]) (Overflows, error) {
	l := a.ledger
	now := l.options.Now()
	if l.store == nil {
		over := Overflows(a.room[:])
		if len(counts) <= len(a.room) {
			over = over[:len(counts)]
		} else {
			over = make(Overflows, len(counts))
		}
		for m, keys := range counts {
			over[m] = l.options.Metrics[m].Sums.Add(keys, now)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.expire(now)
		l.remember(a.id, outcome, now, 0)
		a.land()
		return over, nil
	}

	over, err := l.store.commit(ctx, a.id, outcome, now, counts)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.options.Deduplicate {
		l.handedOver.Add(a.id, outcome)
	}
	a.land()
	return over, err
}

// remember adds a committed report, which the store has in that record. What has expired was forgotten just before. The lock is held.
func (l *Ledger[K]) remember(id ID, outcome Outcome, at time.Time, record uint64) {
	if !l.options.Deduplicate {
		return
	}
	l.handedOver.Remove(id)
	if l.seen.len() == l.options.MaxEntries {
		l.seen.removeOldest()
		l.evicted++
	}
	l.seen.add(entry{id: id, at: at.Sub(l.began), outcome: outcome, record: record})
}

// expire forgets what is older than the ttl. The lock is held.
func (l *Ledger[K]) expire(now time.Time) {
	until := now.Sub(l.began) - l.options.TTL
	for e := l.seen.oldest(); e != nil && e.at <= until; e = l.seen.oldest() {
		l.seen.removeOldest()
	}
}

// Remembered returns how many committed reports are remembered.
func (l *Ledger[K]) Remembered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(l.options.Now())
	return l.seen.len()
}

// EvictedEarly returns how many reports were forgotten before their time because there was no room.
func (l *Ledger[K]) EvictedEarly() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.evicted
}

// oldestRecord returns the oldest record of the store that is still needed; next when none is.
func (l *Ledger[K]) oldestRecord(next uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(l.options.Now())
	if e := l.seen.oldest(); e != nil {
		return e.record
	}
	return next
}

// Collection is a report of every metric.
type Collection[K counter.Key[K]] struct {
	// Reports are in the order of Options.Metrics.
	Reports []*counter.Report[K]
	ledger  *Ledger[K]
}

// Collect returns what is due of the counters. With a store it is also when the store is tried again and relieved of what expired;
// that it fails is no reason to keep the totals back. The error is the context's.
func (l *Ledger[K]) Collect(ctx context.Context) (*Collection[K], error) {
	now := l.options.Now()
	c := &Collection[K]{ledger: l}
	err := l.change(ctx, func() (changed []place) {
		for m, metric := range l.options.Metrics {
			report := metric.Sums.Collect(now)
			c.Reports = append(c.Reports, report)
			changed = appendSums(changed, m, report.Changed)
		}
		return changed
	}, func(unkept func(place) bool) {
		for m, report := range c.Reports {
			report.Withhold(func(slot int) bool { return unkept(place{m, slot}) })
		}
	})
	return c, err
}

// Taken records that the metrics pipelines have the collection. The error is the context's.
func (c *Collection[K]) Taken(ctx context.Context) error {
	return c.ledger.change(ctx, func() (changed []place) {
		for m, report := range c.Reports {
			changed = appendSums(changed, m, report.Taken())
		}
		return changed
	}, func(func(place) bool) {})
}

// change makes a change to the sums while no commit is under way, and keeps it. When that fails, failed is told what could not be kept.
func (l *Ledger[K]) change(ctx context.Context, change func() (changed []place), failed func(unkept func(place) bool)) error {
	if l.store == nil {
		change()
		return nil
	}
	return l.store.change(ctx, change, failed)
}

// Untaken says that something was counted that the metrics pipelines do not have yet.
func (l *Ledger[K]) Untaken() bool {
	return slices.ContainsFunc(l.options.Metrics, func(m Metric[K]) bool { return m.Sums.Untaken() })
}

// Instance returns the instance id: that of Options, or with a store the one of the first run.
func (l *Ledger[K]) Instance() string {
	if l.store == nil {
		return l.options.Instance
	}
	return l.store.instance
}

// Secret returns the random bytes: those of Options, or with a store those of the first run.
func (l *Ledger[K]) Secret() []byte {
	if l.store == nil {
		return l.options.Secret
	}
	return l.store.secret
}

// Close writes what is still owed and gives the store back. No other method may be under way or follow.
func (l *Ledger[K]) Close(ctx context.Context) error {
	if l.store == nil {
		return nil
	}
	// What an earlier write owes, and until when the counters were reported.
	err := l.store.write(ctx, 0, nil, true)
	return errors.Join(err, l.store.client.Close(ctx))
}
