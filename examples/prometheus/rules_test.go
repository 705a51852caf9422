// Package prometheus_test holds the rules to metadata.yaml and to docs/runbooks.md: a rule that asks for what the receiver does not emit never fires,
// and an alert without a runbook helps nobody at night. What the rules do is tested with promtool, in the folder tests, and by test/e2e.
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

// rule is one of either kind.
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

// Every alert has what is needed at night, and every section of the runbooks is about an alert.
func TestRunbooks(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "runbooks.md"))
	require.NoError(t, err)
	var sections, alerts []string
	for _, heading := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(string(content), -1) {
		sections = append(sections, heading[1])
	}
	for _, r := range readRules(t, "alerts.yaml") {
		alerts = append(alerts, r.Alert)
		assert.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r)
		assert.NotEmpty(t, r.Annotations["summary"], r)
		assert.NotEmpty(t, r.Annotations["description"], r)
		assert.Equal(t, runbooks+strings.ToLower(r.Alert), r.Annotations["runbook_url"], r)
	}
	assert.Equal(t, alerts, sections, "the alerts and the sections of docs/runbooks.md, in the same order")
}

// Every alert has a case in the unit tests in which it fires, and one in which it does not.
func TestEveryAlertHasUnitTests(t *testing.T) {
	files, err := filepath.Glob("tests/*.yaml")
	require.NoError(t, err)
	fires, quiet := map[string]bool{}, map[string]bool{}
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
	for _, r := range readRules(t, "alerts.yaml") {
		assert.True(t, fires[r.Alert], "no test has %s fire", r)
		assert.True(t, quiet[r.Alert], "no test has %s stay quiet", r)
	}
}

// What is asked for and is not the receiver's.
var (
	foreignMetrics = []string{
		"otelcol_exporter_send_failed_log_records", "otelcol_exporter_send_failed_metric_points",
		"otelcol_exporter_queue_size", "otelcol_exporter_queue_capacity",
	}
	foreignLabels = []string{"__name__", "job", "exporter", "data_type", "otel_metric_overflow"}
	// Labels that rules make themselves.
	ownLabels = []string{"severity", "weeks", "what"}
)

var (
	quoted   = regexp.MustCompile(`"[^"]*"`)
	metric   = regexp.MustCompile(`\b(?:email|otelcol|job)_?\w*(?::\w+)+|\b(?:email_deliver(?:y|ies)|otelcol)_\w+`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	template = regexp.MustCompile(`\$labels\.(\w+)`)
)

// names are the metrics and labels that may be asked for.
type names struct{ metrics, labels []string }

func readNames(t *testing.T) names {
	t.Helper()
	type sum struct{ Sum *struct{} }
	var metadata struct {
		Attributes map[string]struct {
			Override string `json:"name_override"`
		}
		Metrics   map[string]sum
		Telemetry struct{ Metrics map[string]sum }
	}
	readYAML(t, filepath.Join("..", "..", "metadata.yaml"), &metadata)
	known := names{metrics: slices.Clone(foreignMetrics), labels: slices.Concat(foreignLabels, ownLabels)}
	for name, attribute := range metadata.Attributes {
		if attribute.Override != "" {
			name = attribute.Override
		}
		known.labels = append(known.labels, strings.ReplaceAll(name, ".", "_"))
	}
	for name := range metadata.Metrics {
		known.metrics = append(known.metrics, strings.ReplaceAll(name, ".", "_")+"_total")
	}
	for name := range metadata.Telemetry.Metrics {
		known.metrics = append(known.metrics, "otelcol_"+name)
	}
	return known
}

// check returns what the rules ask for that is not there.
func check(known names, rules []rule) []string {
	for _, r := range rules {
		if r.Record != "" {
			known.metrics = append(known.metrics, r.Record)
		}
	}
	var findings []string
	find := func(r rule, have []string, kind, name string) {
		if !slices.Contains(have, name) {
			findings = append(findings, r.String()+": no "+kind+" "+name)
		}
	}
	for _, r := range rules {
		// A pattern for a name stands for the name, with and without _total.
		plain := regexp.MustCompile(`__name__=~"(\w+)\(_total\)\?"`).ReplaceAllString(r.Expr, `$1`)
		labels := grouping.ReplaceAllString(quoted.ReplaceAllString(plain, `""`), "")
		for _, name := range metric.FindAllString(matcher.ReplaceAllString(labels, ""), -1) {
			find(r, known.metrics, "metric", name)
		}
		for _, match := range matcher.FindAllStringSubmatch(r.Expr, -1) {
			find(r, known.labels, "label", match[1])
		}
		for _, match := range grouping.FindAllStringSubmatch(r.Expr, -1) {
			for name := range strings.SplitSeq(match[1], ",") {
				if name = strings.TrimSpace(name); name != "" {
					find(r, known.labels, "label", name)
				}
			}
		}
		for _, text := range r.Annotations {
			for _, match := range template.FindAllStringSubmatch(text, -1) {
				find(r, known.labels, "label", match[1])
			}
		}
	}
	return findings
}

func allRules(t *testing.T) []rule {
	t.Helper()
	return append(readRules(t, "rules.yaml"), readRules(t, "alerts.yaml")...)
}

func TestRulesAskForWhatIsThere(t *testing.T) {
	assert.Empty(t, check(readNames(t), allRules(t)))
}

// The check finds what it is for. Each case changes all rules in one way.
func TestCheckFinds(t *testing.T) {
	for changed, finding := range map[[2]string]string{
		{"email_delivery_failures_total", "email_delivery_errors_total"}:             "no metric email_delivery_errors_total",
		{"email_delivery_failures_total", "email_delivery_failures"}:                 "no metric email_delivery_failures",
		{"otelcol_smtp_failure_refusals(", "otelcol_smtp_failure_rejections("}:       "no metric otelcol_smtp_failure_rejections",
		{"(otelcol_smtp_failure_remembered)", "(otelcol_smtp_failure_known)"}:        "no metric otelcol_smtp_failure_known",
		{"job_kind:email_delivery_failures:increase10m[", "job_kind:email:rate10m["}: "no metric job_kind:email:rate10m",
		{`email_failure_class="`, `email_class="`}:                                   "no label email_class",
		{"sum by (job, reason)", "sum by (job, cause)"}:                              "no label cause",
		{"$labels.error_type", "$labels.error"}:                                      "no label error",
	} {
		rules, found := allRules(t), false
		for i := range rules {
			found = found || strings.Contains(rules[i].Expr, changed[0])
			rules[i].Expr = strings.ReplaceAll(rules[i].Expr, changed[0], changed[1])
			for name, text := range rules[i].Annotations {
				found = found || strings.Contains(text, changed[0])
				rules[i].Annotations[name] = strings.ReplaceAll(text, changed[0], changed[1])
			}
		}
		require.True(t, found, "%s is in no rule any more: change this case", changed[0])
		assert.Contains(t, strings.Join(check(readNames(t), rules), "\n"), finding)
	}
}
