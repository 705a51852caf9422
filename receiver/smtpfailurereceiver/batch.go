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

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
)

const (
	// maxWaiting is the number of reports that may wait for their outcome, those that are handed over among them.
	maxWaiting = 4096
	// maxBatches is the number of batches under way. The more there are, the smaller they are, so usually it is one; but
	// one that takes longer than slowBatch does not keep what comes after.
	maxBatches = 4
	slowBatch  = 100 * time.Millisecond
	// maxBatchReports and maxBatchBytes bound one call of the pipelines: exporters send it as one message, and backends
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
	event *webhook.Event
	// values are those of its shared attributes.
	values  []attributeValue
	attempt *ledger.Attempt
	// size of the body.
	size int
	// span is that of the request, client who made it.
	span   trace.SpanContext
	client client.Info
	// done is closed when outcome, or err in place of it, is set for good.
	done    chan struct{}
	outcome ledger.Outcome
	err     error
}

// batcher has calls that come while others are under way share what comes next. Nobody waits for a timer: a call that comes
// alone goes alone.
type batcher struct {
	process func([]*call)
	now     func() time.Time
	// most is the number of reports in a batch.
	most int

	mu      sync.Mutex
	waiting []*call
	// entered is the number of reports that have not got their outcome, running that of batches.
	entered, running int
	// began is when the last batch began.
	began time.Time
	// idle is closed when running gets 0, and nil when nobody waits for that.
	idle chan struct{}
	// parked goroutines wait for wake. They are kept because the stack of a new one grows with its first
	// batch, which takes a fifth of a call.
	parked  int
	wake    chan struct{}
	stopped bool
}

func newBatcher(process func([]*call), now func() time.Time) *batcher {
	return &batcher{process: process, now: now, most: maxBatchReports, wake: make(chan struct{}, maxBatches)}
}

// enter makes room for a report, and reports whether there is some.
func (b *batcher) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entered >= maxWaiting {
		return false
	}
	b.entered++
	return true
}

// leave gives up the room of reports.
func (b *batcher) leave(reports int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entered -= reports
}

// add takes a call that has room. Where no batch is under way, it takes the next one itself, which is the call, and leaves
// what has come meanwhile to a goroutine: waking one for each call that comes alone took 40 % of the handler's time.
func (b *batcher) add(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, c)
	switch {
	case b.running == 0:
		b.running++
		batch := b.pop()
		b.mu.Unlock()
		b.take(batch)
		b.mu.Lock()
		if len(b.waiting) == 0 {
			b.finish()
		} else {
			b.resume()
		}
	case b.running < maxBatches && b.now().Sub(b.began) > slowBatch:
		b.running++
		b.resume()
	}
}

// resume has a goroutine take batches. The lock is held.
func (b *batcher) resume() {
	if b.parked == 0 {
		go b.run()
		return
	}
	b.parked--
	b.wake <- struct{}{}
}

// run takes batches until nothing waits, and again each time that it is woken.
func (b *batcher) run() {
	for awake := true; awake; _, awake = <-b.wake {
		for batch := b.next(); len(batch) > 0; batch = b.next() {
			b.take(batch)
		}
	}
}

func (b *batcher) take(batch []*call) {
	b.process(batch)
	for _, c := range batch {
		close(c.done)
	}
	b.leave(len(batch))
}

// stop ends the goroutines that are parked, and the others once nothing waits.
func (b *batcher) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped, b.parked = true, 0
	close(b.wake)
}

// next returns the next batch; it is empty when nothing waits, and the goroutine parks then.
func (b *batcher) next() []*call {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch := b.pop()
	if len(batch) == 0 {
		if !b.stopped {
			b.parked++
		}
		b.finish()
	}
	return batch
}

// pop returns the next batch. The lock is held.
func (b *batcher) pop() []*call {
	n, bytes := 0, 0
	for n < min(len(b.waiting), b.most) && (n == 0 || bytes+b.waiting[n].size <= maxBatchBytes) {
		bytes += b.waiting[n].size
		n++
	}
	batch := b.waiting[:n:n]
	b.waiting = b.waiting[n:]
	if len(b.waiting) == 0 {
		b.waiting = nil
	}
	b.began = b.now()
	return batch
}

// finish ends what takes batches. The lock is held.
func (b *batcher) finish() {
	b.running--
	if b.running == 0 && b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
}

// wait returns when no batch is under way, or with an error when the context has ended before.
func (b *batcher) wait(ctx context.Context) error {
	b.mu.Lock()
	if b.running == 0 {
		b.mu.Unlock()
		return nil
	}
	if b.idle == nil {
		b.idle = make(chan struct{})
	}
	idle := b.idle
	b.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("reports were under way: %w", ctx.Err())
	}
}

// processBatch gives the outcome to each call.
func (r *smtpFailureReceiver) processBatch(batch []*call) {
	err := r.guard(func() error {
		var recorded, done []*call
		for _, c := range batch {
			if c.event.Kind.HasRecord() {
				recorded = append(recorded, c)
				continue
			}
			c.outcome = ledger.Accepted
			done = append(done, c)
		}
		if len(recorded) > 0 {
			done = append(done, r.consume(recorded)...)
		}
		return r.commit(done)
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

// consume hands the records of calls to the logs pipelines, in one call if that works, and returns the calls that are done
// with, those without a record among them. A report that they refuse for good is one of these: the failure happened all the same, so that it counts, and
// nobody has to report it again.
func (r *smtpFailureReceiver) consume(batch []*call) (done []*call) {
	recorded := make([]*call, 0, len(batch))
	for _, c := range batch {
		if r.logs != nil && c.event.Kind.HasRecord() {
			recorded = append(recorded, c)
			continue
		}
		c.outcome = ledger.Accepted
		done = append(done, c)
	}
	if len(recorded) == 0 {
		return done
	}
	return append(done, r.consumeRecords(recorded)...)
}

func (r *smtpFailureReceiver) consumeRecords(batch []*call) (done []*call) {
	err := r.consumeLogs(batch)
	if len(batch) > 1 && (isPermanent(err) || errors.Is(err, errPanicked)) {
		// It may be because of one of them only.
		for i := range batch {
			done = append(done, r.consumeRecords(batch[i:i+1])...)
		}
		return done
	}
	for _, c := range batch {
		switch {
		case err == nil:
			c.outcome = ledger.Accepted
		case isPermanent(err):
			c.outcome = ledger.Refused
		default:
			c.err = err
			continue
		}
		done = append(done, c)
	}
	return done
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

// commit has calls counted and remembered.
func (r *smtpFailureReceiver) commit(done []*call) error {
	if len(done) == 0 {
		return nil
	}
	entries := make([]ledger.Entry, len(done))
	for i, c := range done {
		entries[i] = ledger.Entry{Attempt: c.attempt, Outcome: c.outcome, Counts: r.counters.counts(c.event, c.values)}
	}
	err := r.ledger.Commit(context.Background(), entries)
	for _, c := range done {
		c.err = err
	}
	return nil
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
