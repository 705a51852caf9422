package smtpfailurereceiver

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

const (
	// maxWaiting is the number of reports that may wait for their outcome, those in a batch
	// included.
	maxWaiting = 4096
	// maxBatches is the number of batches that run at the same time.
	maxBatches = 4
	// A batch that takes less than quickBatch waits for nothing, so that sharing it gains nothing.
	// What comes during one that takes longer than slowBatch is not kept waiting for its end.
	quickBatch = 100 * time.Microsecond
	slowBatch  = 100 * time.Millisecond
	// maxBatchReports and maxBatchBytes bound a batch, which exporters send as one message:
	// backends refuse those of more than a few megabytes.
	maxBatchReports = 512
	maxBatchBytes   = 1 << 20
)

var (
	errTooManyWaiting = errors.New("too many reports wait")
	errPanicked       = errors.New("a component panicked")
)

// queuedEvent is an event that waits for its outcome.
type queuedEvent struct {
	*webhook.Event

	attempt *ledger.Attempt
	size    int // of the body
	span    trace.SpanContext
	client  client.Info

	// batch brings the batch that the event's goroutine has to run, and is closed when outcome, or
	// err in place of it, is set.
	batch     chan []*queuedEvent
	abandoned bool // nobody receives from batch
	outcome   ledger.Outcome
	err       error
}

// batcher has events share ConsumeLogs and Commit. While batches are quick, each event is one of
// its own; while they wait for a disk or a network, the events that come meanwhile are the next
// one, which doubles what a receiver with a store can accept. No event waits for a timer, and each
// batch is run by the goroutine of its first event.
type batcher struct {
	process func([]*queuedEvent)
	now     func() time.Time
	// maxReports is the number of reports in a batch.
	maxReports int
	// slots are those of maxWaiting.
	slots *semaphore.Weighted

	mu      sync.Mutex
	waiting []*queuedEvent
	running int           // batches
	began   time.Time     // when the last batch began
	took    time.Duration // how long the batch that ended last took
}

func newBatcher(process func([]*queuedEvent), now func() time.Time) *batcher {
	return &batcher{process: process, now: now, maxReports: maxBatchReports, slots: semaphore.NewWeighted(maxWaiting)}
}

// do has an event processed and returns its error. It returns the context's when that ends before;
// the event is processed all the same. The caller has to have acquired a slot, which do gives back.
func (b *batcher) do(ctx context.Context, event *queuedEvent) error {
	event.batch = make(chan []*queuedEvent, 1)
	b.add(event)
	for {
		select {
		case batch, running := <-event.batch:
			if !running {
				return event.err
			}
			b.run(batch)
		case <-ctx.Done():
			b.abandon(event)
			return ctx.Err()
		}
	}
}

func (b *batcher) add(event *queuedEvent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, event)
	share := b.took >= quickBatch && b.now().Sub(b.began) <= slowBatch
	if b.running == 0 || b.maxReports == 1 || b.running < maxBatches && !share {
		b.start()
	}
}

// start takes the next batch from what waits, and has it run. The lock is held.
func (b *batcher) start() {
	n, bytes := 0, 0
	for n < min(len(b.waiting), b.maxReports) && (n == 0 || bytes+b.waiting[n].size <= maxBatchBytes) {
		bytes += b.waiting[n].size
		n++
	}
	batch := b.waiting[:n:n]
	if b.waiting = b.waiting[n:]; len(b.waiting) == 0 {
		b.waiting = nil
	}
	b.running++
	b.began = b.now()
	if batch[0].abandoned {
		go b.run(batch)
		return
	}
	batch[0].batch <- batch
}

func (b *batcher) run(batch []*queuedEvent) {
	began := b.now()
	b.process(batch)
	for _, event := range batch {
		close(event.batch)
	}
	b.slots.Release(int64(len(batch)))

	b.mu.Lock()
	defer b.mu.Unlock()
	b.took = b.now().Sub(began)
	b.running--
	if len(b.waiting) > 0 {
		b.start()
	}
}

// abandon has another goroutine run the batch that the event's would have to run.
func (b *batcher) abandon(event *queuedEvent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	event.abandoned = true
	select {
	case batch, running := <-event.batch:
		if running {
			go b.run(batch)
		}
	default:
	}
}

// wait returns when no report waits for its outcome, or with an error when the context ends before.
func (b *batcher) wait(ctx context.Context) error {
	if err := b.slots.Acquire(ctx, maxWaiting); err != nil {
		return fmt.Errorf("reports were under way: %w", err)
	}
	b.slots.Release(maxWaiting)
	return nil
}

// processBatch gives each event its outcome, or an error.
func (r *smtpFailureReceiver) processBatch(batch []*queuedEvent) {
	err := r.guard(func() error {
		r.consume(batch)
		r.commit(batch)
		return nil
	})
	for _, event := range batch {
		if err != nil {
			event.err = err
		}
		// What Commit could not write stays in flight, and the ledger tries it again.
		if err != nil || event.outcome == 0 {
			event.attempt.Release()
		}
	}
}

// consume passes the records of events to the logs pipelines. An event that these refuse for good
// counts all the same, because the failure happened.
func (r *smtpFailureReceiver) consume(batch []*queuedEvent) {
	recorded := make([]*queuedEvent, 0, len(batch))
	for _, event := range batch {
		event.outcome = ledger.Accepted
		if r.logs != nil && event.Kind.HasRecord() {
			recorded = append(recorded, event)
		}
	}
	if len(recorded) > 0 {
		r.consumeRecords(recorded)
	}
}

func (r *smtpFailureReceiver) consumeRecords(batch []*queuedEvent) {
	err := r.consumeLogs(batch)
	if len(batch) > 1 && (isPermanent(err) || errors.Is(err, errPanicked)) {
		// It may be because of one of them only.
		for i := range batch {
			r.consumeRecords(batch[i : i+1])
		}
		return
	}
	for _, event := range batch {
		switch {
		case isPermanent(err):
			event.outcome = ledger.Refused
		case err != nil:
			event.outcome, event.err = 0, err
		}
	}
}

func (r *smtpFailureReceiver) consumeLogs(batch []*queuedEvent) error {
	// Not a request's context: a sender that hangs up does not stop what half of the pipelines may
	// have.
	ctx := context.Background()
	if span := batch[0].span; span.IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, span)
	}
	operation := r.obsreport.StartLogsOp(ctx)
	for _, event := range batch[1:] {
		if event.span.IsValid() {
			trace.SpanFromContext(operation).AddLink(trace.Link{SpanContext: event.span})
		}
	}
	if r.batches.maxReports == 1 {
		operation = client.NewContext(operation, batch[0].client)
	}
	err := r.guard(func() error {
		return r.logs.ConsumeLogs(operation, newLogs(batch, r.resource, r.settings.BuildInfo.Version))
	})
	r.obsreport.EndLogsOp(operation, formatReport, len(batch), err)
	r.telemetry.consumedLogs(len(batch))
	if isPermanent(err) {
		r.logger.Warn("The logs pipelines refused reports for good", zap.Int("reports", len(batch)), zap.Error(err))
	}
	return err
}

// commit counts and remembers the events that have an outcome.
func (r *smtpFailureReceiver) commit(batch []*queuedEvent) {
	entries := make([]ledger.Entry, 0, len(batch))
	for _, event := range batch {
		if event.outcome != 0 {
			counts := r.counters.counts(event.Event)
			entries = append(entries, ledger.Entry{Attempt: event.attempt, Outcome: event.outcome, Counts: counts})
		}
	}
	if len(entries) == 0 {
		return
	}
	err := r.ledger.Commit(context.Background(), entries)
	for _, event := range batch {
		if event.outcome != 0 {
			event.err = err
		}
	}
}

// guard makes an error of a panic.
func (r *smtpFailureReceiver) guard(do func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			r.logPanic(cause)
			err = errPanicked
		}
	}()
	return do()
}

func (r *smtpFailureReceiver) logPanic(cause any) {
	// Only the type of the cause, because its text may hold what was sent.
	r.logger.Error("A request ended in a panic",
		zap.String("cause", fmt.Sprintf("%T", cause)), zap.ByteString("stack", debug.Stack()))
}

// isPermanent reports whether sending the same again can never work. Where several pipelines
// refused, all of them have to have done so for good: one that could take the record later must get
// it again.
func isPermanent(err error) bool {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		several, ok := inner.(interface{ Unwrap() []error })
		if ok && slices.ContainsFunc(several.Unwrap(), isPermanent) {
			return !slices.ContainsFunc(several.Unwrap(), func(err error) bool { return !isPermanent(err) })
		}
	}
	return consumererror.IsPermanent(err)
}
