package smtpfailurereceiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

var storageID = component.MustNewID("file_storage")

// storageHost is a collector with file_storage in a directory, and faults.
type storageHost struct {
	*hostWith
	// broken has the store fail. replaced has it belong to another run.
	broken, replaced atomic.Bool
}

func newStorageHost(tb testing.TB, directory string) *storageHost {
	tb.Helper()
	factory := filestorage.NewFactory()
	config := factory.CreateDefaultConfig().(*filestorage.Config)
	config.Directory = directory
	config.FSync = true
	extension, err := factory.Create(tb.Context(), extensiontest.NewNopSettings(factory.Type()), config)
	require.NoError(tb, err)
	require.NoError(tb, extension.Start(tb.Context(), componenttest.NewNopHost()))
	tb.Cleanup(func() { require.NoError(tb, extension.Shutdown(context.WithoutCancel(tb.Context()))) })

	host := &storageHost{hostWith: &hostWith{status: make(chan *componentstatus.Event, 100)}}
	host.extensions = map[component.ID]component.Component{
		storageID: &faultyStorage{Extension: extension.(storage.Extension), host: host},
	}
	return host
}

type faultyStorage struct {
	storage.Extension
	host *storageHost
}

func (s *faultyStorage) GetClient(ctx context.Context, kind component.Kind, id component.ID, name string) (storage.Client, error) {
	client, err := s.Extension.GetClient(ctx, kind, id, name)
	return &faultyClient{Client: client, host: s.host}, err
}

type faultyClient struct {
	storage.Client
	host *storageHost
}

func (c *faultyClient) Batch(ctx context.Context, ops ...*storage.Operation) error {
	if c.host.broken.Load() {
		return errors.New("no space left on device")
	}
	err := c.Client.Batch(ctx, ops...)
	if c.host.replaced.Load() {
		for _, op := range ops {
			op.Value = []byte("another run")
		}
	}
	return err
}

func storageConfig() *Config {
	config := defaultConfig()
	config.Storage = &storageID
	config.Aggregation.Interval = time.Hour // the tests flush
	return config
}

func TestRepeats(t *testing.T) {
	for _, deduplicate := range []bool{true, false} {
		t.Run(fmt.Sprintf("deduplicate=%t", deduplicate), func(t *testing.T) {
			config := defaultConfig()
			config.Deduplication.Enabled = deduplicate
			run := startRun(t, config)
			for range 3 {
				assert.Equal(t, http.StatusOK, run.post(t, "id=1&time=1795256098&code=550&tags=a").status)
			}
			assert.Equal(t, http.StatusOK, run.post(t, "id=1&time=1795256099&code=550&tags=a").status, "another failure")
			counted, remembered := 4, "0"
			if deduplicate {
				counted, remembered = 2, "2"
			}
			assert.Equal(t, remembered, run.count(t, "otelcol_smtp_failure_remembered{kind=failure,receiver=smtp_failure}"))
			duplicates := strconv.Itoa(4 - counted)
			assert.Equal(t, duplicates, run.count(t, requests("duplicate", 200)))
			assert.Equal(t, duplicates, run.count(t, "otelcol_smtp_failure_duplicates{receiver=smtp_failure}"))
			require.NoError(t, run.receiver.Shutdown(t.Context()))
			assert.Equal(t, map[string]int64{failuresMetric: int64(counted), byTagMetric: int64(counted)}, totals(run.metrics))
			assert.Equal(t, counted, run.logs.LogRecordCount())
		})
	}
}

func TestRepeatsOfRefusedReports(t *testing.T) {
	for name, tc := range map[string]struct {
		refusal error
		status  int
		calls   int // of the logs pipelines by four reports, of which they would take the last
		last    int
	}{
		"for good": {consumererror.NewPermanent(errors.New("never")), http.StatusBadRequest, 1, http.StatusBadRequest},
		"for now":  {errors.New("queue is full"), http.StatusServiceUnavailable, 4, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			refusal := tc.refusal
			run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) {
				r.logs = logsFunc(func(context.Context, plog.Logs) error {
					calls++
					return refusal
				})
			})
			for range 3 {
				assert.Equal(t, tc.status, run.post(t, "id=1").status)
			}
			refusal = nil
			assert.Equal(t, tc.last, run.post(t, "id=1").status)
			assert.Equal(t, tc.calls, calls)
			require.NoError(t, run.receiver.Shutdown(t.Context()))
			assert.Equal(t, int64(1), totals(run.metrics)[failuresMetric])
		})
	}
}

func TestCopiesInFlight(t *testing.T) {
	logs, arrived, release := blockingLogs()
	run := startRun(t, defaultConfig(), func(r *smtpFailureReceiver) { r.logs, r.waitTimeout = logs, time.Millisecond })
	var first sync.WaitGroup
	first.Go(func() {
		response, err := do(http.DefaultClient, newForm(context.WithoutCancel(t.Context()), run.url(), "id=1"))
		assert.NoError(t, err) //nolint:testifylint // this is not the goroutine of the test
		assert.Equal(t, http.StatusOK, response.status)
	})
	<-arrived
	response := run.post(t, "id=1")
	assert.Equal(t, http.StatusServiceUnavailable, response.status)
	assert.Equal(t, retryAfter, response.header.Get("Retry-After"))
	assert.Equal(t, "1", run.count(t, requests("in_flight", 503)))
	close(release)
	first.Wait()
}

func TestRestartContinuesTheSeries(t *testing.T) {
	directory := t.TempDir()
	type point struct {
		instance string
		start    time.Time
		value    int64
	}
	session := func(ids ...int) (last point, records int) {
		host := newStorageHost(t, directory)
		run := startRunOn(t, host, storageConfig())
		for _, id := range ids {
			require.Equal(t, http.StatusOK, run.post(t, fmt.Sprintf("id=%d&time=1795256098&code=550", id)).status)
		}
		require.NoError(t, run.receiver.Shutdown(t.Context()))
		all := run.metrics.AllMetrics()
		resource := all[len(all)-1].ResourceMetrics().At(0)
		instance, _ := resource.Resource().Attributes().Get(attributeServiceInstanceID)
		p := resource.ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints()
		require.Equal(t, 1, p.Len())
		return point{instance.Str(), p.At(0).StartTimestamp().AsTime(), p.At(0).IntValue()}, run.logs.LogRecordCount()
	}

	first, records := session(1, 2, 3)
	assert.Equal(t, int64(3), first.value)
	assert.Equal(t, 3, records)
	second, records := session(2, 3, 4)
	assert.Equal(t, point{first.instance, first.start, 4}, second, "the same series, and repeats are known")
	assert.Equal(t, 1, records)
	third, _ := session()
	assert.Equal(t, second, third)
}

func TestStoreFailsAndWorksAgain(t *testing.T) {
	host := newStorageHost(t, t.TempDir())
	run := startRunOn(t, host, storageConfig())
	require.Equal(t, http.StatusOK, run.post(t, "id=1").status)

	host.broken.Store(true)
	for i := 2; i < 5; i++ {
		response := run.post(t, "id="+strconv.Itoa(i))
		assert.Equal(t, http.StatusServiceUnavailable, response.status)
		assert.Equal(t, retryAfter, response.header.Get("Retry-After"))
	}
	assert.Equal(t, http.StatusOK, run.post(t, "id=1").status, "what is known is known without the store")
	assert.Equal(t, "3", run.count(t, requests("store_unavailable", 503)))
	assert.Equal(t, 2, run.logs.LogRecordCount(), "after the first failure nothing is exported that could not be kept")
	require.NoError(t, run.receiver.flush(t.Context()), "the totals still go out")
	for range 2 {
		event := <-host.status
		assert.Equal(t, componentstatus.StatusRecoverableError, event.Status(), "each signal gets it")
		require.ErrorContains(t, event.Err(), "no space left on device")
	}

	host.broken.Store(false)
	for i := 1; i < 5; i++ {
		assert.Equal(t, http.StatusOK, run.post(t, "id="+strconv.Itoa(i)).status)
	}
	for range 2 {
		assert.Equal(t, componentstatus.StatusOK, (<-host.status).Status())
	}
	require.NoError(t, run.receiver.Shutdown(t.Context()))
	assert.Equal(t, 4, run.logs.LogRecordCount(), "no record was exported twice")
	assert.Equal(t, int64(4), totals(run.metrics)[failuresMetric])
}

func TestUnusableStorageStopsTheStart(t *testing.T) {
	broken := newStorageHost(t, t.TempDir())
	broken.broken.Store(true)
	closed := newStorageHost(t, t.TempDir())
	closed.extensions[storageID] = noClients{}
	panicking := &hostWith{extensions: map[component.ID]component.Component{storageID: panics{}}}
	for _, test := range []struct {
		name, message string
		host          component.Host
	}{
		{"not there", `storage: "file_storage"; must be the name of a storage extension`, &hostWith{}},
		{"not a storage", `storage: "file_storage"; must be the name of a storage extension`, &hostWith{extensions: map[component.ID]component.Component{storageID: authenticator{}}}},
		{"panics", "cannot open what it keeps (with file_storage, the file receiver_smtp_failure_", panicking},
		{"no clients", `: no clients today; if it is damaged, move it away`, closed},
		{"cannot be written", ": the store did not take it: no space left on device", broken},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := storageConfig()
			config.HTTP.NetAddr.Endpoint = "localhost:0"
			r, err := NewFactory().CreateLogs(t.Context(), receivertest.NewNopSettings(metadata.Type), config, consumertest.NewNop())
			require.NoError(t, err)
			require.ErrorContains(t, r.Start(t.Context(), test.host), test.message)
			assert.NoError(t, r.Shutdown(t.Context()))
		})
	}
}

type panics struct{ storage.Extension }

func (panics) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	panic("page 3 is no page")
}

type noClients struct{ storage.Extension }

func (noClients) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return nil, errors.New("no clients today")
}

func TestEveryReceiverHasItsOwnStore(t *testing.T) {
	directory := t.TempDir()
	host := newStorageHost(t, directory)
	first := startRunOn(t, host, storageConfig())
	second := startRunOn(t, host, storageConfig(), func(r *smtpFailureReceiver) { r.settings.ID = component.MustNewIDWithName("smtp_failure", "two") })
	assert.Equal(t, http.StatusOK, first.post(t, "id=1").status)
	assert.Equal(t, http.StatusOK, second.post(t, "id=1").status)
	assert.Equal(t, 1, second.logs.LogRecordCount())
	assert.NotEqual(t, first.receiver.ledger.Value(storedInstanceID), second.receiver.ledger.Value(storedInstanceID), "and never shares a series")
	files, err := filepath.Glob(filepath.Join(directory, "*"))
	require.NoError(t, err)
	assert.Len(t, files, 2)
}

// A collector whose store another one has claimed acknowledges nothing more, and says so.
func TestReplacedCollector(t *testing.T) {
	host := newStorageHost(t, t.TempDir())
	run := startRunOn(t, host, storageConfig())
	require.Equal(t, http.StatusOK, run.post(t, "id=1").status)
	host.replaced.Store(true)
	for n := range 3 {
		require.Equal(t, http.StatusServiceUnavailable, run.post(t, "id="+strconv.Itoa(2+n)).status)
	}
	assert.Equal(t, "3", run.count(t, requests("store_unavailable", 503)))
	event := <-host.status
	assert.Equal(t, componentstatus.StatusPermanentError, event.Status())
	require.ErrorContains(t, event.Err(), "another collector has taken it over")
	require.Error(t, run.receiver.flush(t.Context()), "the other one sends the totals")
	require.Error(t, run.receiver.Shutdown(t.Context()))
	run.receiver.shutdownErr = nil
}
