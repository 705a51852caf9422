package smtpfailurereceiver

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadatatest"
)

// ownMetrics returns the receiver's own metrics by name, without their prefix.
func (r *run) ownMetrics(t *testing.T) map[string]metricdata.Aggregation {
	t.Helper()
	var collected metricdata.ResourceMetrics
	require.NoError(t, r.telemetry.Reader.Collect(t.Context(), &collected))
	metrics := map[string]metricdata.Aggregation{}
	for _, scope := range collected.ScopeMetrics {
		for _, metric := range scope.Metrics {
			if name, own := strings.CutPrefix(metric.Name, "otelcol_smtp_failure_"); own {
				metrics[name] = metric.Data
			}
		}
	}
	return metrics
}

func TestRequestsAreTimed(t *testing.T) {
	run := startRun(t, defaultConfig())
	for _, form := range []string{"id=1", "id=2&type=bounce", "", "id=3"} {
		run.post(t, form)
	}
	timed := map[string]uint64{}
	for _, point := range run.ownMetrics(t)["request_duration"].(metricdata.Histogram[float64]).DataPoints {
		outcome, _ := point.Attributes.Value(attributeOutcome)
		timed[outcome.AsString()] = point.Count
	}
	assert.Equal(t, map[string]uint64{"accepted": 2, "other_webhook": 1, "invalid": 1}, timed)
}

// Prometheus' increase() sees the first event of a kind only if there was a zero before.
func TestOwnCountersBeginAtZero(t *testing.T) {
	for _, tc := range []struct {
		name, yaml string
		stored     bool
		want       map[string]int // series by counter, beside those of every configuration
	}{
		{"plain", "", false, nil},
		{"signed and stored", "signature: {accounts: [environment-1234]}", true, map[string]int{
			"store_writes": 2, "refusals": len(signature.Reasons), "key_lookups": len(signature.Lookups),
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config, host := configOf(t, tc.yaml), componenttest.NewNopHost()
			config.Aggregation.Interval = time.Hour
			if tc.stored {
				config.Storage, host = &storageID, newStorageHost(t, t.TempDir())
			}
			want := map[string]int{
				"requests": len(responses) - 2, "anomalies": 5, "causes": 5, "duplicates": 1, "received_bytes": 1,
				"overflows": 2, "flushes": 2, "evictions": 1,
			}
			maps.Copy(want, tc.want)
			got := map[string]int{}
			for name, data := range startRunOn(t, host, config).ownMetrics(t) {
				sum, ok := data.(metricdata.Sum[int64])
				if !ok {
					continue
				}
				got[name] = len(sum.DataPoints)
				for _, point := range sum.DataPoints {
					assert.True(t, point.Value == 0 || name == "store_writes", name)
				}
			}
			assert.Equal(t, want, got)
		})
	}
}

// All receivers in a collector share its instruments.
func TestReceiversHaveAnAttributeOfTheirOwn(t *testing.T) {
	telemetry := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, telemetry.Shutdown(context.WithoutCancel(t.Context()))) })
	want := []metricdata.DataPoint[int64]{}
	for i, name := range []string{"orders", "news"} {
		settings := receiver.Settings{
			ID: component.NewIDWithName(metadata.Type, name), TelemetrySettings: telemetry.NewTelemetrySettings(),
		}
		config := defaultConfig()
		config.HTTP.NetAddr.Endpoint = "localhost:0"
		logs, err := NewFactory().CreateLogs(t.Context(), settings, config, new(consumertest.LogsSink))
		require.NoError(t, err)
		require.NoError(t, logs.Start(t.Context(), componenttest.NewNopHost()))
		t.Cleanup(func() { require.NoError(t, logs.Shutdown(context.WithoutCancel(t.Context()))) })
		r := &run{receiver: logs.(*smtpFailureReceiver)}
		for _, form := range []string{"id=1", "id=2"}[:i+1] {
			r.post(t, form)
		}
		want = append(want, metricdata.DataPoint[int64]{Value: int64(i + 1), Attributes: attribute.NewSet(
			attribute.String(attributeReceiver, "smtp_failure/"+name), attribute.String(attributeKind, "failure"),
		)})
	}
	metadatatest.AssertEqualSMTPFailureRemembered(t, telemetry, want, metricdatatest.IgnoreTimestamp())
}

// Every request has one span, whoever responds, and what the collector does for it is below that
// span.
func TestSpans(t *testing.T) {
	const panics = "panic"
	config := configOf(t, "ownership_files: [{name: a.txt, content: a}]")
	signed := configOf(t, "signature: {accounts: [environment-1234]}")
	for _, tc := range []struct {
		config       *Config
		method, path string
		status       int
		outcome      string
		below        []string // names of the spans that are below
	}{
		{config, http.MethodPost, defaultPath, 200, "accepted", []string{"POST", "receiver/smtp_failure/LogsReceived"}},
		{config, http.MethodPost, defaultPath, 500, panics, []string{"POST", "receiver/smtp_failure/LogsReceived"}},
		{config, http.MethodGet, "/a.txt", 200, "ownership_file", nil},
		{config, http.MethodPost, "/x", 404, "not_found", []string{"POST"}},
		{signed, http.MethodPost, defaultPath, 401, "unauthorized", nil},
	} {
		t.Run(tc.outcome, func(t *testing.T) {
			run := startRun(t, tc.config, func(r *smtpFailureReceiver) {
				if tc.outcome == panics {
					r.logs = logsFunc(func(context.Context, plog.Logs) error { panic("in a processor") })
				}
			})
			request := newForm(t.Context(), "http://"+run.receiver.listener.Addr().String()+tc.path, "id=1")
			request.Method = tc.method
			response, err := do(http.DefaultClient, request)
			require.NoError(t, err)
			require.Equal(t, tc.status, response.status)

			// The response may arrive before the span ends.
			require.NoError(t, run.receiver.Shutdown(t.Context()))
			spans := run.telemetry.SpanRecorder.Ended()
			i := slices.IndexFunc(spans, func(s sdktrace.ReadOnlySpan) bool {
				return s.Name() == "receiver/smtp_failure/Request"
			})
			require.GreaterOrEqual(t, i, 0)
			assert.ElementsMatch(t, []attribute.KeyValue{
				attribute.String("outcome", tc.outcome), attribute.Int("http.response.status_code", tc.status),
			}, spans[i].Attributes())
			assert.Equal(t, tc.status >= 500, spans[i].Status().Code == codes.Error)
			assert.Equal(t, tc.below, below(spans, spans[i]))
		})
	}
}

// below returns the names of the spans below one, from the outermost inwards. Each has at most one.
func below(all []sdktrace.ReadOnlySpan, span sdktrace.ReadOnlySpan) []string {
	for _, other := range all {
		if other.Parent().SpanID() == span.SpanContext().SpanID() {
			return append([]string{other.Name()}, below(all, other)...)
		}
	}
	return nil
}

// otelhttp is used if anything that it records is: a trace, even one that is not sampled, or a
// metric.
func TestOtelHTTPIsLeftOutIfUnused(t *testing.T) {
	all := []string{"http.server.*"}
	for _, tc := range []struct {
		name    string
		sampler sdktrace.Sampler // nil: nothing is traced
		dropped []string         // the metrics of otelhttp that a view drops
		want    bool
	}{
		{"metrics dropped, as by default", nil, all, false},
		{"each metric dropped", nil, otelhttpMetrics[:], false},
		{"metrics kept, as at the level detailed", nil, nil, true},
		{"only the first metric kept", nil, otelhttpMetrics[1:], true},
		{"only the last metric kept", nil, otelhttpMetrics[:2], true},
		{"traces", sdktrace.AlwaysSample(), all, true},
		{"traces that are not sampled", sdktrace.NeverSample(), all, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reader := sdkmetric.NewManualReader()
			options := []sdkmetric.Option{sdkmetric.WithReader(reader)}
			for _, name := range tc.dropped {
				options = append(options, sdkmetric.WithView(sdkmetric.NewView(
					sdkmetric.Instrument{Name: name, Scope: instrumentation.Scope{Name: otelhttpScope}},
					sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}},
				)))
			}
			settings := receivertest.NewNopSettings(metadata.Type).TelemetrySettings
			settings.MeterProvider = sdkmetric.NewMeterProvider(options...)
			if tc.sampler != nil {
				settings.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSampler(tc.sampler))
			}
			used := make(chan bool, 1)
			run := startWithMiddleware(t, defaultConfig(), func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					_, found := otelhttp.LabelerFromContext(req.Context())
					used <- found
					next.ServeHTTP(w, req)
				})
			}, func(r *smtpFailureReceiver) {
				r.settings.TelemetrySettings, r.tracer = settings, metadata.Tracer(settings)
			})
			require.Equal(t, http.StatusOK, run.post(t, "id=1").status)
			assert.Equal(t, tc.want, <-used)

			// The instruments that only ask whether they are enabled record nothing.
			var collected metricdata.ResourceMetrics
			require.NoError(t, reader.Collect(t.Context(), &collected))
			for _, scope := range collected.ScopeMetrics {
				if scope.Scope.Name == otelhttpScope {
					assert.NotEmpty(t, scope.Scope.Version, "%v", scope.Metrics)
				}
			}
		})
	}
}
