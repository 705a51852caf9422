package smtpfailurereceiver

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
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
	// maxWaiting is the number of reports that may wait for their outcome, those in a batch included.
	maxWaiting = 4096
	// maxBatches is the number of batches that run at the same time.
	maxBatches = 4
	// A batch that takes less than quickBatch waits for nothing, so that sharing it gains nothing. What
	// comes during one that takes longer than slowBatch is not kept waiting for its end.
	quickBatch = 100 * time.Microsecond
	slowBatch  = 100 * time.Millisecond
	// maxBatchReports and maxBatchBytes bound a batch, which exporters send as one message: backends
	// refuse those of more than a few megabytes.
	maxBatchReports = 512
	maxBatchBytes   = 1 << 20
)

var (
	errTooManyWaiting = errors.New("too many reports wait")
	errPanicked       = errors.New("a component panicked")
)

// call is a report that waits for its outcome.
type call struct {
	event   *webhook.Event
	values  []attributeValue // of the shared attributes
	attempt *ledger.Attempt
	size    int // of the body
	span    trace.SpanContext
	client  client.Info

	// batch brings the batch that the call's goroutine has to run, and is closed when outcome, or err
	// in place of it, is set.
	batch     chan []*call
	abandoned bool // nobody receives from batch
	outcome   ledger.Outcome
	err       error
}

// batcher has calls share ConsumeLogs and Commit. While batches are quick, each call is one of its
// own; while they wait for a disk or a network, the calls that come meanwhile are the next one. No
// call waits for a timer, and each batch is run by the goroutine of its first call.
type batcher struct {
	process func([]*call)
	now     func() time.Time
	// most is the number of reports in a batch.
	most int
	// room is what is left of maxWaiting.
	room *semaphore.Weighted

	mu      sync.Mutex
	waiting []*call
	running int           // batches
	began   time.Time     // when the last batch began
	took    time.Duration // how long the batch that ended last took
}

func newBatcher(process func([]*call), now func() time.Time) *batcher {
	return &batcher{process: process, now: now, most: maxBatchReports, room: semaphore.NewWeighted(maxWaiting)}
}

// do has a call processed, and returns its error. It returns the context's when that ends before; the
// call is processed all the same. The call has to have room, which do gives back.
func (b *batcher) do(ctx context.Context, c *call) error {
	c.batch = make(chan []*call, 1)
	b.add(c)
	for {
		select {
		case batch, running := <-c.batch:
			if !running {
				return c.err
			}
			b.run(batch)
		case <-ctx.Done():
			b.abandon(c)
			return ctx.Err()
		}
	}
}

func (b *batcher) add(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, c)
	share := b.took >= quickBatch && b.now().Sub(b.began) <= slowBatch
	if b.running == 0 || b.most == 1 || b.running < maxBatches && !share {
		b.start()
	}
}

// start takes the next batch from what waits, and has it run. The lock is held.
func (b *batcher) start() {
	n, bytes := 0, 0
	for n < min(len(b.waiting), b.most) && (n == 0 || bytes+b.waiting[n].size <= maxBatchBytes) {
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

func (b *batcher) run(batch []*call) {
	began := b.now()
	b.process(batch)
	for _, c := range batch {
		close(c.batch)
	}
	b.room.Release(int64(len(batch)))

	b.mu.Lock()
	defer b.mu.Unlock()
	b.took = b.now().Sub(began)
	b.running--
	if len(b.waiting) > 0 {
		b.start()
	}
}

// abandon has the call's batch run by another goroutine, should it be given to the call's.
func (b *batcher) abandon(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.abandoned = true
	select {
	case batch, running := <-c.batch:
		if running {
			go b.run(batch)
		}
	default:
	}
}

// wait returns when no report waits for its outcome, or with an error when the context ends before.
func (b *batcher) wait(ctx context.Context) error {
	if err := b.room.Acquire(ctx, maxWaiting); err != nil {
		return fmt.Errorf("reports were under way: %w", err)
	}
	b.room.Release(maxWaiting)
	return nil
}

// processBatch gives each call its outcome, or an error.
func (r *smtpFailureReceiver) processBatch(batch []*call) {
	err := r.guard(func() error {
		r.consume(batch)
		r.commit(batch)
		return nil
	})
	for _, c := range batch {
		if err != nil {
			c.err = err
		}
		// What the store could not take is the ledger's to try again.
		if err != nil || c.outcome == 0 {
			c.attempt.Release()
		}
	}
}

// consume hands the records of calls to the logs pipelines. What the pipelines refuse for good has an
// outcome all the same: the failure happened, so that it counts, and nobody has to report it again.
func (r *smtpFailureReceiver) consume(batch []*call) {
	recorded := make([]*call, 0, len(batch))
	for _, c := range batch {
		if r.logs != nil && c.event.Kind.HasRecord() {
			recorded = append(recorded, c)
		} else {
			c.outcome = ledger.Accepted
		}
	}
	if len(recorded) > 0 {
		r.consumeRecords(recorded)
	}
}

func (r *smtpFailureReceiver) consumeRecords(batch []*call) {
	err := r.consumeLogs(batch)
	if len(batch) > 1 && (isPermanent(err) || errors.Is(err, errPanicked)) {
		// It may be because of one of them only.
		for i := range batch {
			r.consumeRecords(batch[i : i+1])
		}
		return
	}
	for _, c := range batch {
		switch {
		case err == nil:
			c.outcome = ledger.Accepted
		case isPermanent(err):
			c.outcome = ledger.Refused
		default:
			c.err = err
		}
	}
}

func (r *smtpFailureReceiver) consumeLogs(batch []*call) error {
	// A sender that hangs up does not stop what has begun: half of the pipelines may have the record already.
	ctx := context.Background()
	if span := batch[0].span; span.IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, span)
	}
	operation := r.obsreport.StartLogsOp(ctx)
	for _, c := range batch[1:] {
		if c.span.IsValid() {
			trace.SpanFromContext(operation).AddLink(trace.Link{SpanContext: c.span})
		}
	}
	if r.batches.most == 1 {
		operation = client.NewContext(operation, batch[0].client)
	}
	err := r.guard(func() error {
		return r.logs.ConsumeLogs(operation, newLogs(batch, r.resource, r.settings.BuildInfo.Version))
	})
	r.obsreport.EndLogsOp(operation, formatReport, len(batch), err)
	r.telemetry.consumed(len(batch))
	if isPermanent(err) {
		r.logger.Warn("The logs pipelines refused reports for good", zap.Int("reports", len(batch)), zap.Error(err))
	}
	return err
}

// commit has the calls that have an outcome counted and remembered.
func (r *smtpFailureReceiver) commit(batch []*call) {
	entries := make([]ledger.Entry, 0, len(batch))
	for _, c := range batch {
		if c.outcome != 0 {
			entries = append(entries, ledger.Entry{Attempt: c.attempt, Outcome: c.outcome, Counts: r.counters.counts(c.event, c.values)})
		}
	}
	if len(entries) == 0 {
		return
	}
	err := r.ledger.Commit(context.Background(), entries)
	for _, c := range batch {
		if c.outcome != 0 {
			c.err = err
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
	r.logger.Error("A request ended in a panic", zap.String("cause", fmt.Sprintf("%T", cause)), zap.ByteString("stack", debug.Stack()))
}

// isPermanent reports whether sending the same again can never work. Where several pipelines refused, all of them have to
// have done so for good: one that could take the record later must get it again.
func isPermanent(err error) bool {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		several, ok := inner.(interface{ Unwrap() []error })
		if !ok {
			continue
		}
		permanent := 0
		for _, one := range several.Unwrap() {
			if isPermanent(one) {
				permanent++
			}
		}
		if permanent > 0 {
			return permanent == len(several.Unwrap())
		}
	}
	return consumererror.IsPermanent(err)
}
