// Package prometheus_test compares the rules with metadata.yaml and docs/runbooks.md. What the
// rules do is tested by promtool, in the folder tests, and by test/e2e.
package prometheus_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
)

const runbooks = "https://github.com/smtpfailure/opentelemetry-collector-smtpfailure/blob/main/docs/runbooks.md#"

// rule is a recording or alerting rule.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func (r rule) String() string { return r.Record + r.Alert }

func readRules(t *testing.T, file string) []rule {
	t.Helper()
	var content struct{ Groups []struct{ Rules []rule } }
	readYAML(t, file, &content)
	var all []rule
	for _, group := range content.Groups {
		all = append(all, group.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	retrieved, err := confmap.NewRetrievedFromYAML(content)
	require.NoError(t, err)
	raw, err := retrieved.AsRaw()
	require.NoError(t, err)
	asJSON, err := json.Marshal(raw)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(asJSON, into))
}

// TestAlerts checks that every alert has annotations, a section in the runbooks, and unit tests in
// which it fires and does not fire.
func TestAlerts(t *testing.T) {
	files, err := filepath.Glob("tests/*.yaml")
	require.NoError(t, err)
	fires, quiet := make(map[string]bool), make(map[string]bool)
	for _, file := range files {
		var content struct {
			Tests []struct {
				Cases []struct {
					Alert  string `json:"alertname"`
					Alerts []any  `json:"exp_alerts"`
				} `json:"alert_rule_test"`
			}
		}
		readYAML(t, file, &content)
		for _, test := range content.Tests {
			for _, c := range test.Cases {
				fires[c.Alert] = fires[c.Alert] || len(c.Alerts) > 0
				quiet[c.Alert] = quiet[c.Alert] || len(c.Alerts) == 0
			}
		}
	}
	var alerts []string
	for _, r := range readRules(t, "alerts.yaml") {
		alerts = append(alerts, "## "+r.Alert)
		assert.True(t, fires[r.Alert], "no test in which %s fires", r)
		assert.True(t, quiet[r.Alert], "no test in which %s does not fire", r)
		assert.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r)
		assert.NotEmpty(t, r.Annotations["summary"], r)
		assert.NotEmpty(t, r.Annotations["description"], r)
		assert.Equal(t, runbooks+strings.ToLower(r.Alert), r.Annotations["runbook_url"], r)
	}
	content, err := os.ReadFile("../../docs/runbooks.md")
	require.NoError(t, err)
	sections := regexp.MustCompile(`(?m)^## .+$`).FindAllString(string(content), -1)
	assert.Equal(t, alerts, sections, "the sections of docs/runbooks.md, in the order of the alerts")
}

var (
	quoted   = regexp.MustCompile(`"[^"]*"`)
	metric   = regexp.MustCompile(`\b(?:email|otelcol|job)_?\w*(?::\w+)+|\b(?:email_deliver(?:y|ies)|otelcol)_\w+`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	template = regexp.MustCompile(`\$labels\.(\w+)`)
)

// TestNames checks that the metrics and labels in the rules exist.
func TestNames(t *testing.T) {
	type sum struct{ Sum *struct{} }
	var metadata struct {
		Attributes map[string]struct {
			Override string `json:"name_override"`
		}
		Metrics   map[string]sum
		Telemetry struct{ Metrics map[string]sum }
	}
	readYAML(t, "../../metadata.yaml", &metadata)
	// The collector's, Prometheus' and the rules' own names.
	metrics := []string{
		"otelcol_exporter_send_failed_log_records", "otelcol_exporter_send_failed_metric_points",
		"otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity",
	}
	labels := []string{
		"__name__", "job", "exporter", "data_type", "otel_metric_overflow", "severity", "weeks", "what",
	}
	for name, attribute := range metadata.Attributes {
		if attribute.Override != "" {
			name = attribute.Override
		}
		labels = append(labels, strings.ReplaceAll(name, ".", "_"))
	}
	for name := range metadata.Metrics {
		metrics = append(metrics, strings.ReplaceAll(name, ".", "_")+"_total")
	}
	for name := range metadata.Telemetry.Metrics {
		metrics = append(metrics, "otelcol_"+name)
	}
	rules := slices.Concat(readRules(t, "rules.yaml"), readRules(t, "alerts.yaml"))
	for _, r := range rules {
		metrics = append(metrics, r.Record)
	}

	for _, r := range rules {
		// A pattern for a name stands for the name, with and without _total.
		plain := regexp.MustCompile(`__name__=~"(\w+)\(_total\)\?"`).ReplaceAllString(r.Expr, `$1`)
		plain = grouping.ReplaceAllString(quoted.ReplaceAllString(plain, `""`), "")
		for _, name := range metric.FindAllString(matcher.ReplaceAllString(plain, ""), -1) {
			assert.Contains(t, metrics, name, r)
		}
		for _, match := range matcher.FindAllStringSubmatch(r.Expr, -1) {
			assert.Contains(t, labels, match[1], r)
		}
		for _, match := range grouping.FindAllStringSubmatch(r.Expr, -1) {
			for _, name := range regexp.MustCompile(`\w+`).FindAllString(match[1], -1) {
				assert.Contains(t, labels, name, r)
			}
		}
		for _, text := range r.Annotations {
			for _, match := range template.FindAllStringSubmatch(text, -1) {
				assert.Contains(t, labels, match[1], r)
			}
		}
	}
}
