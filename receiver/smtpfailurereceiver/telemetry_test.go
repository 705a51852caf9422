package smtpfailurereceiver

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadatatest"
)

var ofTheReceiver = attribute.String(attributeReceiver, "smtp_failure")

var ignoreTime = []metricdatatest.Option{metricdatatest.IgnoreTimestamp(), metricdatatest.IgnoreExemplars()}

func dataPoints(value int64) []metricdata.DataPoint[int64] {
	return []metricdata.DataPoint[int64]{{Attributes: attribute.NewSet(ofTheReceiver), Value: value}}
}

func seriesPoints(byMetric map[string]int64) []metricdata.DataPoint[int64] {
	var points []metricdata.DataPoint[int64]
	for metric, value := range byMetric {
		points = append(points, metricdata.DataPoint[int64]{
			Attributes: attribute.NewSet(attribute.String(attributeMetric, metric), ofTheReceiver), Value: value,
		})
	}
	return points
}

func TestEveryRequestIsTimedAndCountedOnce(t *testing.T) {
	run := startRun(t, defaultConfig(), asItIs)
	for _, form := range []string{"id=1", "id=2&type=bounce", "", "id=3"} {
		run.post(t, form)
	}
	duration, err := run.telemetry.GetMetric("otelcol_smtp_failure_request_duration")
	require.NoError(t, err)
	timed := map[string]uint64{}
	for _, point := range duration.Data.(metricdata.Histogram[float64]).DataPoints {
		outcome, _ := point.Attributes.Value(attributeOutcome)
		timed[outcome.AsString()] = point.Count
	}
	assert.Equal(t, map[string]uint64{"accepted": 2, "other_webhook": 1, "invalid": 1}, timed)
	for outcome, status := range map[string]int{"accepted": 200, "other_webhook": 400, "invalid": 400} {
		assert.Equal(t, strconv.FormatUint(timed[outcome], 10), run.count(t, requests(outcome, status)))
	}
	metadatatest.AssertEqualSMTPFailureReceivedBytes(t, run.telemetry, dataPoints(24), ignoreTime...)
	metadatatest.AssertEqualSMTPFailureSeries(t, run.telemetry, seriesPoints(map[string]int64{failuresMetric: 1, byTagMetric: 0}), ignoreTime...)
}

// Prometheus' increase() sees the first event of a kind only if there was a zero before.
func TestCountersBeginAtZero(t *testing.T) {
	for _, tc := range []struct {
		name, yaml string
		stored     bool
		want       map[string]int // series by counter
	}{
		{"plain", "", false, map[string]int{"requests": len(responses) - 2, "anomalies": 5, "causes": 5, "duplicates": 1, "received_bytes": 1, "overflows": 2, "flushes": 2, "evictions": 1}},
		{"signed and stored", "signature: {accounts: [environment-1234]}", true, map[string]int{
			"requests": len(responses) - 2, "anomalies": 5, "causes": 5, "duplicates": 1, "received_bytes": 1, "overflows": 2, "flushes": 2, "evictions": 1,
			"store_writes": 2, "refusals": len(signature.Reasons), "key_lookups": len(signature.Lookups),
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config, host := configOf(t, tc.yaml), componenttest.NewNopHost()
			config.Aggregation.Interval = time.Hour
			if tc.stored {
				config.Storage, host = &storageID, newStorageHost(t, t.TempDir())
			}
			run := startRunOn(t, host, config, asItIs)
			var collected metricdata.ResourceMetrics
			require.NoError(t, run.telemetry.Reader.Collect(t.Context(), &collected))
			got := map[string]int{}
			for _, scope := range collected.ScopeMetrics {
				for _, m := range scope.Metrics {
					name, own := strings.CutPrefix(m.Name, "otelcol_smtp_failure_")
					sum, ok := m.Data.(metricdata.Sum[int64])
					if !own || !ok {
						continue
					}
					got[name] = len(sum.DataPoints)
					for _, point := range sum.DataPoints {
						if name != "store_writes" {
							assert.Zero(t, point.Value, name)
						}
					}
				}
			}
			assert.Equal(t, tc.want, got)
		})
	}
}

// All receivers in a collector share its instruments, so each has to say which it is.
func TestReceiversAreToldApart(t *testing.T) {
	telemetry := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, telemetry.Shutdown(context.WithoutCancel(t.Context()))) })
	want := []metricdata.DataPoint[int64]{}
	for i, name := range []string{"orders", "news"} {
		settings := receiver.Settings{ID: component.NewIDWithName(metadata.Type, name), TelemetrySettings: telemetry.NewTelemetrySettings()}
		config := defaultConfig()
		config.HTTP.NetAddr.Endpoint = "localhost:0"
		logs, err := NewFactory().CreateLogs(t.Context(), settings, config, new(consumertest.LogsSink))
		require.NoError(t, err)
		require.NoError(t, logs.Start(t.Context(), componenttest.NewNopHost()))
		t.Cleanup(func() { require.NoError(t, logs.Shutdown(context.WithoutCancel(t.Context()))) })
		r := &run{receiver: logs.(*smtpFailureReceiver)}
		for n := range i + 1 {
			r.post(t, fmt.Sprintf("id=%d", n))
		}
		want = append(want, metricdata.DataPoint[int64]{
			Attributes: attribute.NewSet(attribute.String(attributeReceiver, "smtp_failure/"+name), attribute.String(attributeKind, "failure")), Value: int64(i + 1),
		})
	}
	metadatatest.AssertEqualSMTPFailureRemembered(t, telemetry, want, ignoreTime...)
}
