package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// bounds say when the records of a store are replaced.
type bounds struct {
	// journal is how many bytes may be written after the last replacement, or as many as that took if these are more.
	journal int
	// chunk is how many series, or some four times as many reports, go into one record of a replacement.
	chunk int
	// stall is how long a write may take before the store is taken to fail.
	stall time.Duration
}

var usualBounds = bounds{journal: 1 << 20, chunk: 256, stall: 10 * time.Second}

// recordOverhead is about what a store needs for a record beside its bytes.
const recordOverhead = 64

// write is something that waits to be written.
type write struct {
	entries []Entry
	// applied is a change that was made already.
	applied *record
	done    chan error
}

// writer is the only one who writes to the store, in one goroutine.
type writer struct {
	ledger *Ledger
	store  store
	bounds bounds
	// wake has something in it when there is something in queue, or closing is set.
	wake  chan struct{}
	ended chan struct{}
	// health is held while Options.Health is told.
	health sync.Mutex

	// The ledger's lock guards what follows, so that what is applied and what is written have one order.
	queue            []*write
	closing, failing bool

	// What follows is the goroutine's own. failed is what could not be written yet, stopped says why none will.
	failed   *write
	stopped  error
	closeErr error
	// journal is how many bytes were written since the last replacement, replaced how many that took.
	journal, replaced int
}

func newWriter(l *Ledger, s store, bounds bounds) *writer {
	return &writer{ledger: l, store: s, bounds: bounds, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// write waits until something is written, or the context ends.
func (w *writer) write(ctx context.Context, one *write) error {
	w.ledger.mu.Lock()
	done := w.enqueue(one)
	w.ledger.mu.Unlock()
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

// enqueue returns where the outcome of the write comes. The ledger's lock is held.
func (w *writer) enqueue(one *write) <-chan error {
	one.done = make(chan error, 1)
	if w.closing {
		one.done <- errClosed
		return one.done
	}
	w.queue = append(w.queue, one)
	w.signal()
	return one.done
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *writer) close(ctx context.Context) error {
	w.ledger.mu.Lock()
	w.closing = true
	w.signal()
	w.ledger.mu.Unlock()
	select {
	case <-w.ended:
		return w.closeErr
	case <-ctx.Done():
		return fmt.Errorf("%w: closing it was not waited for: %w", ErrStore, ctx.Err())
	}
}

func (w *writer) run() {
	defer close(w.ended)
	for range w.wake {
		w.ledger.mu.Lock()
		closing := w.closing
		w.ledger.mu.Unlock()
		// What is enqueued was so before closing began, so that the last write has all of it.
		err := w.persist(context.Background())
		if closing {
			w.closeErr = errors.Join(err, w.store.close(context.Background()))
			return
		}
	}
}

// persist writes what failed before and what waits, at once.
func (w *writer) persist(ctx context.Context) error {
	l := w.ledger
	l.mu.Lock()
	group := w.queue
	w.queue = nil
	all := group
	if w.failed != nil {
		all = append([]*write{w.failed}, group...)
	}
	if len(all) == 0 && !l.replace {
		l.mu.Unlock()
		return nil
	}
	var entries []Entry
	applied, staged := new(record), new(record)
	for _, one := range all {
		entries = append(entries, one.entries...)
		if one.applied != nil {
			applied.merge(one.applied)
		}
	}
	l.stage(staged, entries, l.options.Now())
	kept := new(record)
	kept.merge(applied)
	kept.merge(staged)
	replace := l.replace || w.journal > max(w.bounds.journal, w.replaced)
	var records [][]byte
	if replace {
		records = l.snapshot(w.bounds.chunk)
	}
	l.mu.Unlock()
	if !kept.empty() {
		records = append(records, kept.encode())
	}

	err := w.stopped
	if err == nil {
		stalled := time.AfterFunc(w.bounds.stall, func() { w.setFailing(errStalled) })
		err = w.store.commit(ctx, records, replace)
		stalled.Stop()
	}
	w.finish(entries, applied, staged, records, replace, err)
	for _, one := range group {
		one.done <- err
	}
	return err
}

// finish ends a write.
func (w *writer) finish(entries []Entry, applied, staged *record, records [][]byte, replace bool, err error) {
	l := w.ledger
	l.mu.Lock()
	if err != nil {
		l.unstage()
		l.replace = l.replace || replace
	} else {
		l.replace = false
		l.committed(staged, entries)
	}
	l.mu.Unlock()

	size := 0
	for _, r := range records {
		size += len(r) + recordOverhead
	}
	switch {
	case err != nil:
		w.failed = &write{entries: entries, applied: applied}
		if errors.Is(err, ErrReplaced) {
			w.stopped = err
		}
	case replace:
		w.failed, w.journal, w.replaced = nil, 0, size
	default:
		w.failed, w.journal = nil, w.journal+size
	}
	if len(records) > 0 && l.options.Observe != nil {
		l.options.Observe(err)
	}
	w.setFailing(err)
}

// setFailing notes whether the store fails, and tells who wants to know.
func (w *writer) setFailing(err error) {
	w.health.Lock()
	defer w.health.Unlock()
	l := w.ledger
	l.mu.Lock()
	changed := w.failing != (err != nil)
	w.failing = err != nil
	l.mu.Unlock()
	if changed && l.options.Health != nil {
		l.options.Health(err)
	}
}

// merge adds what another record changes.
func (r *record) merge(other *record) {
	r.seen = append(r.seen, other.seen...)
	r.series = append(r.series, other.series...)
	r.values = append(r.values, other.values...)
	r.collected, r.acknowledged = max(r.collected, other.collected), max(r.acknowledged, other.acknowledged)
}

// snapshot returns records that make an empty ledger what this one is.
func (l *Ledger) snapshot(chunk int) (records [][]byte) {
	r := &record{collected: l.collected, acknowledged: l.acknowledged}
	for name, content := range l.values {
		r.values = append(r.values, value{name, content})
	}
	flush := func(reports, series int) {
		if len(r.seen) >= reports || len(r.series) >= series {
			records = append(records, r.encode())
			r = new(record)
		}
	}
	for kind, remembered := range l.seen {
		remembered.each(func(id ID, outcome Outcome, at int64) {
			r.seen = append(r.seen, seen{kind, id, outcome, at})
			flush(4*chunk, chunk)
		})
	}
	for name, m := range l.metrics {
		for _, one := range m.order {
			r.series = append(r.series, seriesOp{op: opSet, metric: name, attributes: one.attributes, state: one.seriesState})
			flush(4*chunk, chunk)
		}
	}
	return append(records, r.encode())
}
