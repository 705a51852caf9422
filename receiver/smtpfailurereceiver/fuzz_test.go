package smtpfailurereceiver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/webhook"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/receiver/smtpfailurereceiver/internal/metadata"
)

// FuzzHTTP sends requests to the handlers of a receiver with signatures and of one without. Each
// request has one response, which is counted once, and only a response of success has a record.
func FuzzHTTP(f *testing.F) {
	requests, err := filepath.Glob("../../testdata/cases/*/request.http")
	require.NoError(f, err)
	require.NotEmpty(f, requests)
	for _, name := range requests {
		request, err := os.ReadFile(name)
		require.NoError(f, err)
		if len(request) < 4096 {
			f.Add(request)
		}
	}
	v := signaturetest.ReadVectors("../../testdata/vectors/signature.json")
	for _, vector := range v.Requests {
		f.Add([]byte(vector.Raw()))
	}
	start := func(config *Config) *fuzzed {
		return startFuzzed(f, config, func(r *smtpFailureReceiver) {
			r.now = func() time.Time { return v.Date }
			r.resolver = records{v.KeyName: v.KeyRecord}
		})
	}
	open, signed := start(defaultConfig()), start(signedConfig("environment-1234", "account-1234"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, r := range []*fuzzed{open, signed} {
			request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
			if err != nil {
				return
			}
			r.checkExchange(t, raw, request)
		}
	})
}

// fuzzed is a receiver for millions of requests: it keeps nothing but the counter of requests.
type fuzzed struct {
	*smtpFailureReceiver
	sink   *consumertest.LogsSink
	reader *sdkmetric.ManualReader
	counts map[string]int64
}

func startFuzzed(tb testing.TB, config *Config, prepare func(*smtpFailureReceiver)) *fuzzed {
	tb.Helper()
	config.HTTP.NetAddr.Endpoint = "localhost:0"
	config.Aggregation.Interval = time.Hour
	config.Deduplication.MaxEntries = 100
	f := &fuzzed{sink: new(consumertest.LogsSink), reader: sdkmetric.NewManualReader()}
	settings := receivertest.NewNopSettings(metadata.Type)
	settings.ID = component.NewID(metadata.Type)
	settings.MeterProvider = sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(f.reader), sdkmetric.WithExemplarFilter(exemplar.AlwaysOffFilter),
		sdkmetric.WithView(func(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
			return sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}}, i.Name != requestsMetric
		}))
	var err error
	f.smtpFailureReceiver, err = newReceiver(settings, config)
	require.NoError(tb, err)
	f.logs, f.metrics = f.sink, consumertest.NewNop()
	prepare(f.smtpFailureReceiver)
	require.NoError(tb, f.Start(tb.Context(), componenttest.NewNopHost()))
	tb.Cleanup(func() { require.NoError(tb, f.Shutdown(context.WithoutCancel(tb.Context()))) })
	return f
}

// ended returns the series in which requests were counted since the last call.
func (f *fuzzed) ended(t *testing.T) (ended []string) {
	t.Helper()
	var collected metricdata.ResourceMetrics
	require.NoError(t, f.reader.Collect(t.Context(), &collected))
	counts := make(map[string]int64)
	for _, scope := range collected.ScopeMetrics {
		for _, metric := range scope.Metrics {
			require.Equal(t, requestsMetric, metric.Name)
			for _, point := range metric.Data.(metricdata.Sum[int64]).DataPoints {
				name := fmt.Sprintf("%s{%s}", metric.Name, point.Attributes.Encoded(attribute.DefaultEncoder()))
				counts[name] = point.Value
				for range point.Value - f.counts[name] {
					ended = append(ended, name)
				}
			}
		}
	}
	f.counts = counts
	return ended
}

// checkExchange sends a request and checks the response, its counter and the record.
func (f *fuzzed) checkExchange(t *testing.T, raw []byte, request *http.Request) {
	t.Helper()
	f.sink.Reset()
	recorder := httptest.NewRecorder()
	f.server.Handler.ServeHTTP(recorder, request)
	ended := f.ended(t)
	require.Len(t, ended, 1, "%q: every request ends in one outcome", raw)
	i := slices.IndexFunc(responses, func(r *response) bool {
		return r.status == recorder.Code && ended[0] == requests(r.outcome, r.status)
	})
	require.GreaterOrEqual(t, i, 0, "%q: status %d, counted as %s", raw, recorder.Code, ended[0])
	switch responses[i] {
	case responsePanic, responseStoreUnavailable, responseUnavailable, responseOverloaded, responseInFlight,
		responseRefused, responseOther:
		t.Errorf("%q: %s, with nothing that could have failed", raw, ended[0])
	}
	assert.Equal(t, recorder.Code == http.StatusServiceUnavailable, recorder.Header().Get("Retry-After") != "")
	assert.True(t, utf8.Valid(recorder.Body.Bytes()), "%q: %q", raw, recorder.Body)
	assert.Less(t, recorder.Body.Len(), 512, "%q: %q", raw, recorder.Body)

	want := 0
	if responses[i] == responseAccepted {
		want = 1
	}
	require.Equal(t, want, f.sink.LogRecordCount(), "%q: %s", raw, ended[0])
	if want == 0 {
		return
	}
	record := f.sink.AllLogs()[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	id, ok := record.Attributes().Get(attributeMessageID)
	require.True(t, ok, "%q", raw)
	assert.NotEmpty(t, id.Str())
	account, signed := record.Attributes().Get(attributeAccount)
	require.Equal(t, f.verifier != nil, signed, "%q: %q", raw, account.Str())
	for name, value := range record.Attributes().All() {
		if !utf8.ValidString(name) || !utf8.ValidString(value.AsString()) {
			t.Errorf("%q: %q is %q, which is not UTF-8", raw, name, value.AsString())
		}
	}
}

// FuzzSeries encodes the attributes of any report's series, decodes them, and encodes them again: a
// series with two encodings would be counted twice.
func FuzzSeries(f *testing.F) {
	f.Add("id=1&code=550&extended=5.1.1&state=rcptto&recipient=a%40example.org&tags[]=news&tags[]=%C3%A9", "account-1")
	f.Add("id=1&code=99&extended=x&state=%00%ff&recipient=a%40%F0%9F%92%A9.example&tags=%ff&tags=%fe", "")
	long := "id=1&state=" + strings.Repeat("%C3%A9", 300) + "&tags=" + strings.Repeat("%E2%82%AC", 300)
	f.Add(long, strings.Repeat("é", 200))
	f.Fuzz(func(t *testing.T, form, account string) {
		if !utf8.ValidString(account) {
			return // Accounts are those of the configuration, which is UTF-8.
		}
		report, err := new(webhook.Decoder).Form(webhook.Call{Body: form, Account: account})
		if err != nil {
			return
		}
		for _, count := range newCounters(defaultConfig()).counts(report) {
			attributes := pcommon.NewMap()
			putAttributes(count.Attributes, attributes)
			var again []byte
			for name, value := range attributes.All() {
				text := value.Str()
				again = appendAttribute(again, name, attributeValue{text: text, number: value.Int()})
				assert.LessOrEqual(t, len(text), maxAttributeLength)
				assert.True(t, utf8.ValidString(text), "%q", text)
			}
			require.Equal(t, count.Attributes, string(again))
		}
	})
}

// FuzzAttributes reads any bytes as those of a series in a store.
func FuzzAttributes(f *testing.F) {
	f.Add(overflowKey)
	f.Add(string(appendAttribute(nil, attributeCode, attributeValue{number: 550})))
	f.Fuzz(func(_ *testing.T, key string) { putAttributes(key, pcommon.NewMap()) })
}

// FuzzConfig reads any YAML as a configuration. All that a receiver needs can be made of a valid
// one, and the errors of an invalid one name a key.
func FuzzConfig(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(configFiles, "*.yaml"))
	require.NoError(f, err)
	for _, name := range files {
		content, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(content)
	}
	f.Add([]byte("tags: {include: ['[a-z]*', '\\*'], exclude: ['?']}\n" +
		"timezone: Europe/Amsterdam\naggregation: {interval: 10ms, cardinality_limit: 9000000000}"))
	f.Fuzz(func(t *testing.T, yaml []byte) {
		retrieved, err := confmap.NewRetrievedFromYAML(yaml)
		if err != nil {
			return
		}
		conf, err := retrieved.AsConf()
		if err != nil {
			return
		}
		config := createDefaultConfig().(*Config)
		if err := conf.Unmarshal(config); err != nil {
			return
		}
		if err := confmap.Validate(config); err != nil {
			for _, one := range flattened(err) {
				assert.Contains(t, one, ":", "%q: it does not say where", yaml)
			}
			return
		}
		r, err := newReceiver(receivertest.NewNopSettings(metadata.Type), config)
		require.NoError(t, err, "%q", yaml)
		r.logs, r.metrics = consumertest.NewNop(), consumertest.NewNop()
		r.counters = newCounters(config)
		config.Storage = nil // which is another component
		r.ledger, err = r.openLedger(t.Context(), componenttest.NewNopHost())
		require.NoError(t, err)
		for _, tag := range []string{"", "news", "campaign-1/é", "*", "[", `\`} {
			r.counters.tags.match(tag)
		}
		require.NotNil(t, r.decoder.Location)
		_, ok := r.resource.Attributes().Get(attributeServiceName)
		require.True(t, ok)
		if config.Signature.HasValue() {
			r.newVerifier(config.Signature.Get()).Close()
		}
	})
}

// flattened returns the texts of the errors that were joined.
func flattened(err error) (texts []string) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			texts = append(texts, flattened(one)...)
		}
		return texts
	}
	if inner := errors.Unwrap(err); inner != nil && inner.Error() == err.Error() {
		return flattened(inner)
	}
	return []string{err.Error()}
}
