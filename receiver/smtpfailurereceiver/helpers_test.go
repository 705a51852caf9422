package smtpfailurereceiver

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configmiddleware"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

var exhaustive = flag.Bool("exhaustive", false, "send as many reports as the documents name, which takes minutes")

// testTimeout bounds the wait for what has to happen in a test.
const testTimeout = 20 * time.Second

func defaultConfig() *Config {
	return createDefaultConfig().(*Config)
}

// run is a receiver that was started for both signals.
type run struct {
	receiver  *smtpFailureReceiver
	logs      *consumertest.LogsSink
	metrics   *consumertest.MetricsSink
	telemetry *componenttest.Telemetry
}

// startRun creates a receiver for both signals, calls prepare, and starts it on a free port.
func startRun(t *testing.T, config *Config, prepare ...func(*smtpFailureReceiver)) *run {
	t.Helper()
	return startRunOn(t, componenttest.NewNopHost(), config, prepare...)
}

func startRunOn(t *testing.T, host component.Host, config *Config, prepare ...func(*smtpFailureReceiver)) *run {
	t.Helper()
	config.HTTP.NetAddr.Endpoint = "localhost:0"
	require.NoError(t, confmap.Validate(config))

	started := &run{
		logs:      new(consumertest.LogsSink),
		metrics:   new(consumertest.MetricsSink),
		telemetry: componenttest.NewTelemetry(),
	}
	t.Cleanup(func() { require.NoError(t, started.telemetry.Shutdown(context.WithoutCancel(t.Context()))) })
	settings := receiver.Settings{
		ID:                component.NewID(metadata.Type),
		TelemetrySettings: started.telemetry.NewTelemetrySettings(),
		BuildInfo:         component.BuildInfo{Version: "test"},
	}
	factory := NewFactory()
	logs, err := factory.CreateLogs(t.Context(), settings, config, started.logs)
	require.NoError(t, err)
	metrics, err := factory.CreateMetrics(t.Context(), settings, config, started.metrics)
	require.NoError(t, err)
	require.Same(t, logs, metrics, "one instance serves both signals")

	started.receiver = logs.(*smtpFailureReceiver)
	for _, p := range prepare {
		p(started.receiver)
	}
	require.NoError(t, logs.Start(t.Context(), host))
	require.NoError(t, metrics.Start(t.Context(), host))
	t.Cleanup(func() {
		// Shutdown waits for connections over which nothing was ever sent.
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, started.receiver.Shutdown(context.WithoutCancel(t.Context())))
	})
	return started
}

func (r *run) url() string {
	return "http://" + r.receiver.listener.Addr().String() + defaultPath
}

// dial opens a connection and sends a text.
func dial(t *testing.T, address net.Addr, text string) net.Conn {
	t.Helper()
	connection, err := net.Dial(address.Network(), address.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	require.NoError(t, connection.SetDeadline(time.Now().Add(testTimeout)))
	_, err = io.WriteString(connection, text)
	require.NoError(t, err)
	return connection
}

// statusFrom reads a response and returns its status.
func statusFrom(t *testing.T, connection net.Conn) int {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

// exchangeRaw sends a request as it is and returns the response: its status, the headers that
// the receiver sets names, and its body.
func exchangeRaw(t *testing.T, address net.Addr, request []byte) string {
	t.Helper()
	connection := dial(t, address, string(request))
	method, _, _ := strings.Cut(string(request), " ")
	response, err := http.ReadResponse(bufio.NewReader(connection), &http.Request{Method: method})
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)

	var text strings.Builder
	fmt.Fprintln(&text, response.Status)
	for _, header := range []string{"Allow", "Content-Type", "Retry-After", "WWW-Authenticate"} {
		if value := response.Header.Get(header); value != "" {
			fmt.Fprintf(&text, "%s: %s\n", header, value)
		}
	}
	if len(body) > 0 {
		fmt.Fprintf(&text, "\n%s", body)
	}
	return text.String()
}

// selfTelemetry returns the counters of the receiver and of receiverhelper that are not zero, one
// to a line.
func (r *run) selfTelemetry(t *testing.T) string {
	t.Helper()
	var collected metricdata.ResourceMetrics
	require.NoError(t, r.telemetry.Reader.Collect(t.Context(), &collected))

	var lines []string
	for _, scope := range collected.ScopeMetrics {
		for _, metric := range scope.Metrics {
			if !strings.HasPrefix(metric.Name, "otelcol_") {
				continue
			}
			var points []metricdata.DataPoint[int64]
			switch data := metric.Data.(type) {
			case metricdata.Sum[int64]:
				points = data.DataPoints
			case metricdata.Gauge[int64]:
				points = data.DataPoints
			}
			for _, point := range points {
				if point.Value != 0 {
					attributes := point.Attributes.Encoded(attribute.DefaultEncoder())
					lines = append(lines, fmt.Sprintf("%s{%s} %d", metric.Name, attributes, point.Value))
				}
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// received is a response without its body.
type received struct {
	status int
	header http.Header
}

// do sends a request and reads the whole response, so that the connection can be used again.
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
	response, err := do(http.DefaultClient, newForm(t.Context(), r.url(), form))
	require.NoError(t, err)
	return response
}

// totals returns the sum of each metric: of the last values of cumulative series, and of all
// deltas.
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

// count returns the value of a counter of selfTelemetry.
func (r *run) count(t *testing.T, name string) string {
	t.Helper()
	for line := range strings.SplitSeq(r.selfTelemetry(t), "\n") {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return rest
		}
	}
	return "0"
}

// requests returns the name of the counter of requests that ended so.
func requests(outcome string, status int) string {
	const attributes = "{http.response.status_code=%d,outcome=%s,receiver=smtp_failure}"
	return fmt.Sprintf(requestsMetric+attributes, status, outcome)
}

const (
	failuresMetric = "email.delivery.failures"
	byTagMetric    = "email.delivery.failures.by_tag"
	requestsMetric = "otelcol_smtp_failure_requests"
)

// logsFunc is a logs pipeline that calls a function.
func logsFunc(consume func(context.Context, plog.Logs) error) consumer.Logs {
	c, err := consumer.NewLogs(consume)
	if err != nil {
		panic(err)
	}
	return c
}

// blockingLogs is a logs pipeline that closes arrived and then waits for release.
func blockingLogs() (logs consumer.Logs, arrived, release chan struct{}) {
	arrived, release = make(chan struct{}), make(chan struct{})
	return logsFunc(func(context.Context, plog.Logs) error {
		close(arrived)
		<-release
		return nil
	}), arrived, release
}

func metricsFunc(consume func(context.Context, pmetric.Metrics) error) consumer.Metrics {
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

// middleware is an extension that wraps all handlers below the server's outermost one.
type middleware struct {
	component.StartFunc
	component.ShutdownFunc
	wrap func(http.Handler) http.Handler
}

func (m middleware) GetHTTPHandler(context.Context) (func(context.Context, http.Handler) (http.Handler, error), error) {
	return func(_ context.Context, next http.Handler) (http.Handler, error) { return m.wrap(next), nil }, nil
}

// startWithMiddleware starts a receiver with a middleware.
func startWithMiddleware(
	t *testing.T, config *Config, wrap func(http.Handler) http.Handler, prepare ...func(*smtpFailureReceiver),
) *run {
	t.Helper()
	id := component.MustNewID("middleware")
	config.HTTP.Middlewares = []configmiddleware.Config{{ID: id}}
	host := &hostWith{extensions: map[component.ID]component.Component{id: middleware{wrap: wrap}}}
	return startRunOn(t, host, config, prepare...)
}
