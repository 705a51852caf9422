package smtpfailurereceiver

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/failure"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/ledger"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// Attributes of the receiver's own telemetry.
const (
	attributeOutcome         = "outcome"
	attributeHTTPStatus      = "http.response.status_code"
	attributeField           = "field"
	attributeMetric          = "metric"
	attributeReasonOfRefusal = "reason"
	attributeReceiver        = "receiver"

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
	// answered by status and by outcome, made once because they are needed for each request.
	requests, durations map[*answer]metric.MeasurementOption
}

func newSelfTelemetry(id component.ID, settings component.TelemetrySettings) (*selfTelemetry, error) {
	builder, err := metadata.NewTelemetryBuilder(settings)
	if err != nil {
		return nil, err
	}
	t := &selfTelemetry{
		builder:   builder,
		receiver:  attribute.String(attributeReceiver, id.String()),
		requests:  make(map[*answer]metric.MeasurementOption, len(answers)),
		durations: make(map[*answer]metric.MeasurementOption, len(answers)),
	}
	t.alone = t.with()
	for _, a := range answers {
		t.requests[a] = t.withAnswer(a, a.status)
		t.durations[a] = t.withOutcome(a.outcome)
	}
	return t, nil
}

// with returns the attributes of a measurement, beside the receiver.
func (t *selfTelemetry) with(attributes ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(attributes, t.receiver)...))
}

func (t *selfTelemetry) withAnswer(a *answer, status int) metric.MeasurementOption {
	return t.with(attribute.String(attributeOutcome, a.outcome), attribute.Int(attributeHTTPStatus, status))
}

func (t *selfTelemetry) withOutcome(outcome string) metric.MeasurementOption {
	return t.with(attribute.String(attributeOutcome, outcome))
}

func (t *selfTelemetry) withReason(reason string) metric.MeasurementOption {
	return t.with(attribute.String(attributeReasonOfRefusal, reason))
}

func (t *selfTelemetry) withField(field string) metric.MeasurementOption {
	return t.with(attribute.String(attributeField, field))
}

func (t *selfTelemetry) withMetric(name string) metric.MeasurementOption {
	return t.with(attribute.String(attributeMetric, name))
}

// begin sets the counters of all that may happen to zero: of one that appears with its first event, Prometheus' increase() does not see that event.
func (t *selfTelemetry) begin(config *Config, counters *counters) {
	ctx := context.Background()
	for _, a := range answers {
		if a.status != 0 {
			t.builder.SMTPFailureRequests.Add(ctx, 0, t.requests[a])
		}
	}
	t.received(ctx, 0)
	t.builder.SMTPFailureDuplicates.Add(ctx, 0, t.alone)
	for _, field := range failure.AnomalyFields {
		t.builder.SMTPFailureAnomalies.Add(ctx, 0, t.withField(field))
	}
	for i := range counters.metrics {
		t.builder.SMTPFailureOverflows.Add(ctx, 0, t.withMetric(counters.metrics[i].name))
	}
	if len(counters.metrics) > 0 {
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

func (t *selfTelemetry) answered(ctx context.Context, a *answer, status int, took time.Duration) {
	request := t.requests[a]
	if status != a.status {
		request = t.withAnswer(a, status)
	}
	t.builder.SMTPFailureRequests.Add(ctx, 1, request)
	t.builder.SMTPFailureRequestDuration.Record(ctx, took.Seconds(), t.durations[a])
}

func (t *selfTelemetry) received(ctx context.Context, bytes int64) {
	t.builder.SMTPFailureReceivedBytes.Add(ctx, bytes, t.alone)
}

func (t *selfTelemetry) anomaly(ctx context.Context, field string) {
	t.builder.SMTPFailureAnomalies.Add(ctx, 1, t.withField(field))
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

func (t *selfTelemetry) overflowed(ctx context.Context, c *counters, over ledger.Overflows) {
	for i, n := range over {
		if n > 0 {
			t.builder.SMTPFailureOverflows.Add(ctx, int64(n), t.withMetric(c.metrics[i].name))
		}
	}
}

// observe reports what is held until the builder is shut down.
func (t *selfTelemetry) observe(l *ledger.Ledger[labels], c *counters) error {
	return errors.Join(
		t.builder.RegisterSMTPFailureSeriesCallback(func(_ context.Context, o metric.Int64Observer) error {
			for _, m := range c.metrics {
				o.Observe(int64(m.sums.Len()), t.withMetric(m.name))
			}
			return nil
		}),
		t.builder.RegisterSMTPFailureRememberedCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(l.Remembered()), t.alone)
			return nil
		}),
		t.builder.RegisterSMTPFailureEvictionsCallback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(l.EvictedEarly(), t.alone)
			return nil
		}),
	)
}
