package smtpfailurereceiver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

var exhaustive = flag.Bool("exhaustive", false, "send as many reports as the documents tell of, which takes minutes")

// patience is how long a test waits for what has to come, so that one that hangs fails.
const patience = 20 * time.Second

func defaultConfig() *Config {
	return createDefaultConfig().(*Config)
}

// asItIs prepares nothing.
func asItIs(*smtpFailureReceiver) {}

func (r *run) url() string {
	return "http://" + r.receiver.listener.Addr().String() + defaultPath
}

// received is the answer to a request, without its text.
type received struct {
	status int
	header http.Header
}

// do sends a request and reads the whole answer, so that the connection can be used again.
func do(client *http.Client, request *http.Request) (received, error) {
	response, err := client.Do(request)
	if err != nil {
		return received{}, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return received{response.StatusCode, response.Header}, errors.Join(err, response.Body.Close())
}

func newForm(ctx context.Context, url, form string) *http.Request {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(form))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return request
}

// post sends a form.
func (r *run) post(t *testing.T, form string) received {
	t.Helper()
	answer, err := do(http.DefaultClient, newForm(t.Context(), r.url(), form))
	require.NoError(t, err)
	return answer
}

// totals adds up, by metric, what a backend ends with: the last value of each cumulative series and the sum of all deltas.
func totals(sink *consumertest.MetricsSink) map[string]int64 {
	series := map[string]int64{}
	sums := map[string]int64{}
	for _, metrics := range sink.AllMetrics() {
		all := metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
		for _, metric := range all.All() {
			for _, point := range metric.Sum().DataPoints().All() {
				key := metric.Name() + fmt.Sprint(point.Attributes().AsRaw())
				value := point.IntValue()
				if metric.Sum().AggregationTemporality() == pmetric.AggregationTemporalityDelta {
					value += series[key]
				}
				sums[metric.Name()] += value - series[key]
				series[key] = value
			}
		}
	}
	return sums
}

// count returns the value of a counter of the receiver's own.
func (r *run) count(t *testing.T, name string) string {
	t.Helper()
	for line := range strings.SplitSeq(r.selfTelemetry(t), "\n") {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return rest
		}
	}
	return "0"
}

func requests(outcome string, status int) string {
	return fmt.Sprintf("otelcol_smtp_failure_requests{http.response.status_code=%d,outcome=%s,receiver=smtp_failure}", status, outcome)
}

const (
	failuresMetric = "email.delivery.failures"
	byTagMetric    = "email.delivery.failures.by_tag"
)

// logsThat is a logs pipeline that does as told.
func logsThat(consume func(context.Context, plog.Logs) error) consumer.Logs {
	c, err := consumer.NewLogs(consume)
	if err != nil {
		panic(err)
	}
	return c
}

// blockingLogs is a logs pipeline that says when a record has arrived and keeps it until it is released.
func blockingLogs() (logs consumer.Logs, arrived, release chan struct{}) {
	arrived, release = make(chan struct{}), make(chan struct{})
	return logsThat(func(context.Context, plog.Logs) error {
		close(arrived)
		<-release
		return nil
	}), arrived, release
}

func metricsThat(consume func(context.Context, pmetric.Metrics) error) consumer.Metrics {
	c, err := consumer.NewMetrics(consume)
	if err != nil {
		panic(err)
	}
	return c
}

// hostWith is a collector with extensions that takes status reports.
type hostWith struct {
	extensions map[component.ID]component.Component
	status     chan *componentstatus.Event
}

func (h *hostWith) GetExtensions() map[component.ID]component.Component { return h.extensions }
func (h *hostWith) Report(event *componentstatus.Event)                 { h.status <- event }
