package smtpfailurereceiver

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/plogtest"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

var update = flag.Bool("update", false, "write what came out of the cases in testdata/cases as what is expected of them")

// arrivedAt is when the reports of all cases arrive.
var arrivedAt = time.Date(2026, time.November, 21, 10, 15, 0, 0, time.UTC)

// TestCases sends each folder's request.http, byte for byte, over a socket and compares what comes out with the other files of the folder.
// A file that is not there stands for nothing: no logs.yaml, no logs.
func TestCases(t *testing.T) {
	folders, err := filepath.Glob("../../testdata/cases/*")
	require.NoError(t, err)
	require.NotEmpty(t, folders)

	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			request, err := os.ReadFile(filepath.Join(folder, "request.http"))
			require.NoError(t, err)

			run := startCase(t, filepath.Join(folder, "config.yaml"))
			response := exchangeRaw(t, run.receiver.listener.Addr(), request)
			require.NoError(t, run.receiver.Shutdown(t.Context()))

			compareText(t, filepath.Join(folder, "response.txt"), response)
			compareText(t, filepath.Join(folder, "telemetry.txt"), run.selfTelemetry(t))
			compareLogs(t, filepath.Join(folder, "logs.yaml"), run.logs)
			compareMetrics(t, filepath.Join(folder, "metrics.yaml"), run.metrics)
		})
	}
}

// run is a receiver that was started for one case.
type run struct {
	receiver  *smtpFailureReceiver
	logs      *consumertest.LogsSink
	metrics   *consumertest.MetricsSink
	telemetry *componenttest.Telemetry
}

// startCase starts a receiver for both signals with the configuration in file, if there is one, on a free port and with a clock that stands still.
func startCase(t *testing.T, file string) *run {
	config := createDefaultConfig().(*Config)
	switch conf, err := confmaptest.LoadConf(file); {
	case err == nil:
		require.NoError(t, conf.Unmarshal(config))
	case !errors.Is(err, fs.ErrNotExist):
		require.NoError(t, err)
	}
	return startRun(t, config, func(r *smtpFailureReceiver) {
		r.now = func() time.Time { return arrivedAt }
		r.resource.Attributes().PutStr(attributeServiceInstanceID, "11111111-2222-4333-8444-555555555555")
	})
}

// startRun starts a receiver for both signals on a free port, after prepare has had its say.
func startRun(t *testing.T, config *Config, prepare func(*smtpFailureReceiver)) *run {
	t.Helper()
	return startRunOn(t, componenttest.NewNopHost(), config, prepare)
}

func startRunOn(t *testing.T, host component.Host, config *Config, prepare func(*smtpFailureReceiver)) *run {
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
	prepare(started.receiver)
	require.NoError(t, logs.Start(t.Context(), host))
	require.NoError(t, metrics.Start(t.Context(), host))
	t.Cleanup(func() { require.NoError(t, started.receiver.Shutdown(context.WithoutCancel(t.Context()))) })
	return started
}

// exchangeRaw sends a request as it is and returns the answer's status, the headers that the contract names, and body.
func exchangeRaw(t *testing.T, address net.Addr, request []byte) string {
	t.Helper()
	connection, err := new(net.Dialer).DialContext(t.Context(), address.Network(), address.String())
	require.NoError(t, err)
	defer connection.Close()
	require.NoError(t, connection.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = connection.Write(request)
	require.NoError(t, err)

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

// selfTelemetry returns the counters of the receiver and of receiverhelper that are not zero, one to a line. Durations are left out,
// because the clock stands still.
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
					lines = append(lines, fmt.Sprintf("%s{%s} %d", metric.Name, point.Attributes.Encoded(attribute.DefaultEncoder()), point.Value))
				}
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func compareText(t *testing.T, file, actual string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(actual), 0o600))
	}
	expected, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(expected), actual, file)
}

func compareLogs(t *testing.T, file string, sink *consumertest.LogsSink) {
	t.Helper()
	all := sink.AllLogs()
	if *update {
		_ = os.Remove(file)
		if len(all) > 0 {
			require.NoError(t, golden.WriteLogsToFile(file, all[0]))
		}
	}
	expected, err := golden.ReadLogs(file)
	if errors.Is(err, fs.ErrNotExist) {
		assert.Empty(t, all, "%s is not there, so nothing is expected", file)
		return
	}
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.NoError(t, plogtest.CompareLogs(expected, all[0]), file)
}

// compareMetrics compares the last totals. What is sent before them is the zeros of the same series.
func compareMetrics(t *testing.T, file string, sink *consumertest.MetricsSink) {
	t.Helper()
	all := sink.AllMetrics()
	if *update {
		_ = os.Remove(file)
		if len(all) > 0 {
			require.NoError(t, golden.WriteMetricsToFile(file, all[len(all)-1], golden.SkipMetricTimestampNormalization()))
		}
	}
	expected, err := golden.ReadMetrics(file)
	if errors.Is(err, fs.ErrNotExist) {
		assert.Empty(t, all, "%s is not there, so nothing is expected", file)
		return
	}
	require.NoError(t, err)
	require.NotEmpty(t, all)
	assert.NoError(t, pmetrictest.CompareMetrics(expected, all[len(all)-1], pmetrictest.IgnoreMetricDataPointsOrder()), file)
}
