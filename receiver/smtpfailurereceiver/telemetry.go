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
	// receiver tells one receiver from another: all in a collector share the instruments.
	receiver attribute.KeyValue
	// alone is for what has no other attribute.
	alone metric.MeasurementOption
	// What is needed for each request is made once: the options of the bytes received, of each response and of what causes are
	// decided by.
	bytes     []metric.AddOption
	responses map[*response]responseOptions
	causes    map[smtpstatus.DecidedBy][]metric.AddOption
}

// responseOptions are the attributes of a response with its usual status.
type responseOptions struct {
	request  []metric.AddOption
	duration []metric.RecordOption
}

func newSelfTelemetry(id component.ID, settings component.TelemetrySettings) (*selfTelemetry, error) {
	builder, err := metadata.NewTelemetryBuilder(settings)
	if err != nil {
		return nil, err
	}
	t := &selfTelemetry{
		builder:   builder,
		receiver:  attribute.String(attributeReceiver, id.String()),
		responses: make(map[*response]responseOptions, len(responses)),
		causes:    make(map[smtpstatus.DecidedBy][]metric.AddOption),
	}
	t.alone = t.with()
	t.bytes = []metric.AddOption{t.alone}
	for _, a := range responses {
		t.responses[a] = responseOptions{[]metric.AddOption{t.withResponse(a, a.status)}, []metric.RecordOption{t.withOutcome(a.outcome)}}
	}
	for _, by := range []smtpstatus.DecidedBy{
		smtpstatus.ByPhrase, smtpstatus.ByStatus, smtpstatus.ByCode, smtpstatus.ByState, smtpstatus.ByNone,
	} {
		t.causes[by] = []metric.AddOption{t.with(attribute.String(attributeDecidedBy, string(by)))}
	}
	return t, nil
}

// with returns the attributes of a measurement, beside the receiver.
func (t *selfTelemetry) with(attributes ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(attributes, t.receiver)...))
}

func (t *selfTelemetry) withResponse(a *response, status int) metric.MeasurementOption {
	return t.with(attribute.String(attributeOutcome, a.outcome), attribute.Int(attributeHTTPStatus, status))
}

func (t *selfTelemetry) withOutcome(outcome string) metric.MeasurementOption {
	return t.with(attribute.String(attributeOutcome, outcome))
}

func (t *selfTelemetry) withReason(reason string) metric.MeasurementOption {
	return t.with(attribute.String(attributeReason, reason))
}

func (t *selfTelemetry) withField(field string) metric.MeasurementOption {
	return t.with(attribute.String(attributeField, field))
}

func (t *selfTelemetry) withKind(kind webhook.Kind) metric.MeasurementOption {
	return t.with(attribute.String(attributeKind, kind.String()))
}

func (t *selfTelemetry) withMetric(name string) metric.MeasurementOption {
	return t.with(attribute.String(attributeMetric, name))
}

// begin sets the counters of all that may happen to zero: of one that appears with its first event, Prometheus' increase() does not see that event.
func (t *selfTelemetry) begin(config *Config, counters *counters) {
	ctx := context.Background()
	for _, a := range responses {
		if a.status != 0 {
			t.builder.SMTPFailureRequests.Add(ctx, 0, t.responses[a].request...)
		}
	}
	t.received(ctx, 0)
	t.builder.SMTPFailureDuplicates.Add(ctx, 0, t.alone)
	for _, options := range t.causes {
		t.builder.SMTPFailureCauses.Add(ctx, 0, options...)
	}
	for _, field := range webhook.AnomalyFields {
		t.builder.SMTPFailureAnomalies.Add(ctx, 0, t.withField(field))
	}
	if len(counters.instruments) > 0 {
		t.builder.SMTPFailureFlushes.Add(ctx, 0, t.withOutcome(outcomeAccepted))
		t.builder.SMTPFailureFlushes.Add(ctx, 0, t.withOutcome(outcomeRefused))
	}
	if config.Storage != nil {
		t.builder.SMTPFailureStoreWrites.Add(ctx, 0, t.withOutcome(outcomeOK))
		t.builder.SMTPFailureStoreWrites.Add(ctx, 0, t.withOutcome(outcomeFailed))
	}
	if config.Signature.HasValue() {
		for _, reason := range signature.Reasons {
			t.builder.SMTPFailureRefusals.Add(ctx, 0, t.withReason(reason))
		}
		for _, outcome := range signature.Lookups {
			t.builder.SMTPFailureKeyLookups.Add(ctx, 0, t.withOutcome(outcome))
		}
	}
}

func (t *selfTelemetry) responded(ctx context.Context, a *response, status int, took time.Duration) {
	options := t.responses[a]
	if status != a.status {
		options.request = []metric.AddOption{t.withResponse(a, status)}
	}
	t.builder.SMTPFailureRequests.Add(ctx, 1, options.request...)
	t.builder.SMTPFailureRequestDuration.Record(ctx, took.Seconds(), options.duration...)
}

func (t *selfTelemetry) received(ctx context.Context, bytes int64) {
	t.builder.SMTPFailureReceivedBytes.Add(ctx, bytes, t.bytes...)
}

func (t *selfTelemetry) anomaly(ctx context.Context, field string) {
	t.builder.SMTPFailureAnomalies.Add(ctx, 1, t.withField(field))
}

func (t *selfTelemetry) caused(ctx context.Context, by smtpstatus.DecidedBy) {
	if options, failed := t.causes[by]; failed { // a delivery has no cause
		t.builder.SMTPFailureCauses.Add(ctx, 1, options...)
	}
}

func (t *selfTelemetry) refused(ctx context.Context, reason string) {
	t.builder.SMTPFailureRefusals.Add(ctx, 1, t.withReason(reason))
}

func (t *selfTelemetry) lookedUp(outcome string) {
	t.builder.SMTPFailureKeyLookups.Add(context.Background(), 1, t.withOutcome(outcome))
}

func (t *selfTelemetry) duplicate(ctx context.Context) {
	t.builder.SMTPFailureDuplicates.Add(ctx, 1, t.alone)
}

func (t *selfTelemetry) flushed(ctx context.Context, err error) {
	t.builder.SMTPFailureFlushes.Add(ctx, 1, t.withOutcome(either(err, outcomeAccepted, outcomeRefused)))
}

func (t *selfTelemetry) stored(err error) {
	t.builder.SMTPFailureStoreWrites.Add(context.Background(), 1, t.withOutcome(either(err, outcomeOK, outcomeFailed)))
}

func either(err error, good, bad string) string {
	if err != nil {
		return bad
	}
	return good
}

// consumed records how many reports shared a call of the logs pipelines.
func (t *selfTelemetry) consumed(reports int) {
	t.builder.SMTPFailureBatchSize.Record(context.Background(), int64(reports), t.alone)
}

// observe reports what is held, of reports those of the kinds, until the builder is shut down.
func (t *selfTelemetry) observe(l *ledger.Ledger, kinds []webhook.Kind) error {
	return errors.Join(
		t.builder.RegisterSMTPFailureSeriesCallback(func(_ context.Context, o metric.Int64Observer) error {
			for _, m := range l.Stats().Metrics {
				o.Observe(int64(m.Series), t.withMetric(m.Name))
			}
			return nil
		}),
		t.builder.RegisterSMTPFailureOverflowsCallback(func(_ context.Context, o metric.Int64Observer) error {
			for _, m := range l.Stats().Metrics {
				o.Observe(m.Overflowed, t.withMetric(m.Name))
			}
			return nil
		}),
		t.builder.RegisterSMTPFailureRememberedCallback(func(_ context.Context, o metric.Int64Observer) error {
			stats := l.Stats()
			for _, kind := range kinds {
				o.Observe(int64(stats.Kinds[kind.String()].Remembered), t.withKind(kind))
			}
			return nil
		}),
		t.builder.RegisterSMTPFailureEvictionsCallback(func(_ context.Context, o metric.Int64Observer) error {
			stats := l.Stats()
			for _, kind := range kinds {
				o.Observe(stats.Kinds[kind.String()].Evicted, t.withKind(kind))
			}
			return nil
		}),
	)
}

// otelhttpScope is the name under which otelhttp makes its instruments.
const otelhttpScope = "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

// otelhttpMetrics are what otelhttp measures of a request (OpenTelemetry semantic conventions, HTTP metrics).
var otelhttpMetrics = [...]string{"http.server.request.duration", "http.server.request.body.size", "http.server.response.body.size"}

// instrumentIfSeen has confighttp leave out otelhttp where nobody would see what it tells: nothing is traced, and its metrics are dropped, as a
// collector does unless it is configured otherwise. It takes half as long as all that is done for a report.
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
