package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// certificates makes certificates as the examples say and returns their folder.
func certificates(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	run(t, exec.Command(root+"/examples/certificates.sh", folder))
	return folder
}

// TestExamples validates every example, and starts it without its backends. It has to answer a
// report and go on running.
func TestExamples(t *testing.T) {
	environment := []string{"CERTIFICATES=" + certificates(t)}
	// Those that do not accept an unsigned, unauthenticated report over plain HTTP.
	statuses := map[string]int{
		"signature": http.StatusUnauthorized, "basic-auth": http.StatusUnauthorized,
		"bearer-token": http.StatusUnauthorized, "tls": http.StatusBadRequest, "mtls": http.StatusBadRequest,
	}
	files, err := filepath.Glob(exampleFile("*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		example := filepath.Base(filepath.Dir(file))
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			validate(t, nil, "--config", file)
			c := startExample(t, example, environment)
			if c.address == "" {
				return // It takes no reports.
			}
			want := statuses[example]
			if want == 0 {
				want = http.StatusOK
			}
			assert.Equal(t, want, post(c.url(), someReport("example-1").form()))
			assert.NotEmpty(t, scrape(t, c.telemetry))
			c.checkRunning(t)
		})
	}
}

// TestAuthentication calls the examples of TLS and of authentication with the right credentials,
// with wrong ones and with none.
func TestAuthentication(t *testing.T) {
	folder, other := certificates(t), certificates(t)
	trusting := func(own ...string) *http.Client {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(readFile(t, folder+"/ca.pem")))
		config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		for _, folder := range own {
			certificate, err := tls.LoadX509KeyPair(folder+"/client.pem", folder+"/client.key")
			require.NoError(t, err)
			config.Certificates = append(config.Certificates, certificate)
		}
		transport := &http.Transport{TLSClientConfig: config}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	old := trusting()
	old.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS10
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS11

	const noResponse = 0
	type attempt struct {
		name   string
		client *http.Client
		prefix string // of the URL
		header string
		status int
	}
	for example, attempts := range map[string][]attempt{
		"tls": {
			{"with TLS", trusting(), "https://", "", http.StatusOK},
			{"in the clear", http.DefaultClient, "http://", "", http.StatusBadRequest},
			{"with TLS 1.1", old, "https://", "", noResponse},
		},
		"mtls": {
			{"with a certificate", trusting(folder), "https://", "", http.StatusOK},
			{"without a certificate", trusting(), "https://", "", noResponse},
			{"with one of another authority", trusting(other), "https://", "", noResponse},
		},
		"basic-auth": {
			{"with the password", http.DefaultClient, "http://sender:open%20sesame@", "", http.StatusOK},
			{"with another", http.DefaultClient, "http://sender:secret@", "", http.StatusUnauthorized},
			{"without any", http.DefaultClient, "http://", "", http.StatusUnauthorized},
		},
		"bearer-token": {
			{"with the token", http.DefaultClient, "http://", "Authorization: Bearer sesame", http.StatusOK},
			{"with another", http.DefaultClient, "http://", "Authorization: Bearer secret", http.StatusUnauthorized},
			{"without any", http.DefaultClient, "http://", "", http.StatusUnauthorized},
		},
	} {
		c := startExample(t, example, []string{
			"CERTIFICATES=" + folder, "SENDER_PASSWORD=open sesame",
			"SENDER_TOKEN=sesame",
		})
		for _, a := range attempts {
			status, text := call(a.client, http.MethodPost, a.prefix+c.address+"/failures", "id=1&code=550", formType,
				a.header)
			assert.Equal(t, a.status, status, "%s, %s: %s", example, a.name, text)
		}
	}
}

// startWithSink starts an example whose backends are sinks.
func startWithSink(t *testing.T, example string, environment ...string) *collector {
	t.Helper()
	return startExample(t, example, environment, "receivers::smtp_failure::aggregation::interval=200ms")
}

// TestOTLPBackends checks what the examples of OTLP backends send: the paths, the credentials and
// the temporality.
func TestOTLPBackends(t *testing.T) {
	const (
		noMetrics  = pmetric.AggregationTemporalityUnspecified
		delta      = pmetric.AggregationTemporalityDelta
		cumulative = pmetric.AggregationTemporalityCumulative
	)
	for _, backend := range []struct {
		example, variable, path string
		environment             []string
		header                  http.Header
		temporality             pmetric.AggregationTemporality
	}{
		{"durable", "OTLP_ENDPOINT", "", nil, nil, cumulative},
		{"loki", "LOKI_ENDPOINT", "/otlp", nil, nil, noMetrics},
		{
			"grafana-cloud", "GRAFANA_CLOUD_OTLP_ENDPOINT", "/otlp",
			[]string{"GRAFANA_CLOUD_INSTANCE_ID=4711", "GRAFANA_CLOUD_TOKEN=secret"},
			http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("4711:secret"))}},
			cumulative,
		},
		{
			"elasticsearch", "ELASTIC_OTLP_ENDPOINT", "",
			[]string{"ELASTIC_API_KEY=secret"},
			http.Header{"Authorization": {"ApiKey secret"}},
			cumulative,
		},
		{
			"clickhouse", "CLICKSTACK_OTLP_ENDPOINT", "",
			[]string{"CLICKSTACK_API_KEY=secret"},
			http.Header{"Authorization": {"secret"}},
			cumulative,
		},
		{
			"datadog", "DATADOG_OTLP_ENDPOINT", "",
			[]string{"DD_API_KEY=secret"},
			http.Header{"Dd-Api-Key": {"secret"}, "Dd-Otel-Metric-Config": {`{"resource_attributes_as_tags": true}`}},
			delta,
		},
	} {
		t.Run(backend.example, func(t *testing.T) {
			t.Parallel()
			s := startSink(t)
			c := startWithSink(t, backend.example,
				append(backend.environment, backend.variable+"="+s.URL+backend.path)...)
			postOne(t, c, "otlp-1")
			c.eventually(t, "the record and the counters are there", func() bool {
				return s.of("otlp-1") != nil &&
					(backend.temporality == noMetrics || s.counted(backend.temporality) == 1)
			})
			assert.Equal(t, []string{"otlp-1"}, s.ids())
			assert.Equal(t, 1, s.received())
			for _, request := range s.got("") {
				assert.Contains(t, []string{backend.path + "/v1/logs", backend.path + "/v1/metrics"}, request.path)
				for name, want := range backend.header {
					assert.Equal(t, want, request.header[name], name)
				}
			}
		})
	}
}

// TestRouting checks that each record goes to one of two backends, by its class.
func TestRouting(t *testing.T) {
	t.Parallel()
	permanent, rest := startSink(t), startSink(t)
	c := startWithSink(t, "routing", "PERMANENT_OTLP_ENDPOINT="+permanent.URL, "REST_OTLP_ENDPOINT="+rest.URL)
	for i, code := range []string{"550", "451", "", "554", "421"} {
		form := url.Values{"id": {fmt.Sprint("route-", i)}, "state": {"data"}, "code": {code}}
		require.Equal(t, http.StatusOK, post(c.url(), form))
	}
	c.eventually(t, "all of it arrived", func() bool {
		return permanent.received()+rest.received() >= 5 && len(rest.got("/v1/metrics")) > 0
	})
	assert.Equal(t, []string{"route-0", "route-3"}, permanent.ids())
	assert.Equal(t, []string{"route-1", "route-2", "route-4"}, rest.ids())
}

// TestRedaction checks that a third party gets a record without personal data, and we get all of
// it.
func TestRedaction(t *testing.T) {
	t.Parallel()
	ours, theirs := startSink(t), startSink(t)
	c := startWithSink(t, "redaction", "OUR_OTLP_ENDPOINT="+ours.URL, "THEIR_OTLP_ENDPOINT="+theirs.URL)
	postOne(t, c, "redacted-1")
	c.eventually(t, "both have it", func() bool {
		return ours.received() > 0 && theirs.received() > 0 && len(ours.got("/v1/metrics")) > 0
	})
	text := func(s *sink) (a *received, text string) {
		require.Len(t, s.ids(), 1)
		a = s.of(s.ids()[0])
		encoded, err := new(plog.JSONMarshaler).MarshalLogs(a.logs)
		require.NoError(t, err)
		return a, string(encoded)
	}
	kept, all := text(ours)
	assert.Equal(t, "jane@example.com", kept.record["email.recipient.address"])
	assert.Contains(t, all, "is unknown")
	left, redacted := text(theirs)
	assert.Equal(t, "recipient_unknown", left.record["error.type"])
	uid, _ := kept.record["log.record.uid"].(string)
	for _, private := range []string{"jane", "redacted-1", "newsletter", "is unknown", uid} {
		assert.NotContains(t, redacted, private)
	}
	assert.Empty(t, theirs.got("/v1/metrics"))
}

// TestServersBehindExamples runs the examples for Prometheus and Loki with real servers.
func TestServersBehindExamples(t *testing.T) {
	t.Run("prometheus", func(t *testing.T) {
		c := newCollector(t, nil, exampleFile("prometheus")).set("receivers::smtp_failure::aggregation::interval=500ms")
		// prometheus.yaml as it is, but for addresses, rules and the interval.
		config := replaced(t, root+"/examples/prometheus/prometheus.yaml",
			"localhost:9464", c.counters, "localhost:8888", c.telemetry,
			"scrape_interval: 15s", "scrape_interval: 200ms")
		config = regexp.MustCompile(`(?m)^rule_files:\n(?:  - .*\n)+`).ReplaceAllString(config, "")
		prometheus := startPrometheus(t, config, t.TempDir())
		c.start(t)
		// It takes some seconds until Prometheus scrapes what is in its configuration.
		prometheus.until(t, `up{job="smtp_failure"} == 1`, hasResult)
		checkFirstFailure(t, c, prometheus)
	})
	t.Run("prometheus-remote-write", func(t *testing.T) {
		prometheus := startPrometheus(t, "global: {scrape_interval: 15s}\n", t.TempDir(),
			"--web.enable-remote-write-receiver")
		c := startWithSink(t, "prometheus-remote-write", "REMOTE_WRITE_ENDPOINT="+prometheus.url+"/api/v1/write")
		checkFirstFailure(t, c, prometheus)
	})
	t.Run("loki", func(t *testing.T) {
		loki := startLoki(t)
		c := startWithSink(t, "loki", "LOKI_ENDPOINT="+loki.url+"/otlp")
		postOne(t, c, "loki-1")
		var found []logRecord
		c.eventually(t, "the record is in Loki", func() bool {
			// The query of the example's comment.
			found = loki.records(t, `{service_name="smtp_failure"} | error_type="recipient_unknown"`,
				time.Now().Add(-time.Hour), time.Now().Add(time.Minute), 10)
			return len(found) > 0
		})
		require.Len(t, found, 1)
		assert.Equal(t, "loki-1", found[0].metadata["email_message_id"])
		assert.NotEmpty(t, found[0].labels["service_instance_id"])
	})
}

// checkFirstFailure sends one report, which Prometheus has to show as an increase of a series with
// the labels of the receiver.
func checkFirstFailure(t *testing.T, c *collector, prometheus *server) {
	t.Helper()
	postOne(t, c, "first-1")
	const series = `email_delivery_failures_total{job="smtp_failure",instance!="",error_type="recipient_unknown"}`
	prometheus.until(t, "increase("+series+"[1m]) > 0", hasResult)
	assert.InDelta(t, 1, single(t, prometheus.query(t, series, time.Now())), 0)
}

// TestGrafanaExample starts the collector, Prometheus and Loki with the files that
// examples/grafana/compose.yaml gives to its containers, and runs the example sender.
func TestGrafanaExample(t *testing.T) {
	const files, reports = root + "/examples/grafana/", 300
	loki := startLoki(t)
	c := newCollector(t, []string{"LOKI_ENDPOINT=" + loki.url + "/otlp"}, files+"collector.yaml").start(t)
	healthcheck := goBuild(t, "./examples/healthcheck")
	c.eventually(t, "the image's health check passes", func() bool {
		return exec.CommandContext(t.Context(), healthcheck, "http://"+c.health).Run() == nil
	})
	prometheus := startPrometheus(t, grafanaPrometheusConfig(t, c), t.TempDir())
	prometheus.until(t, "sum(up)", isOne(2))

	start := time.Now()
	run(t, exec.Command(goBuild(t, "./examples/sender"), "-url", c.url(), "-reports", "300", "-day", "5s"))
	prometheus.until(t, `sum(email_delivery_failures_total{job="smtp_failure"})`, isOne(reports))
	prometheus.until(t, `sum(otelcol_smtp_failure_requests{job="otelcol-smtpfailure", outcome="accepted"})`,
		isOne(reports))
	const news = `increase(email_delivery_failures_total{smtp_response_enhanced_status_code="5.7.20"}[5m])`
	prometheus.until(t, "sum("+news+") > 0", hasResult)
	loki.until(t, `sum(count_over_time({service_name="smtp_failure"} | email_message_id != "" [10m]))`, isOne(reports))
	// What a link of the data source asks for.
	found := func(pipeline string) []logRecord {
		return loki.records(t, `{service_name="smtp_failure"} | `+pipeline, start.Add(-time.Minute-time.Second),
			time.Now(), 10)
	}
	ofKind := found(`error_type="authentication_failed" | smtp_response_enhanced_status_code="5.7.20"`)
	require.NotEmpty(t, ofKind)
	require.NotEmpty(t, ofKind[0].metadata["email_message_id"])
	assert.Len(t, found(`email_message_id="`+ofKind[0].metadata["email_message_id"]+`"`), 1)

	rules, err := prometheus.Rules(t.Context())
	require.NoError(t, err)
	assert.NotEmpty(t, rules.Groups)
}

// grafanaPrometheusConfig returns the text of prometheus.yaml with the rules where they are, and
// the collector among the targets.
func grafanaPrometheusConfig(t *testing.T, c *collector) string {
	t.Helper()
	const examples = root + "/examples/"
	rules, err := filepath.Abs(examples + "prometheus")
	require.NoError(t, err)
	targets := replaced(t, examples+"grafana/targets.yaml", "localhost:9464", c.counters, "localhost:8888", c.telemetry)
	config := replaced(t, examples+"grafana/prometheus.yaml", "[targets.yaml]",
		"["+write(t, "targets.yaml", targets)+"]")
	return strings.ReplaceAll(config, "../prometheus/", rules+"/")
}
