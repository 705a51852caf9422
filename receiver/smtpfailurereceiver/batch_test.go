package smtpfailurereceiver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// idsIn returns the message ids of records.
func idsIn(logs plog.Logs) (ids []string) {
	for _, record := range logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
		id, _ := record.Attributes().Get(attributeMessageID)
		ids = append(ids, id.Str())
	}
	return ids
}

// together starts a receiver whose pipelines hold what comes until so many reports wait, and sends
// these. It returns the statuses by id, and the receiver.
func together(t *testing.T, reports int, logs consumer.Logs) (map[string]int, *run) {
	t.Helper()
	held := make(chan struct{})
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) {
		r.logs = logsFunc(func(ctx context.Context, batch plog.Logs) error {
			if slices.Contains(idsIn(batch), "first") {
				<-held
			}
			return logs.ConsumeLogs(ctx, batch)
		})
	})
	b := run.receiver.batches
	var sending sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[string]int)
	send := func(id string) {
		sending.Go(func() {
			got, err := do(http.DefaultClient, newForm(t.Context(), run.url(), "code=550&id="+id))
			if !assert.NoError(t, err) { //nolint:testifylint // this is not the test's goroutine
				return
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[id] = got.status
		})
	}
	// All but one of the batches are taken to be under way.
	b.running = maxBatches - 1
	send("first")
	waiting := func(reports int) func() bool {
		return func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.running == maxBatches && len(b.waiting) == reports
		}
	}
	require.Eventually(t, waiting(0), testTimeout, time.Millisecond)
	for n := range reports {
		send(strconv.Itoa(n))
	}
	require.Eventually(t, waiting(reports), testTimeout, time.Millisecond)
	b.mu.Lock()
	b.running = 1
	b.mu.Unlock()
	close(held)
	sending.Wait()
	return statuses, run
}

// Events that come while others are under way share the next batch, and each has its own outcome.
func TestEventsShareABatch(t *testing.T) {
	for name, tc := range map[string]struct {
		refuse func(ids []string) error
		odd    int // the status of report 7
		others int
		calls  []int // how many reports were in each call after the first
		total  int64
	}{
		"all are taken": {func([]string) error { return nil }, 200, 200, []int{20}, 21},
		"one is refused for good": {func(ids []string) error {
			if slices.Contains(ids, "7") {
				return consumererror.NewPermanent(errors.New("never"))
			}
			return nil
		}, 400, 200, append([]int{20}, slices.Repeat([]int{1}, 20)...), 21},
		"one makes a component panic": {func(ids []string) error {
			if slices.Contains(ids, "7") {
				panic("at the processor")
			}
			return nil
		}, 500, 200, append([]int{20}, slices.Repeat([]int{1}, 20)...), 20},
		"they can't be taken now": {func(ids []string) error {
			if len(ids) > 1 {
				return errors.New("queue is full")
			}
			return nil
		}, 503, 503, []int{20}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var calls []int
			statuses, run := together(t, 20, logsFunc(func(_ context.Context, logs plog.Logs) error {
				mu.Lock()
				defer mu.Unlock()
				calls = append(calls, logs.LogRecordCount())
				return tc.refuse(idsIn(logs))
			}))
			for id, status := range statuses {
				switch id {
				case "first":
					assert.Equal(t, 200, status)
				case "7":
					assert.Equal(t, tc.odd, status)
				default:
					assert.Equal(t, tc.others, status, "report %s", id)
				}
			}
			assert.Equal(t, append([]int{1}, tc.calls...), calls)
			require.NoError(t, run.receiver.batches.wait(t.Context()))
			require.NoError(t, run.receiver.Shutdown(t.Context()))
			assert.Equal(t, tc.total, totals(run.metrics)[failuresMetric])
		})
	}
}

func TestBatchIsBounded(t *testing.T) {
	b := newBatcher(nil, time.Now)
	next := func() int {
		first := b.waiting[0]
		first.batch = make(chan []*queuedEvent, 1)
		b.start()
		return len(<-first.batch)
	}
	for range maxBatchReports + 1 {
		b.waiting = append(b.waiting, &queuedEvent{size: 100})
	}
	assert.Equal(t, maxBatchReports, next())
	for range 4 {
		b.waiting = append(b.waiting, &queuedEvent{size: maxBatchBytes / 2})
	}
	assert.Equal(t, 2, next())
	assert.Equal(t, 2, next())
	b.waiting = []*queuedEvent{b.waiting[0], {size: 10 * maxBatchBytes}}
	assert.Equal(t, 1, next())
	assert.Equal(t, 1, next(), "a report that is larger goes alone")
	assert.Empty(t, b.waiting)
}

// startBatches returns a batcher whose batches end when release is closed, what sends it a call,
// and the sizes of the batches that have begun.
func startBatches(t *testing.T) (b *batcher, send func(ctx context.Context) error, sizes func() []int, release chan struct{}) {
	t.Helper()
	var mu sync.Mutex
	var began []int
	release = make(chan struct{})
	b = newBatcher(func(batch []*queuedEvent) {
		mu.Lock()
		began = append(began, len(batch))
		mu.Unlock()
		<-release
	}, time.Now)
	send = func(ctx context.Context) error {
		require.True(t, b.slots.TryAcquire(1))
		var err error
		go func() { err = b.do(ctx, new(queuedEvent)) }()
		synctest.Wait()
		return err
	}
	sizes = func() []int {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(began)
	}
	return b, send, sizes, release
}

func TestSlowBatchDoesNotKeepTheRestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, send, sizes, release := startBatches(t)
		b.took = slowBatch
		for range 3 {
			require.NoError(t, send(t.Context()))
		}
		time.Sleep(slowBatch + 1)
		for range 2 * maxBatches {
			require.NoError(t, send(t.Context()))
			time.Sleep(slowBatch + 1)
		}
		assert.Equal(t, []int{1, 3, 1, 1}, sizes())
		close(release)
		require.NoError(t, b.wait(t.Context()))
		assert.Equal(t, []int{1, 3, 1, 1, 2*maxBatches - 3}, sizes())
	})
}

func TestCallsShareNothingWhileBatchesAreQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, send, sizes, release := startBatches(t)
		b.took = quickBatch - 1
		for range maxBatches + 3 {
			require.NoError(t, send(t.Context()))
		}
		assert.Equal(t, []int{1, 1, 1, 1}, sizes())
		close(release)
		require.NoError(t, b.wait(t.Context()))
		assert.Equal(t, []int{1, 1, 1, 1, 3}, sizes())
	})
}

// A caller that hangs up, be it the first of a batch that waits, stops nobody's batch.
func TestAbandonedCallIsProcessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, send, sizes, release := startBatches(t)
		b.took = slowBatch
		require.NoError(t, send(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, send(ctx), context.Canceled)
		require.NoError(t, send(t.Context()))
		close(release)
		require.NoError(t, b.wait(t.Context()))
		assert.Equal(t, []int{1, 2}, sizes())
	})
}

func TestTooManyWaiting(t *testing.T) {
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) { require.True(t, r.batches.slots.TryAcquire(maxWaiting)) })
	got := run.post(t, "id=1")
	assert.Equal(t, http.StatusServiceUnavailable, got.status)
	assert.Equal(t, retryAfter, got.header.Get("Retry-After"))
	assert.Equal(t, "1", run.count(t, requests("too_many_waiting", 503)))
	run.receiver.batches.slots.Release(maxWaiting)
	assert.Equal(t, http.StatusOK, run.post(t, "id=1").status)
}

// The client is known to pipelines only where each event goes alone.
func TestClientInfoOfEventsThatGoAlone(t *testing.T) {
	for _, metadata := range []bool{false, true} {
		config := defaultConfig()
		config.HTTP.IncludeMetadata = metadata
		run := startRun(t, config, func(r *smtpFailureReceiver) {
			r.logs = logsFunc(func(ctx context.Context, _ plog.Logs) error {
				assert.Equal(t, metadata, len(client.FromContext(ctx).Metadata.Get("Content-Type")) > 0)
				assert.Equal(t, metadata, client.FromContext(ctx).Addr != nil)
				return nil
			})
		})
		assert.Equal(t, http.StatusOK, run.post(t, "id=1").status)
	}
}

// A caller's span is the parent of the receiver's, under which all others are.
func TestTraceparent(t *testing.T) {
	before := otel.GetTextMapPropagator()
	otel.SetTextMapPropagator(propagation.TraceContext{})
	defer otel.SetTextMapPropagator(before)
	run := startRun(t, defaultConfig())
	request := newForm(t.Context(), run.url(), "id=1")
	request.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	got, err := do(http.DefaultClient, request)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, got.status)
	require.NoError(t, run.receiver.Shutdown(t.Context()))
	parents := make(map[string]string)
	for _, span := range run.telemetry.SpanRecorder.Ended() {
		if span.SpanContext().TraceID().String() == "0af7651916cd43dd8448eb211c80319c" {
			parents[span.Name()] = span.Parent().SpanID().String()
		}
	}
	require.Len(t, parents, 3)
	assert.Equal(t, "b7ad6b7169203331", parents["receiver/smtp_failure/Request"])
	assert.NotEqual(t, "b7ad6b7169203331", parents["POST"])
	assert.NotEqual(t, "b7ad6b7169203331", parents["receiver/smtp_failure/LogsReceived"])
}

// hanging is a storage extension that hangs on demand.
type hanging struct {
	storage.Extension
	gate chan struct{}
	on   atomic.Bool
}

func (h *hanging) GetClient(ctx context.Context, kind component.Kind, id component.ID, name string) (storage.Client, error) {
	inner, err := h.Extension.GetClient(ctx, kind, id, name)
	return &hangingClient{inner, h}, err
}

type hangingClient struct {
	storage.Client
	extension *hanging
}

func (c *hangingClient) Batch(ctx context.Context, ops ...*storage.Operation) error {
	if c.extension.on.Load() {
		<-c.extension.gate
	}
	return c.Client.Batch(ctx, ops...)
}

// Senders that give up are let go meanwhile.
func TestShutdownKeepsItsDeadlineWhateverHangs(t *testing.T) {
	for _, what := range []string{"the store", "a logs pipeline", "a metrics pipeline"} {
		t.Run(what, func(t *testing.T) {
			gate := make(chan struct{})
			host := newStorageHost(t, t.TempDir())
			store := &hanging{Extension: host.extensions[storageID].(storage.Extension), gate: gate}
			host.extensions[storageID] = store
			hang := new(atomic.Bool)
			wait := func() {
				if hang.Load() {
					<-gate
				}
			}
			run := startRunOn(t, host, storageConfig(), func(r *smtpFailureReceiver) {
				r.waitTimeout = 10 * time.Millisecond
				switch what {
				case "a logs pipeline":
					r.logs = logsFunc(func(context.Context, plog.Logs) error { wait(); return nil })
				case "a metrics pipeline":
					r.metrics = metricsFunc(func(context.Context, pmetric.Metrics) error { wait(); return nil })
				}
			})
			require.Equal(t, http.StatusOK, run.post(t, "id=0").status)
			hang.Store(true)
			store.on.Store(what == "the store")
			var sending sync.WaitGroup
			for n := range 100 {
				sending.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
					defer cancel()
					_, _ = do(new(http.Client), newForm(ctx, run.url(), fmt.Sprintf("id=%d&code=550", 1+n)))
				})
			}
			sending.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			began := time.Now()
			require.Error(t, run.receiver.Shutdown(ctx))
			assert.Less(t, time.Since(began), testTimeout/2)
			close(gate)
			// What hung ends, so that the store can be closed.
			require.NoError(t, run.receiver.batches.wait(t.Context()))
			_ = run.receiver.ledger.Close(t.Context())
			run.receiver.shutdownErr = nil
		})
	}
}

var shutdowns = flag.Int("shutdowns", 20, "how often TestShutdownUnderLoad shuts down")

// A shutdown that is cut off while calls are under way leaves a store that opens, and that has all
// that was acknowledged.
func TestShutdownUnderLoad(t *testing.T) {
	for round := range *shutdowns {
		host := newStorageHost(t, t.TempDir())
		start := func() (*smtpFailureReceiver, error) {
			config := storageConfig()
			config.HTTP.NetAddr.Endpoint = "localhost:0"
			f := NewFactory()
			settings := receivertest.NewNopSettings(metadata.Type)
			settings.ID = component.NewID(metadata.Type)
			logs, err := f.CreateLogs(t.Context(), settings, config, consumertest.NewNop())
			require.NoError(t, err)
			_, err = f.CreateMetrics(t.Context(), settings, config, consumertest.NewNop())
			require.NoError(t, err)
			return logs.(*smtpFailureReceiver), logs.Start(t.Context(), host)
		}
		r, err := start()
		require.NoError(t, err)
		url := "http://" + r.listener.Addr().String() + defaultPath
		var sending sync.WaitGroup
		var acknowledged atomic.Int64
		transport := &http.Transport{MaxIdleConnsPerHost: 16}
		for worker := range 16 {
			sending.Go(func() {
				for n := 0; ; n++ {
					got, err := do(&http.Client{Transport: transport}, newForm(t.Context(), url, fmt.Sprintf("id=%d-%d&tags=t%d", worker, n, n)))
					if err != nil {
						return
					}
					if got.status == http.StatusOK {
						acknowledged.Add(1)
					}
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(round%20)*time.Millisecond)
		time.Sleep(time.Duration(round%7) * time.Millisecond)
		_ = r.Shutdown(ctx)
		cancel()
		sending.Wait()
		transport.CloseIdleConnections()
		require.NoError(t, r.batches.wait(t.Context()))
		_ = r.ledger.Close(t.Context())
		again, err := start()
		require.NoError(t, err)
		assert.GreaterOrEqual(t, int64(again.ledger.Stats().Kinds["failure"].Remembered), acknowledged.Load())
		require.NoError(t, again.Shutdown(t.Context()))
	}
}
