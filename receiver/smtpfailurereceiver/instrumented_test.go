package smtpfailurereceiver

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configmiddleware"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// otelhttp sees a request where anybody sees what it tells of it: a trace, even one that is not sampled, or any of its metrics.
func TestOtelHTTPIsLeftOutWhereNobodySeesIt(t *testing.T) {
	dropped := func(names ...string) []sdkmetric.Option {
		var options []sdkmetric.Option
		for _, name := range names {
			options = append(options, sdkmetric.WithView(sdkmetric.NewView(
				sdkmetric.Instrument{Name: name, Scope: instrumentation.Scope{Name: otelhttpScope}}, sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}},
			)))
		}
		return options
	}
	for _, tc := range []struct {
		name    string
		traces  []sdktrace.TracerProviderOption // nil: none are made
		dropped []string
		want    bool
	}{
		{"nothing is traced and its metrics are dropped, as by default", nil, []string{"http.server.*"}, false},
		{"nothing is traced and each of its metrics is dropped", nil, otelhttpMetrics[:], false},
		{"its metrics are kept, as at the level detailed", nil, nil, true},
		{"only the first of its metrics is kept", nil, otelhttpMetrics[1:], true},
		{"only the last of its metrics is kept", nil, otelhttpMetrics[:2], true},
		{"everything is traced", []sdktrace.TracerProviderOption{sdktrace.WithSampler(sdktrace.AlwaysSample())}, []string{"http.server.*"}, true},
		{"traces are made and not sampled", []sdktrace.TracerProviderOption{sdktrace.WithSampler(sdktrace.NeverSample())}, []string{"http.server.*"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reader := sdkmetric.NewManualReader()
			settings := receivertest.NewNopSettings(metadata.Type)
			settings.MeterProvider = sdkmetric.NewMeterProvider(append(dropped(tc.dropped...), sdkmetric.WithReader(reader))...)
			if tc.traces != nil {
				settings.TracerProvider = sdktrace.NewTracerProvider(tc.traces...)
			}
			seen := make(chan bool, 1)
			url := startWith(t, settings.TelemetrySettings, func(_ http.ResponseWriter, req *http.Request) {
				_, found := otelhttp.LabelerFromContext(req.Context())
				seen <- found
			})
			answer, err := do(http.DefaultClient, newForm(t.Context(), url, "id=1"))
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, answer.status)
			assert.Equal(t, tc.want, <-seen)

			// The instruments that are only there to be asked never show.
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

// startWith starts a receiver with that telemetry and a middleware, and returns the URL that it takes reports at.
func startWith(t *testing.T, telemetry component.TelemetrySettings, middleware func(http.ResponseWriter, *http.Request)) string {
	t.Helper()
	id := component.MustNewID("rewriting")
	config := defaultConfig()
	config.HTTP.NetAddr.Endpoint = "localhost:0"
	config.HTTP.Middlewares = []configmiddleware.Config{{ID: id}}
	settings := receivertest.NewNopSettings(metadata.Type)
	settings.TelemetrySettings = telemetry
	created, err := NewFactory().CreateLogs(t.Context(), settings, config, consumertest.NewNop())
	require.NoError(t, err)
	r := created.(*smtpFailureReceiver)
	host := &hostWith{extensions: map[component.ID]component.Component{id: rewriting{rewrite: middleware}}}
	require.NoError(t, r.Start(t.Context(), host))
	t.Cleanup(func() { require.NoError(t, r.Shutdown(context.WithoutCancel(t.Context()))) })
	return "http://" + r.listener.Addr().String() + defaultPath
}
