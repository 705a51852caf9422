package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// limits say when a checkpoint is due and how large its records are.
type limits struct {
	journal int // bytes that may be appended, unless the last checkpoint was larger
	chunk   int // reports and series in a record, because large records fragment a store
}

var defaultLimits = limits{journal: 1 << 20, chunk: 512}

const (
	// recordOverhead is about how many bytes a store needs for a record beside its content.
	recordOverhead = 64
	// stallTimeout is how long a write may take before the store counts as failing.
	stallTimeout = 10 * time.Second
)

// writeRequest asks the writer to persist something. Without anything it asks it to try again.
type writeRequest struct {
	entries []Entry // are applied once they are persisted
	applied record  // was applied before
	done    chan error
}

// writer persists records in one goroutine.
type writer struct {
	ledger   *Ledger
	store    store
	limits   limits
	wake     *sync.Cond    // is signaled when queue or closing has changed
	closed   chan struct{} // is closed when the goroutine has ended, after closeErr is set
	closeErr error
	health   sync.Mutex // is locked while Options.Health is called

	// The ledger's lock guards these.
	queue            []*writeRequest
	closing, failing bool

	// Only the goroutine uses the rest. entries and applied are what has to be persisted.
	entries        []Entry
	applied        record
	replaced       error // of a store that another run has claimed
	journalSize    int   // bytes since the last checkpoint
	checkpointSize int   // bytes of the last checkpoint
}

// enqueue returns a channel that receives the outcome. The ledger's lock must be held.
func (w *writer) enqueue(request writeRequest) <-chan error {
	request.done = make(chan error, 1)
	if w.closing {
		request.done <- errClosed
		return request.done
	}
	w.queue = append(w.queue, &request)
	w.wake.Signal()
	return request.done
}

func (w *writer) close(ctx context.Context) error {
	w.ledger.mu.Lock()
	w.closing = true
	w.wake.Signal()
	w.ledger.mu.Unlock()
	select {
	case <-w.closed:
		return w.closeErr
	case <-ctx.Done():
		return fmt.Errorf("%w: closing it was not waited for: %w", ErrStore, ctx.Err())
	}
}

func (w *writer) run() {
	ctx := context.Background()
	for closing := false; !closing; {
		w.ledger.mu.Lock()
		for len(w.queue) == 0 && !w.closing {
			w.wake.Wait()
		}
		closing = w.closing // nothing is enqueued after that
		w.ledger.mu.Unlock()
		w.closeErr = w.persist(ctx)
	}
	w.closeErr = errors.Join(w.closeErr, w.store.close(ctx))
	close(w.closed)
}

// persist writes what is enqueued, and what failed before, in one commit.
func (w *writer) persist(ctx context.Context) error {
	l := w.ledger
	l.mu.Lock()
	requests := w.queue
	w.queue = nil
	if len(requests) == 0 && !w.failing && !l.checkpointDue {
		l.mu.Unlock()
		return nil
	}
	for _, request := range requests {
		w.entries = append(w.entries, request.entries...)
		w.applied.merge(&request.applied)
	}
	l.stage(w.entries, l.options.Now())
	checkpoint := l.checkpointDue || w.journalSize > max(w.limits.journal, w.checkpointSize)
	var last record
	var records [][]byte
	if checkpoint {
		records = l.checkpoint(w.limits.chunk)
	} else {
		last.merge(&w.applied)
	}
	last.merge(&l.staged)
	l.mu.Unlock()
	if !last.empty() {
		records = append(records, last.encode())
	}

	err := w.commit(ctx, records, checkpoint)

	l.mu.Lock()
	if err != nil {
		l.unstage()
	} else {
		l.commit(w.entries, l.options.Now())
		l.checkpointDue = l.checkpointDue && !checkpoint
		w.entries, w.applied = nil, record{}
	}
	l.mu.Unlock()
	w.setFailing(err)
	for _, request := range requests {
		request.done <- err
	}
	return err
}

// commit writes records to the store, unless another run has claimed it.
func (w *writer) commit(ctx context.Context, records [][]byte, checkpoint bool) error {
	err := w.replaced
	if err == nil {
		stall := time.AfterFunc(stallTimeout, func() { w.setFailing(errStalled) })
		err = w.store.commit(ctx, records, checkpoint)
		stall.Stop()
	}
	if len(records) > 0 {
		w.ledger.options.Observe(err)
	}
	size := 0
	for _, r := range records {
		size += len(r) + recordOverhead
	}
	switch {
	case errors.Is(err, ErrReplaced):
		w.replaced = err
	case err == nil && checkpoint:
		w.journalSize, w.checkpointSize = 0, size
	case err == nil:
		w.journalSize += size
	}
	return err
}

// setFailing sets whether the store fails, and calls Options.Health if that has changed.
func (w *writer) setFailing(err error) {
	w.health.Lock()
	defer w.health.Unlock()
	w.ledger.mu.Lock()
	changed := w.failing != (err != nil)
	w.failing = err != nil
	w.ledger.mu.Unlock()
	if changed {
		w.ledger.options.Health(err)
	}
}

// checkpoint returns records that make an empty ledger what this one is.
func (l *Ledger) checkpoint(chunk int) (records [][]byte) {
	r := &record{collected: l.collected, acknowledged: l.acknowledged}
	flush := func() {
		if len(r.reports)+len(r.series) >= chunk {
			records = append(records, r.encode())
			r = new(record)
		}
	}
	for name, content := range l.values {
		r.values = append(r.values, value{name, content})
	}
	for kind, cache := range l.reports {
		for _, one := range cache.order {
			r.reports = append(r.reports, report{kind, one.id, cache.outcomes[one.id], one.committed})
			flush()
		}
	}
	for name, m := range l.metrics {
		for _, s := range m.order {
			r.series = append(r.series, seriesOp{opSet, name, s.attributes, s.seriesState})
			flush()
		}
	}
	return append(records, r.encode())
}
