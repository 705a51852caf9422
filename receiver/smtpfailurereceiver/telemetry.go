package smtpfailurereceiver

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/confighttp/xconfighttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// Attributes of the receiver's own telemetry.
const (
	attributeOutcome    = "outcome"
	attributeHTTPStatus = "http.response.status_code"
	attributeField      = "field"
	attributeDecidedBy  = "decided_by"
	attributeKind       = "kind"
	attributeMetric     = "metric"
	attributeReason     = "reason"
	attributeReceiver   = "receiver"

	outcomeAccepted = "accepted"
	outcomeRefused  = "refused"
	outcomeOK       = "ok"
	outcomeFailed   = "failed"
)

// selfTelemetry is what the receiver says of itself. It never holds a payload or an address.
type selfTelemetry struct {
	builder *metadata.TelemetryBuilder
	// receiver identifies the receiver, since all in a collector share the instruments.
	receiver attribute.KeyValue

	// The attributes of what is measured for each request are made once, which saves 3 % of a call.
	alone     metric.MeasurementOption               // only the receiver
	requests  map[*response]metric.MeasurementOption // with the usual status of the response
	durations map[*response]metric.MeasurementOption // of responses
	causes    map[smtpstatus.DecidedBy]metric.MeasurementOption
}

func newSelfTelemetry(id component.ID, settings component.TelemetrySettings) (*selfTelemetry, error) {
	builder, err := metadata.NewTelemetryBuilder(settings)
	if err != nil {
		return nil, err
	}
	t := &selfTelemetry{
		builder:   builder,
		receiver:  attribute.String(attributeReceiver, id.String()),
		requests:  make(map[*response]metric.MeasurementOption),
		durations: make(map[*response]metric.MeasurementOption),
		causes:    make(map[smtpstatus.DecidedBy]metric.MeasurementOption),
	}
	t.alone = t.with()
	for _, resp := range responses {
		t.requests[resp] = t.withResponse(resp, resp.status)
		t.durations[resp] = t.withText(attributeOutcome, resp.outcome)
	}
	for _, by := range []smtpstatus.DecidedBy{
		smtpstatus.ByPhrase, smtpstatus.ByStatus, smtpstatus.ByCode, smtpstatus.ByState, smtpstatus.ByNone,
	} {
		t.causes[by] = t.withText(attributeDecidedBy, string(by))
	}
	return t, nil
}

// with returns the attributes of a measurement, and the receiver.
func (t *selfTelemetry) with(attributes ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(attributes, t.receiver)...))
}

func (t *selfTelemetry) withText(name, value string) metric.MeasurementOption {
	return t.with(attribute.String(name, value))
}

func (t *selfTelemetry) withResponse(resp *response, status int) metric.MeasurementOption {
	return t.with(attribute.String(attributeOutcome, resp.outcome), attribute.Int(attributeHTTPStatus, status))
}

// begin sets the counters of all that may happen to zero: where a counter appears with its first
// event, Prometheus' increase() does not see that event.
func (t *selfTelemetry) begin(config *Config, counters *counters) {
	ctx := context.Background()
	for _, resp := range responses {
		if resp.status != 0 {
			t.builder.SMTPFailureRequests.Add(ctx, 0, t.requests[resp])
		}
	}
	t.builder.SMTPFailureReceivedBytes.Add(ctx, 0, t.alone)
	t.builder.SMTPFailureDuplicates.Add(ctx, 0, t.alone)
	for _, options := range t.causes {
		t.builder.SMTPFailureCauses.Add(ctx, 0, options)
	}
	for _, field := range webhook.AnomalyFields {
		t.builder.SMTPFailureAnomalies.Add(ctx, 0, t.withText(attributeField, field))
	}
	if len(counters.instruments) > 0 {
		t.builder.SMTPFailureFlushes.Add(ctx, 0, t.withText(attributeOutcome, outcomeAccepted))
		t.builder.SMTPFailureFlushes.Add(ctx, 0, t.withText(attributeOutcome, outcomeRefused))
	}
	if config.Storage != nil {
		t.builder.SMTPFailureStoreWrites.Add(ctx, 0, t.withText(attributeOutcome, outcomeOK))
		t.builder.SMTPFailureStoreWrites.Add(ctx, 0, t.withText(attributeOutcome, outcomeFailed))
	}
	if config.Signature.HasValue() {
		for _, reason := range signature.Reasons {
			t.builder.SMTPFailureRefusals.Add(ctx, 0, t.withText(attributeReason, reason))
		}
		for _, outcome := range signature.Lookups {
			t.builder.SMTPFailureKeyLookups.Add(ctx, 0, t.withText(attributeOutcome, outcome))
		}
	}
}

func (t *selfTelemetry) responded(ctx context.Context, resp *response, status int, took time.Duration) {
	request := t.requests[resp]
	if status != resp.status {
		request = t.withResponse(resp, status)
	}
	t.builder.SMTPFailureRequests.Add(ctx, 1, request)
	t.builder.SMTPFailureRequestDuration.Record(ctx, took.Seconds(), t.durations[resp])
}

func (t *selfTelemetry) readBody(ctx context.Context, bytes int) {
	t.builder.SMTPFailureReceivedBytes.Add(ctx, int64(bytes), t.alone)
}

func (t *selfTelemetry) anomaly(ctx context.Context, field string) {
	t.builder.SMTPFailureAnomalies.Add(ctx, 1, t.withText(attributeField, field))
}

func (t *selfTelemetry) caused(ctx context.Context, by smtpstatus.DecidedBy) {
	if options, failed := t.causes[by]; failed { // a delivery has no cause
		t.builder.SMTPFailureCauses.Add(ctx, 1, options)
	}
}

func (t *selfTelemetry) refused(ctx context.Context, reason string) {
	t.builder.SMTPFailureRefusals.Add(ctx, 1, t.withText(attributeReason, reason))
}

func (t *selfTelemetry) lookedUp(outcome string) {
	t.builder.SMTPFailureKeyLookups.Add(context.Background(), 1, t.withText(attributeOutcome, outcome))
}

func (t *selfTelemetry) duplicate(ctx context.Context) {
	t.builder.SMTPFailureDuplicates.Add(ctx, 1, t.alone)
}

func (t *selfTelemetry) flushed(ctx context.Context, err error) {
	outcome := outcomeAccepted
	if err != nil {
		outcome = outcomeRefused
	}
	t.builder.SMTPFailureFlushes.Add(ctx, 1, t.withText(attributeOutcome, outcome))
}

func (t *selfTelemetry) stored(err error) {
	outcome := outcomeOK
	if err != nil {
		outcome = outcomeFailed
	}
	t.builder.SMTPFailureStoreWrites.Add(context.Background(), 1, t.withText(attributeOutcome, outcome))
}

// consumedLogs records how many reports shared a call of the logs pipelines.
func (t *selfTelemetry) consumedLogs(reports int) {
	t.builder.SMTPFailureBatchSize.Record(context.Background(), int64(reports), t.alone)
}

// observe reports what the ledger holds, of reports those of the kinds, until the builder is shut
// down.
func (t *selfTelemetry) observe(l *ledger.Ledger, kinds []webhook.Kind) error {
	ofMetrics := func(figure func(ledger.MetricStats) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			for _, stats := range l.Stats().Metrics {
				o.Observe(figure(stats), t.withText(attributeMetric, stats.Name))
			}
			return nil
		}
	}
	ofKinds := func(figure func(ledger.KindStats) int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			stats := l.Stats().Kinds
			for _, kind := range kinds {
				o.Observe(figure(stats[kind.String()]), t.withText(attributeKind, kind.String()))
			}
			return nil
		}
	}
	series := ofMetrics(func(s ledger.MetricStats) int64 { return int64(s.Series) })
	overflows := ofMetrics(func(s ledger.MetricStats) int64 { return s.Overflowed })
	remembered := ofKinds(func(s ledger.KindStats) int64 { return int64(s.Remembered) })
	evictions := ofKinds(func(s ledger.KindStats) int64 { return s.Evicted })
	return errors.Join(
		t.builder.RegisterSMTPFailureSeriesCallback(series),
		t.builder.RegisterSMTPFailureOverflowsCallback(overflows),
		t.builder.RegisterSMTPFailureRememberedCallback(remembered),
		t.builder.RegisterSMTPFailureEvictionsCallback(evictions),
	)
}

// otelhttpScope is the name under which otelhttp makes its instruments.
const otelhttpScope = "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

// otelhttpMetrics are what otelhttp measures of a request (OpenTelemetry semantic conventions, HTTP
// metrics).
var otelhttpMetrics = [...]string{
	"http.server.request.duration", "http.server.request.body.size", "http.server.response.body.size",
}

// instrumentIfSeen has confighttp leave out otelhttp, which takes half as long as all that is done
// for a report, where nobody sees its telemetry: nothing is traced, and its metrics are dropped, as
// a collector does by default.
func instrumentIfSeen(provider metric.MeterProvider) (confighttp.ToServerOption, error) {
	meter := provider.Meter(otelhttpScope)
	measured := false
	for _, name := range otelhttpMetrics {
		// Nothing is ever recorded with it: it is there to be asked.
		probe, err := meter.Float64Histogram(name)
		if err != nil {
			return nil, err
		}
		measured = measured || probe.Enabled(context.Background())
	}
	return xconfighttp.WithOtelHTTPOptions(
		otelhttp.WithFilter(func(req *http.Request) bool {
			// The span is the one of wrap. A tracer that is off makes none with a context.
			return measured || trace.SpanContextFromContext(req.Context()).IsValid()
		}),
		// The caller's span is the parent of that span already.
		otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator()),
	), nil
}
