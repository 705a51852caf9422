package smtpfailurereceiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

var releasedFiles = filepath.Join("testdata", "released")

// TestReleasedConfigurations reads every option as each release had it. An option that goes away stays in these files until the major version
// that no longer reads it; see docs/operations.md.
func TestReleasedConfigurations(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(releasedFiles, "v*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			written, err := confmaptest.LoadConf(file)
			require.NoError(t, err)
			config, err := unmarshalConfig(t, written)
			require.NoError(t, err)
			require.NoError(t, confmap.Validate(config))

			read := confmap.New()
			require.NoError(t, read.Marshal(config))
			for _, key := range written.AllKeys() {
				value := written.Get(key)
				switch {
				case strings.HasPrefix(key, "http::"):
					// The keys below it are the collector's, which moves them about in its own time. That they are read is all that is asked here.
				case key == "recipient::key":
					assert.Equal(t, value, string(config.Recipient.Key))
				default:
					assert.Equal(t, asText(value), asText(read.Get(key)), key)
				}
			}
		})
	}
}

// asText is a value as text, whichever way a duration is written and whether or not what is empty is left out.
func asText(value any) string {
	switch value := value.(type) {
	case []any:
		texts := make([]string, len(value))
		for i, one := range value {
			texts[i] = asText(one)
		}
		return strings.Join(texts, "\n")
	case map[string]any:
		var texts []string
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if text := asText(value[key]); text != "" {
				texts = append(texts, key+": "+text)
			}
		}
		return strings.Join(texts, ", ")
	}
	text := fmt.Sprint(value)
	if d, err := time.ParseDuration(text); err == nil {
		return d.String()
	}
	return text
}

// keptStorage is a storage extension whose one store is a map, so that a test sees every byte of it.
type keptStorage struct {
	component.StartFunc
	component.ShutdownFunc
	values map[string][]byte
}

func (k *keptStorage) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return keptClient{k.values}, nil
}

type keptClient struct{ values map[string][]byte }

func (c keptClient) Get(ctx context.Context, key string) ([]byte, error) {
	op := storage.GetOperation(key)
	err := c.Batch(ctx, op)
	return op.Value, err
}

func (c keptClient) Set(ctx context.Context, key string, value []byte) error {
	return c.Batch(ctx, storage.SetOperation(key, value))
}

func (c keptClient) Delete(ctx context.Context, key string) error {
	return c.Batch(ctx, storage.DeleteOperation(key))
}

func (c keptClient) Batch(_ context.Context, ops ...*storage.Operation) error {
	for _, op := range ops {
		switch op.Type {
		case storage.Get:
			op.Value = c.values[op.Key]
		case storage.Set:
			c.values[op.Key] = op.Value
		case storage.Delete:
			delete(c.values, op.Key)
		}
	}
	return nil
}

func (keptClient) Close(context.Context) error { return nil }

// releasedReports are in the stores of all releases.
var releasedReports = []string{
	"id=1&time=1795256098&code=550&extended=5.1.1&state=rcptto&recipient=a%40example.org&description=no+such+user&tags=news&action=failure",
	"id=2&time=1795256099&code=451&extended=4.7.1&state=mailfrom&recipient=b%40example.org&tags[]=news&tags[]=caf%C3%A9",
	"id=3&time=1795256100&state=bounce&extended=5.2.2&recipient=c%40example.org&type=failure",
	"id=4",
}

// releasedConfig is how the stores of all releases were written.
func releasedConfig() *Config {
	config := storageConfig()
	config.Deduplication.TTL = 1000 * time.Hour
	config.Aggregation.MaxStale = 0
	return config
}

func startReleased(t *testing.T, values map[string][]byte, at time.Time) *run {
	t.Helper()
	host := &hostWith{extensions: map[component.ID]component.Component{storageID: &keptStorage{values: values}}}
	return startRunOn(t, host, releasedConfig(), func(r *smtpFailureReceiver) { r.now = func() time.Time { return at } })
}

// TestTheStoreIsThatOfTheRelease writes today what version 0.1.0 wrote, but for what is random: identities, series and their keys. A difference
// would count repeats of reports from before an upgrade once more, or begin series anew. TestTheFormatIsThatOfItsVersion of the ledger is about the
// rest. The store without a number in its name is of version 1 of the format.
func TestTheStoreIsThatOfTheRelease(t *testing.T) {
	values := make(map[string][]byte)
	run := startReleased(t, values, arrivedAt)
	for _, form := range releasedReports {
		require.Equal(t, 200, run.post(t, form).status)
	}
	require.NoError(t, run.receiver.Shutdown(t.Context()))

	file := filepath.Join(releasedFiles, "v0.1.0_store_v2.json")
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		today, err := json.MarshalIndent(values, "", "  ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, append(today, '\n'), 0o600))
		t.Fatalf("%s was not there and was written", file)
	}
	require.NoError(t, err)
	var released map[string][]byte
	require.NoError(t, json.Unmarshal(content, &released))
	delete(released, "meta")
	delete(values, "meta")
	assert.Equal(t, released, values)
}

// TestAReleasedStoreGoesOn starts from the stores of all releases: what was sent before is known, and the totals go on.
func TestAReleasedStoreGoesOn(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(releasedFiles, "*_store*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			var values map[string][]byte
			require.NoError(t, json.Unmarshal(content, &values))
			run := startReleased(t, values, arrivedAt.Add(time.Hour))
			for _, form := range releasedReports {
				require.Equal(t, 200, run.post(t, form).status)
			}
			assert.Zero(t, run.logs.LogRecordCount(), "they are known")
			require.Equal(t, 200, run.post(t, strings.Replace(releasedReports[0], "id=1", "id=5", 1)).status)
			require.NoError(t, run.receiver.Shutdown(t.Context()))
			assert.Equal(t, 1, run.logs.LogRecordCount())
			assert.Equal(t, map[string]int64{failuresMetric: 5, byTagMetric: 4}, totals(run.metrics))

			all := run.metrics.AllMetrics()
			require.Len(t, all, 1, "no series is new, so none begins with a zero")
			started := all[0].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0).StartTimestamp().AsTime()
			assert.Equal(t, arrivedAt, started)
		})
	}
}
