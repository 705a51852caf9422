package smtpfailurereceiver

import (
	"errors"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/plogtest"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/pdatatest/pmetrictest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

var update = flag.Bool("update", false, "write the results of the cases in testdata/cases as what is expected of them")

// arrivedAt is when the reports of all cases arrive.
var arrivedAt = time.Date(2026, time.November, 21, 10, 15, 0, 0, time.UTC)

// TestCases sends each folder's request.http, byte for byte, to a receiver with its config.yaml,
// and compares the results with the other files. A file that does not exist stands for nothing.
func TestCases(t *testing.T) {
	folders, err := filepath.Glob("../../testdata/cases/*")
	require.NoError(t, err)
	require.NotEmpty(t, folders)

	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			request, err := os.ReadFile(filepath.Join(folder, "request.http"))
			require.NoError(t, err)
			config := defaultConfig()
			conf, err := confmaptest.LoadConf(filepath.Join(folder, "config.yaml"))
			if !errors.Is(err, fs.ErrNotExist) {
				require.NoError(t, err)
				require.NoError(t, conf.Unmarshal(config))
			}
			run := startRun(t, config, func(r *smtpFailureReceiver) {
				r.now = func() time.Time { return arrivedAt }
				r.resource.Attributes().PutStr(attributeServiceInstanceID, "11111111-2222-4333-8444-555555555555")
			})
			response := exchangeRaw(t, run.receiver.listener.Addr(), request)
			require.NoError(t, run.receiver.Shutdown(t.Context()))

			compareText(t, filepath.Join(folder, "response.txt"), response)
			compareText(t, filepath.Join(folder, "telemetry.txt"), run.selfTelemetry(t))
			compareLogs(t, filepath.Join(folder, "logs.yaml"), run.logs)
			compareMetrics(t, filepath.Join(folder, "metrics.yaml"), run.metrics)
		})
	}
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
			sortAttributes(all[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Attributes())
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

// sortAttributes keeps a file as it is when only the order of the attributes changes.
func sortAttributes(attributes pcommon.Map) {
	sorted := pcommon.NewMap()
	for _, name := range slices.Sorted(maps.Keys(attributes.AsRaw())) {
		value, _ := attributes.Get(name)
		value.CopyTo(sorted.PutEmpty(name))
	}
	sorted.MoveTo(attributes)
}

// compareMetrics compares the last totals. Those before them are zero.
func compareMetrics(t *testing.T, file string, sink *consumertest.MetricsSink) {
	t.Helper()
	all := sink.AllMetrics()
	if *update {
		_ = os.Remove(file)
		if len(all) > 0 {
			last, exact := all[len(all)-1], golden.SkipMetricTimestampNormalization()
			require.NoError(t, golden.WriteMetricsToFile(file, last, exact))
		}
	}
	expected, err := golden.ReadMetrics(file)
	if errors.Is(err, fs.ErrNotExist) {
		assert.Empty(t, all, "%s is not there, so nothing is expected", file)
		return
	}
	require.NoError(t, err)
	require.NotEmpty(t, all)
	last := all[len(all)-1]
	assert.NoError(t, pmetrictest.CompareMetrics(expected, last, pmetrictest.IgnoreMetricDataPointsOrder()), file)
}
