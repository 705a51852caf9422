package smtpfailurereceiver

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// typical is a report as PHP encodes it.
const typical = "id=msg-0001&type=failure&timestamp=2026-11-21+10%3A14%3A58&time=1795256098&recipient=jan.jansen%2Btest%40voorbeeld.nl" +
	"&action=failed&state=rcptto&code=550&extended=5.1.1&description=550+5.1.1+%3Cjan.jansen%2Btest%40voorbeeld.nl%3E%3A+Recipient+address" +
	"+rejected%3A+User+unknown&tags%5B0%5D=nieuwsbrief&tags%5B1%5D=week+47"

func typicalReport(tb testing.TB) *webhook.Event {
	tb.Helper()
	report, err := new(webhook.Decoder).Form(webhook.Call{Body: typical, Arrived: arrivedAt})
	require.NoError(tb, err)
	return report
}

func queued(e *webhook.Event) *queuedEvent { return &queuedEvent{Event: e} }

func BenchmarkNewLogs(b *testing.B) {
	batch := []*queuedEvent{queued(typicalReport(b))}
	resource := newResource(nil)
	b.ReportAllocs()
	var logs plog.Logs
	for b.Loop() {
		logs = newLogs(batch, resource, "test")
	}
	require.Equal(b, 1, logs.LogRecordCount())
}

// BenchmarkCount counts one report, with its two tags, while so many series are held. It also reports what each of those takes of memory.
func BenchmarkCount(b *testing.B) {
	for _, series := range []int{1, 1000, 100_000} {
		b.Run(strconv.Itoa(series), func(b *testing.B) {
			before := heap()
			l, c := withSeries(b, series)
			held := heap() - before
			one := queued(typicalReport(b))
			b.ReportAllocs()
			for b.Loop() {
				count(b, l, c, one)
			}
			b.ReportMetric(float64(held)/float64(series), "B/series")
		})
	}
}

// BenchmarkFlush makes what is sent of so many series each interval.
func BenchmarkFlush(b *testing.B) {
	for _, series := range []int{1, 100, 10_000, 100_000} {
		b.Run(strconv.Itoa(series), func(b *testing.B) {
			l, c := withSeries(b, series)
			resource := newResource(nil)
			flush(b, l, c, resource)
			b.ReportAllocs()
			for b.Loop() {
				flush(b, l, c, resource)
			}
		})
	}
}

// flush makes what is sent of the counters, and takes note that it was taken.
func flush(tb testing.TB, l *ledger.Ledger, c *counters, resource pcommon.Resource) {
	tb.Helper()
	collection, err := l.Collect(tb.Context())
	require.NoError(tb, err)
	c.newMetrics(collection, resource, "test")
	require.NoError(tb, l.Acknowledge(tb.Context(), collection.Number))
}

// withSeries returns a ledger in memory in which email.delivery.failures has so many series.
func withSeries(tb testing.TB, n int) (*ledger.Ledger, *counters) {
	tb.Helper()
	config := defaultConfig()
	config.Aggregation.CardinalityLimit = n
	config.Deduplication.Enabled = false
	r, err := newReceiver(receivertest.NewNopSettings(metadata.Type), config)
	require.NoError(tb, err)
	r.counters = newCounters(config)
	l, err := r.openLedger(tb.Context(), componenttest.NewNopHost())
	require.NoError(tb, err)
	for i := range n {
		count(tb, l, r.counters, queued(&webhook.Event{State: strconv.Itoa(i), Class: smtpstatus.ClassUnknown}))
	}
	return l, r.counters
}

// heap is the memory of what is still reachable.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func count(tb testing.TB, l *ledger.Ledger, c *counters, one *queuedEvent) {
	tb.Helper()
	attempt, _, err := l.Begin(tb.Context(), one.Event.Kind.String(), ledger.ID(one.Event.Identity))
	require.NoError(tb, err)
	entry := ledger.Entry{Attempt: attempt, Outcome: ledger.Accepted, Counts: c.counts(one.Event)}
	require.NoError(tb, l.Commit(tb.Context(), []ledger.Entry{entry}))
}

// typicalJSON is the same report as JSON, without its id.
const typicalJSON = `{"type":"failure","timestamp":"2026-11-21 10:14:58","time":1795256098,"recipient":"jan.jansen+test@voorbeeld.nl","action":"failed",` +
	`"state":"rcptto","code":550,"extended":"5.1.1","description":"550 5.1.1 <jan.jansen+test@voorbeeld.nl>: Recipient address rejected: User unknown",` +
	`"tags":["nieuwsbrief","week 47"],"id":`

// BenchmarkHandler takes a request from its headers to its answer, without the network: through all of confighttp, with self-telemetry as a collector has
// it by default. The floor is a server that does no more than read the body.
func BenchmarkHandler(b *testing.B) {
	for _, bc := range requestCases {
		b.Run(bc.name, func(b *testing.B) {
			send := bc.start(b)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				send(n)
				n++
			}
		})
	}
}

// requestCases are whole requests, the n-th of which is sent by what start returns.
var requestCases = []struct {
	name  string
	start func(tb testing.TB) (send func(n int))
}{
	{"floor", func(tb testing.TB) func(int) {
		tb.Helper()
		config := defaultConfig().HTTP
		server, err := config.ToServer(tb.Context(), nil, telemetryByDefault(), http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if _, err := io.Copy(io.Discard, request.Body); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}))
		require.NoError(tb, err)
		return requester(tb, server.Handler, "application/x-www-form-urlencoded", newFormBody)
	}},
	{"form", func(tb testing.TB) func(int) {
		tb.Helper()
		return requester(tb, startHandler(tb), "application/x-www-form-urlencoded", newFormBody)
	}},
	{"JSON", func(tb testing.TB) func(int) {
		tb.Helper()
		return requester(tb, startHandler(tb), "application/json", newJSONBody)
	}},
	{"repeat", func(tb testing.TB) func(int) {
		tb.Helper()
		send := requester(tb, startHandler(tb), "application/x-www-form-urlencoded", newFormBody)
		return func(int) { send(0) }
	}},
}

func newFormBody(to []byte, n int) []byte {
	return append(strconv.AppendInt(append(to, "id="...), int64(n), 10), typical[len("id=msg-0001"):]...)
}

func newJSONBody(to []byte, n int) []byte {
	return append(strconv.AppendInt(append(to, typicalJSON...), int64(n), 10), '}')
}

// telemetryByDefault measures as a collector does by default, which traces nothing and leaves out the metrics of otelhttp.
func telemetryByDefault() component.TelemetrySettings {
	settings := componenttest.NewNopTelemetrySettings()
	settings.MeterProvider = sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(sdkmetric.NewManualReader()),
		sdkmetric.WithView(sdkmetric.NewView(
			sdkmetric.Instrument{Name: "http.server.*"},
			sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}},
		)),
	)
	return settings
}

// startHandler starts a receiver and returns what answers its requests.
func startHandler(tb testing.TB) http.Handler {
	tb.Helper()
	config := defaultConfig()
	config.HTTP.NetAddr.Endpoint = "localhost:0"
	factory := NewFactory()
	settings := receivertest.NewNopSettings(metadata.Type)
	settings.TelemetrySettings = telemetryByDefault()
	r, err := factory.CreateLogs(tb.Context(), settings, config, consumertest.NewNop())
	require.NoError(tb, err)
	_, err = factory.CreateMetrics(tb.Context(), settings, config, consumertest.NewNop())
	require.NoError(tb, err)
	require.NoError(tb, r.Start(tb.Context(), componenttest.NewNopHost()))
	tb.Cleanup(func() { require.NoError(tb, r.Shutdown(context.WithoutCancel(tb.Context()))) })
	return r.(*smtpFailureReceiver).server.Handler
}

// requester returns what gives a handler its n-th request, and costs little beside that.
func requester(tb testing.TB, handler http.Handler, contentType string, newBody func(to []byte, n int) []byte) func(n int) {
	tb.Helper()
	var (
		buffer []byte
		body   = new(bytes.Reader)
		answer = &discarded{header: make(http.Header)}
	)
	template := httptest.NewRequest(http.MethodPost, defaultPath, http.NoBody)
	template.Header.Set("Content-Type", contentType)
	template.Header.Set("User-Agent", "Copernica")
	return func(n int) {
		buffer = newBody(buffer[:0], n)
		body.Reset(buffer)
		clear(answer.header)
		answer.status = http.StatusOK
		request := template.WithContext(tb.Context())
		request.Body, request.ContentLength = io.NopCloser(body), int64(len(buffer))
		handler.ServeHTTP(answer, request)
		if answer.status != http.StatusOK {
			tb.Fatal(answer.status)
		}
	}
}

// discarded is an answer of which only the status is kept.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }

// BenchmarkRequests sends reports over 64 connections to a receiver that keeps its ledger in memory, and to one that keeps it in file_storage
// with a sync of each write. What it reports is the time for each report, with the client's share in it.
func BenchmarkRequests(b *testing.B) {
	const connections = 64
	for _, kept := range []string{"memory", "storage"} {
		b.Run(kept, func(b *testing.B) {
			config := defaultConfig()
			config.HTTP.NetAddr.Endpoint = "localhost:0"
			host := componenttest.NewNopHost()
			if kept == "storage" {
				config.Storage = &storageID
				host = newStorageHost(b, b.TempDir())
			}
			factory := NewFactory()
			settings := receivertest.NewNopSettings(metadata.Type)
			r, err := factory.CreateLogs(b.Context(), settings, config, consumertest.NewNop())
			require.NoError(b, err)
			_, err = factory.CreateMetrics(b.Context(), settings, config, consumertest.NewNop())
			require.NoError(b, err)
			require.NoError(b, r.Start(b.Context(), host))
			defer func() { require.NoError(b, r.Shutdown(context.WithoutCancel(b.Context()))) }()

			url := "http://" + r.(*smtpFailureReceiver).listener.Addr().String() + defaultPath
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
			defer client.CloseIdleConnections()
			var id atomic.Int64
			b.SetParallelism(connections / runtime.GOMAXPROCS(0))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					form := typical + "&id=" + strconv.FormatInt(id.Add(1), 10)
					answer, err := do(client, newForm(context.Background(), url, form))
					if err != nil || answer.status != http.StatusOK {
						b.Error(answer.status, err)
						return
					}
				}
			})
		})
	}
}
