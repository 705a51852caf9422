package smtpfailurereceiver

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// typical is a report as PHP encodes it, and typicalJSON the same as JSON, both without an id.
const (
	typical = "type=failure&timestamp=2026-11-21+10%3A14%3A58&time=1795256098" +
		"&recipient=jan.jansen%2Btest%40voorbeeld.nl&action=failed&state=rcptto&code=550&extended=5.1.1" +
		"&description=550+5.1.1+%3Cjan.jansen%2Btest%40voorbeeld.nl%3E%3A+Recipient+address+rejected%3A+User+unknown" +
		"&tags%5B0%5D=nieuwsbrief&tags%5B1%5D=week+47&id="
	typicalJSON = `{"type":"failure","timestamp":"2026-11-21 10:14:58","time":1795256098,` +
		`"recipient":"jan.jansen+test@voorbeeld.nl","action":"failed","state":"rcptto","code":550,"extended":"5.1.1",` +
		`"description":"550 5.1.1 <jan.jansen+test@voorbeeld.nl>: Recipient address rejected: User unknown",` +
		`"tags":["nieuwsbrief","week 47"],"id":`
)

// TestAllocations bounds the allocations of each stage of a report. Unlike time they are the same
// on every machine. Where other modules allocate there is some room for newer versions of them.
func TestAllocations(t *testing.T) {
	if raceDetector || testing.CoverMode() != "" {
		t.Skip("the race detector and the counting of coverage allocate; scripts/test.sh runs this test without them")
	}
	batch := []*queuedEvent{typicalEvent(t)}
	resource := newResource(nil)

	for _, stage := range []struct {
		name    string
		ceiling float64
		run     func()
	}{
		{"decode a form", 14, decoding(t, new(webhook.Decoder).Form, typical+"1")},
		{"decode JSON", 36, decoding(t, new(webhook.Decoder).JSON, typicalJSON+"1}")},
		{"verify, bare RSA included", 36, verifying(t)},
		{"build a log record", 33, func() { newLogs(batch, resource, "test") }},
		{"count", 9, counting(t, 1000)},
		{"send 1,000 series", 14100, flushing(t, 1000)},
		{"a form from headers to response", 87, sending(t, "form")},
		{"JSON from headers to response", 110, sending(t, "JSON")},
		{"a repeat from headers to response", 35, sending(t, "repeat")},
	} {
		t.Run(stage.name, func(t *testing.T) {
			// Of many runs, because some allocate for later ones too.
			got := testing.AllocsPerRun(200, stage.run)
			t.Logf("%.0f allocations, at most %.0f", got, stage.ceiling)
			if got > stage.ceiling {
				t.Error("find what allocates with a benchmark and -memprofile, or raise the ceiling for a reason")
			}
		})
	}
}

// BenchmarkHandler measures a request from its headers to its response, without the network:
// through all of confighttp, with the collector's default self-telemetry. The floor only reads the
// body.
func BenchmarkHandler(b *testing.B) {
	for _, name := range []string{"floor", "form", "JSON", "repeat"} {
		b.Run(name, func(b *testing.B) {
			send := sending(b, name)
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
	}
}

// BenchmarkCount counts one report with two tags, and reports the memory of a series.
func BenchmarkCount(b *testing.B) {
	for _, series := range []int{1, 1000, 100_000} {
		b.Run(strconv.Itoa(series), func(b *testing.B) {
			before := heapInUse()
			count := counting(b, series)
			held := heapInUse() - before
			b.ReportAllocs()
			for b.Loop() {
				count()
			}
			b.ReportMetric(float64(held)/float64(series), "B/series")
		})
	}
}

// BenchmarkFlush makes the metrics of so many series.
func BenchmarkFlush(b *testing.B) {
	for _, series := range []int{1, 100, 10_000, 100_000} {
		b.Run(strconv.Itoa(series), func(b *testing.B) {
			flush := flushing(b, series)
			b.ReportAllocs()
			for b.Loop() {
				flush()
			}
		})
	}
}

func typicalEvent(tb testing.TB) *queuedEvent {
	tb.Helper()
	event, err := new(webhook.Decoder).Form(webhook.Call{Body: typical + "msg-0001", Arrived: arrivedAt})
	require.NoError(tb, err)
	return &queuedEvent{Event: event}
}

func decoding(tb testing.TB, decode func(webhook.Call) (*webhook.Event, error), body string) func() {
	tb.Helper()
	_, err := decode(webhook.Call{Body: body})
	require.NoError(tb, err)
	return func() { _, _ = decode(webhook.Call{Body: body}) }
}

func verifying(t *testing.T) func() {
	t.Helper()
	verifier := signature.NewVerifier(signature.Options{
		Accounts: []string{"environment-1234"}, MaxAge: time.Hour, Resolver: keyRecords(), Now: time.Now,
		Observe: func(string) {}, OnKnownKeys: func([]string) {},
	})
	t.Cleanup(verifier.Close)
	request := newForm(t.Context(), "http://hooks.example.com"+defaultPath, typical)
	request.RequestURI = defaultPath
	sign(request, typical, "environment-1234")
	check := func() error {
		request.Body = io.NopCloser(strings.NewReader(typical))
		call, err := verifier.Begin(request)
		if err != nil {
			return err
		}
		_, err = call.Finish(t.Context())
		return err
	}
	require.NoError(t, check())
	return func() { _ = check() }
}

// withSeries returns a receiver whose ledger, in memory, has so many series of
// email.delivery.failures.
func withSeries(tb testing.TB, n int) *smtpFailureReceiver {
	tb.Helper()
	config := defaultConfig()
	config.Aggregation.CardinalityLimit = n
	config.Deduplication.Enabled = false
	r, err := newReceiver(receivertest.NewNopSettings(metadata.Type), config)
	require.NoError(tb, err)
	r.counters = newCounters(config)
	r.ledger, err = r.openLedger(tb.Context(), componenttest.NewNopHost())
	require.NoError(tb, err)
	for i := range n {
		count(tb, r, &webhook.Event{State: strconv.Itoa(i), Class: smtpstatus.ClassUnknown})
	}
	return r
}

func count(tb testing.TB, r *smtpFailureReceiver, event *webhook.Event) {
	tb.Helper()
	attempt, _, err := r.ledger.Begin(tb.Context(), event.Kind.String(), ledger.ID(event.Identity))
	require.NoError(tb, err)
	entry := ledger.Entry{Attempt: attempt, Outcome: ledger.Accepted, Counts: r.counters.counts(event)}
	require.NoError(tb, r.ledger.Commit(tb.Context(), []ledger.Entry{entry}))
}

func counting(tb testing.TB, series int) func() {
	tb.Helper()
	r := withSeries(tb, series)
	event := typicalEvent(tb).Event
	return func() { count(tb, r, event) }
}

func flushing(tb testing.TB, series int) func() {
	tb.Helper()
	r := withSeries(tb, series)
	flush := func() {
		collection, err := r.ledger.Collect(tb.Context())
		require.NoError(tb, err)
		r.counters.newMetrics(collection, r.resource, "test")
		require.NoError(tb, r.ledger.Acknowledge(tb.Context(), collection.Number))
	}
	flush() // The first time all series are zero.
	return flush
}

// sending returns a function that sends a request of the name to a handler, without the network.
func sending(tb testing.TB, name string) func() {
	tb.Helper()
	var handler http.Handler
	if name == "floor" {
		config := defaultConfig().HTTP
		readBody := func(_ http.ResponseWriter, request *http.Request) { _, _ = io.Copy(io.Discard, request.Body) }
		server, err := config.ToServer(tb.Context(), nil, defaultTelemetry(), http.HandlerFunc(readBody))
		require.NoError(tb, err)
		handler = server.Handler
	} else {
		handler = startHandler(tb)
	}
	contentType, start, end := typeForm, typical, ""
	if name == "JSON" {
		contentType, start, end = typeJSON, typicalJSON, "}"
	}
	template := httptest.NewRequest(http.MethodPost, defaultPath, http.NoBody)
	template.Header.Set("Content-Type", contentType)
	response := &discarded{header: make(http.Header)}
	var body []byte
	reader := new(bytes.Reader)
	n := 0
	return func() {
		if name != "repeat" {
			n++
		}
		body = append(strconv.AppendInt(append(body[:0], start...), int64(n), 10), end...)
		reader.Reset(body)
		clear(response.header)
		response.status = http.StatusOK
		request := template.WithContext(tb.Context())
		request.Body, request.ContentLength = io.NopCloser(reader), int64(len(body))
		handler.ServeHTTP(response, request)
		if response.status != http.StatusOK {
			tb.Fatal(response.status)
		}
	}
}

// defaultTelemetry is that of a collector by default, which traces nothing and drops the metrics of
// otelhttp.
func defaultTelemetry() component.TelemetrySettings {
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

// startHandler starts a receiver and returns the handler of its server.
func startHandler(tb testing.TB) http.Handler {
	tb.Helper()
	config := defaultConfig()
	config.HTTP.NetAddr.Endpoint = "localhost:0"
	settings := receivertest.NewNopSettings(metadata.Type)
	settings.TelemetrySettings = defaultTelemetry()
	r, err := newReceiver(settings, config)
	require.NoError(tb, err)
	r.logs, r.metrics = consumertest.NewNop(), consumertest.NewNop()
	require.NoError(tb, r.Start(tb.Context(), componenttest.NewNopHost()))
	tb.Cleanup(func() { require.NoError(tb, r.Shutdown(context.WithoutCancel(tb.Context()))) })
	return r.server.Handler
}

// discarded is a response of which only the status is kept.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }
