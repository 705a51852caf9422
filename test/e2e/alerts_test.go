package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/test/otlpsink"
)

// alertScale is what every duration in the rules is divided by: an hour becomes 36 seconds.
const alertScale = 100

var (
	ruleDuration = regexp.MustCompile(`\b[0-9]+(ms|[smhdwy])\b`)
	alertName    = regexp.MustCompile(`(?m)^ *- alert: (\w+)$`)
)

// scaled divides every duration in the text of rules: of ranges, offsets and subqueries, `for` and
// `interval`.
func scaled(rules string) string {
	return ruleDuration.ReplaceAllStringFunc(rules, func(text string) string {
		duration, err := model.ParseDuration(text)
		if err != nil {
			return text
		}
		return strconv.FormatInt(time.Duration(duration).Milliseconds()/alertScale, 10) + "ms"
	})
}

func TestScaled(t *testing.T) {
	for rules, want := range map[string]string{
		"for: 5m":                           "for: 3000ms",
		"keep_firing_for: 30s":              "keep_firing_for: 300ms",
		"a:b:increase15m_usual{job=\"1h\"":  "a:b:increase15m_usual{job=\"36000ms\"",
		"increase(x_total[15m] offset 1w)":  "increase(x_total[9000ms] offset 6048000ms)",
		"max_over_time(a:b:c1h[14d:500ms])": "max_over_time(a:b:c1h[12096000ms:5ms])",
		"5.7.x, 0.5 * x > 20":               "5.7.x, 0.5 * x > 20",
	} {
		assert.Equal(t, want, scaled(rules))
	}
}

type matching map[model.LabelName]model.LabelValue

func (m matching) match(labels map[model.LabelName]model.LabelValue) bool {
	for name, value := range m {
		if labels[name] != value {
			return false
		}
	}
	return true
}

// TestAlerts makes every alert of examples/prometheus/alerts.yaml fire, by calls to the
// distribution, which a real Prometheus scrapes.
//
// The durations in the rules and the lookback of Prometheus are divided by alertScale. What the
// rules would have recorded in the two weeks before is filled in before Prometheus starts.
func TestAlerts(t *testing.T) {
	a := startAlerting(t)
	const blocked = "550 5.7.1 Client host [192.0.2.1] blocked using zen.example"
	for name, scenario := range map[string]func(t *testing.T, s *alertService){
		"mail": func(t *testing.T, s *alertService) {
			s.fires(t, func() { s.report(t, 1, "550 5.7.20", "password-reset") },
				"SMTPFailureNewKind",
				matching{"smtp_response_status_code": "550", "smtp_response_enhanced_status_code": "5.7.20"})
			began := time.Now()
			s.firesDuring(t, func() { s.report(t, 20, "550 5.1.1", "autumn") },
				"SMTPFailurePermanentSpike", matching{"email_failure_class": "permanent"})
			s.firesSince(t, began, "SMTPFailureTagOutlier", matching{"email_tag": "autumn"})
			s.firesDuring(t, func() { s.report(t, 20, blocked) },
				"SMTPFailureReputationBlock", matching{"error_type": "reputation_block"})
			s.firesDuring(t, func() { s.report(t, 20, "550 5.7.26 DMARC policy of example.com rejects this message") },
				"SMTPFailureAuthentication", matching{"error_type": "authentication_failed"})
		},
		"deferrals": func(t *testing.T, s *alertService) {
			s.firesDuring(t, func() { s.report(t, 10, "452 4.2.2") },
				"SMTPFailureDeferralsPilingUp", matching{"email_failure_class": "transient"})
			s.firesDuring(t, func() { s.report(t, 20, "421 4.7.28 Too many messages from your address, slow down") },
				"SMTPFailureRateLimited", matching{"error_type": "rate_limited"})
		},
		"rates": func(t *testing.T, s *alertService) {
			began := time.Now()
			s.firesDuring(t, func() {
				s.deliver(t, 20, "autumn")
				s.report(t, 10, blocked, "autumn")
			}, "SMTPFailureRateHigh", nil)
			s.firesSince(t, began, "SMTPFailureRateHighByTag", matching{"email_tag": "autumn"})
			s.firesSince(t, began, "SMTPFailureRateHighByProvider", matching{"email_recipient_domain": "example.com"})
			s.firesSince(t, began, "SMTPFailureRateOfCause", matching{"error_type": "reputation_block"})
			// No more calls are made.
			s.firesSince(t, s.called, "SMTPFailureDeliveriesSilent", nil)
		},
		"silent": func(t *testing.T, s *alertService) {
			s.firesSince(t, s.called, "SMTPFailureSenderSilent", nil)
		},
		"signed": func(t *testing.T, s *alertService) {
			s.fires(t, func() {
				s.call(t, 8, http.StatusUnauthorized, func(id string) url.Values { return url.Values{"id": {id}} })
			},
				"SMTPFailureForgedCalls", matching{"reason": "missing_signature"})
			s.fires(t, s.kill, "SMTPFailureCollectorDown", nil)
		},
		"bounds": func(t *testing.T, s *alertService) {
			s.fires(t, func() {
				s.call(t, 8, http.StatusBadRequest, func(string) url.Values { return url.Values{"state": {"rcptto"}} })
			}, "SMTPFailureCallsUnreadable", matching{"outcome": "invalid"})
			s.fires(t, func() { s.report(t, 1, "550 5.1.1", "one", "two", "three", "four") },
				"SMTPFailureSeriesOverflow", matching{"metric": "email.delivery.failures.by_tag"})
			s.fires(t, func() { s.report(t, 10, "550 5.1.1") }, "SMTPFailureEvictions", nil)
		},
		"refused": func(t *testing.T, s *alertService) {
			began := time.Now()
			s.fires(t, func() {
				require.NoError(t, s.sink.SetMode(otlpsink.Refuse, "logs"))
				s.call(t, 3, http.StatusServiceUnavailable, failureForm("550 5.1.1"))
			}, "SMTPFailureCallsRefused", matching{"outcome": "unavailable"})
			s.firesSince(t, began, "SMTPFailureExportFailed",
				matching{"exporter": "otlp_http/sink", "what": "log records"})
			began = time.Now()
			s.fires(t, func() { require.NoError(t, s.sink.SetMode(otlpsink.Refuse, "logs", "metrics")) },
				"SMTPFailureFlushesRefused", nil)
			s.firesSince(t, began, "SMTPFailureExportFailed", matching{"what": "metric points"})
		},
		"hanging": func(t *testing.T, s *alertService) {
			s.fires(t, func() {
				require.NoError(t, s.sink.SetMode(otlpsink.Stall))
				s.report(t, 10, "550 5.1.1")
			}, "SMTPFailureExportQueueFull", matching{"exporter": "otlp_http/sink", "data_type": "logs"})
		},
		"full": func(t *testing.T, s *alertService) {
			s.fires(t, func() {
				for n, status := 1000, http.StatusOK; status == http.StatusOK; n++ {
					form := failureForm("550 5.1.1", fmt.Sprint("a tag that takes some room ", n))
					status = post(s.url(), form(strconv.Itoa(n)))
					require.Less(t, n, 20000, "the store takes all")
				}
			}, "SMTPFailureStoreWritesFailed", matching{"outcome": "failed"})
		},
	} {
		a.scenarios.Go(func() {
			t.Run(name, func(t *testing.T) { scenario(t, a.services[name]) })
		})
	}
	a.scenarios.Wait()
	if t.Failed() {
		return
	}
	for _, name := range a.names {
		assert.True(t, slices.ContainsFunc(a.shown, func(d demonstration) bool { return d.alert == name }),
			"nothing brings %s about", name)
	}
	a.firedOnlyWhenCaused(t)
}

// demonstration is an alert that was made to fire.
type demonstration struct {
	alert  string
	labels matching
	caused time.Time
}

// alerting is a Prometheus with the alerts, and the collectors that it scrapes.
type alerting struct {
	*server

	names     []string // of the alerts in the file
	services  map[string]*alertService
	scenarios sync.WaitGroup

	mutex sync.Mutex
	shown []demonstration
}

// alertService is a collector with a service name of its own.
type alertService struct {
	*collector

	alerting *alerting
	name     string
	sink     *sink
	calls    int
	called   time.Time
}

// alertSettings are those of each service beside testdata/alerts.yaml.
var alertSettings = map[string][]string{
	"mail":      nil,
	"deferrals": nil,
	"silent":    nil,
	"signed":    {"receivers::smtp_failure::signature::accounts=[environment-1]"},
	"bounds": {
		"receivers::smtp_failure::deduplication::max_entries=12",
		"receivers::smtp_failure::aggregation::cardinality_limit=3",
	},
	"refused": {"service::pipelines::metrics::exporters=[prometheus, otlp_http/sink]"},
	"hanging": {
		"exporters::otlp_http/sink::sending_queue={enabled: true, queue_size: 10, num_consumers: 1}",
		"exporters::otlp_http/sink::timeout=10m",
	},
	"rates": {
		"receivers::smtp_failure::metrics={" +
			"email.delivery.failures: {attributes: " +
			"[error.type, email.failure.mode, email.failure.class, email.recipient.domain]}, " +
			"email.deliveries: {enabled: true, attributes: [email.recipient.domain]}, " +
			"email.deliveries.by_tag: {enabled: true}}",
	},
	"full": {"receivers::smtp_failure::storage=file_storage", "extensions::file_storage::max_size=131072"},
}

func startAlerting(t *testing.T) *alerting {
	t.Helper()
	a := &alerting{services: map[string]*alertService{}}
	config := fmt.Sprintf("global: {scrape_interval: 250ms, evaluation_interval: %s}\nrule_files:\n",
		time.Minute/alertScale)
	for _, name := range []string{"rules.yaml", "alerts.yaml"} {
		rules := readFile(t, root+"/examples/prometheus/"+name)
		for _, match := range alertName.FindAllStringSubmatch(rules, -1) {
			a.names = append(a.names, match[1])
		}
		config += "  - " + write(t, name, scaled(rules)) + "\n"
	}
	require.NotEmpty(t, a.names)

	config += "scrape_configs:\n"
	for name, settings := range alertSettings {
		s := startSink(t)
		c := newCollector(t, []string{"SERVICE=" + name, "SINK=" + s.URL}, "testdata/alerts.yaml").set(settings...)
		require.NoError(t, c.launch())
		a.services[name] = &alertService{collector: c, alerting: a, name: name, sink: s}
		config += fmt.Sprintf("  - {job_name: %s counters, honor_labels: true, static_configs: [{targets: ['%s']}]}\n",
			name, c.counters)
		config += fmt.Sprintf("  - {job_name: %s, static_configs: [{targets: ['%s']}]}\n", name, c.telemetry)
	}
	for _, service := range a.services {
		service.eventually(t, "it is ready", service.isReady)
	}
	data := t.TempDir()
	recordHistory(t, data, time.Now())
	a.server = startPrometheus(t, config, data, "--query.lookback-delta="+(5*time.Minute/alertScale).String())

	// The first failures only create the series, since they come before the first scrape.
	a.failAsUsual(t)
	a.until(t, `count(otelcol_smtp_failure_requests{outcome="accepted"} > 0) == 7`, hasResult)
	a.until(t, `count(count by (job) (email_delivery_failures_total)) == 7`, hasResult)
	a.failAsUsual(t)
	a.until(t, `count(job_outcome:otelcol_smtp_failure_requests:increase15m{outcome="accepted"} > 0) == 7`, hasResult)
	a.until(t, `job:otelcol_smtp_failure_requests_accepted:increase1h{job="silent"} > 0`, hasResult)
	a.until(t, `count(job_class:email_delivery_failures:increase15m_usual{job=~"mail|deferrals"}) >= 2`, hasResult)
	a.until(t, `count(job_tag:email_delivery_failures_by_tag:increase1h{job="mail"}) == 3`, hasResult)
	return a
}

// failAsUsual sends the usual failures to every service but the one that accepts only signed calls.
func (a *alerting) failAsUsual(t *testing.T) {
	t.Helper()
	for _, name := range []string{"mail", "deferrals", "silent", "refused", "hanging", "full"} {
		for _, tag := range []string{"newsletter", "receipts", "welcome"} {
			a.services[name].report(t, 1, "550 5.1.1", tag)
		}
	}
	a.services["bounds"].report(t, 1, "550 5.1.1")
	a.services["deferrals"].report(t, 1, "452 4.2.2")
}

// recordHistory writes what the rules would have recorded in the two weeks before, on quiet days.
func recordHistory(t *testing.T, data string, until time.Time) {
	t.Helper()
	known := func(job, cause, code, status string) string {
		return fmt.Sprintf(`job_kind:email_delivery_failures:increase10m{job=%q,error_type=%q,`+
			`smtp_response_status_code=%q,smtp_response_enhanced_status_code=%q}`, job, cause, code, status)
	}
	history := map[string]int{
		`job:otelcol_smtp_failure_requests_accepted:increase1h{job="silent"}`: 100,
		`job:email_deliveries:increase1h{job="rates"}`:                        100,
	}
	for _, job := range []string{"mail", "deferrals"} {
		maps.Copy(history, map[string]int{
			`job_class:email_delivery_failures:increase15m{job="` + job + `",email_failure_class="permanent"}`: 12,
			`job_class:email_delivery_failures:increase15m{job="` + job + `",email_failure_class="transient"}`: 12,
			known(job, "recipient_unknown", "550", "5.1.1"):                                                    8,
			known(job, "reputation_block", "550", "5.7.1"):                                                     1,
			known(job, "authentication_failed", "550", "5.7.26"):                                               1,
			known(job, "mailbox_full", "452", "4.2.2"):                                                         8,
			known(job, "rate_limited", "421", "4.7.28"):                                                        1,
		})
		for _, tag := range []string{"newsletter", "receipts", "welcome"} {
			history[`job_tag:email_delivery_failures_by_tag:increase1h{job="`+job+`",email_tag="`+tag+`"}`] = 15
		}
	}
	var text bytes.Buffer
	const step = time.Second
	for at := until.Add(-15 * 24 * time.Hour / alertScale); at.Before(until.Add(-step)); at = at.Add(step) {
		for name, value := range history {
			fmt.Fprintf(&text, "%s %d %.3f\n", name, value, float64(at.UnixMilli())/1000)
		}
	}
	text.WriteString("# EOF\n")
	check(t, promtoolBinary, "tsdb", "create-blocks-from", "openmetrics", "--quiet",
		write(t, "history.txt", text.String()), data)
}

// failureForm returns reports with a code, an enhanced status and, maybe, what the server said.
func failureForm(description string, tags ...string) func(id string) url.Values {
	return func(id string) url.Values {
		status := strings.Fields(description)
		return (&report{
			ID: id, Type: "failure", Action: "failed", Time: 1795256098, Recipient: "one@example.com", State: "rcptto",
			Code: status[0], Extended: status[1], Description: description, Tags: tags,
		}).form()
	}
}

// report sends new reports, which have to be accepted.
func (s *alertService) report(t *testing.T, count int, description string, tags ...string) {
	t.Helper()
	s.call(t, count, http.StatusOK, failureForm(description, tags...))
}

// deliver reports deliveries.
func (s *alertService) deliver(t *testing.T, count int, tags ...string) {
	t.Helper()
	s.call(t, count, http.StatusOK, func(id string) url.Values {
		return (&report{ID: id, Type: "delivery", Time: 1795256098, Recipient: "one@example.com", Tags: tags}).form()
	})
}

// call makes calls, each with another id, which have to be answered with a status.
func (s *alertService) call(t *testing.T, count, status int, form func(id string) url.Values) {
	t.Helper()
	for range count {
		s.calls++
		s.called = time.Now()
		require.Equal(t, status, post(s.url(), form(strconv.Itoa(s.calls))), "a call to %s", s.name)
	}
}

// find returns an alert of the service that fires, nil if none does.
func (s *alertService) find(t *testing.T, alert string, want matching) *promv1.Alert {
	t.Helper()
	result, err := s.alerting.Alerts(t.Context())
	require.NoError(t, err)
	for _, one := range result.Alerts {
		if one.State == promv1.AlertStateFiring && string(one.Labels["alertname"]) == alert &&
			string(one.Labels["job"]) == s.name && want.match(one.Labels) {
			return &one
		}
	}
	return nil
}

// fires checks that an alert fires after the cause and did not before.
func (s *alertService) fires(t *testing.T, cause func(), alert string, want matching) {
	t.Helper()
	require.Nil(t, s.find(t, alert, want), "%s fires before anything happened", alert)
	began := time.Now()
	cause()
	s.firesSince(t, began, alert, want)
}

// firesDuring does the same with a cause that is repeated until the alert fires.
func (s *alertService) firesDuring(t *testing.T, cause func(), alert string, want matching) {
	t.Helper()
	s.fires(t, func() {
		s.eventually(t, alert+" fires", func() bool {
			if time.Since(s.called) > time.Second/2 {
				cause()
			}
			return s.find(t, alert, want) != nil
		})
	}, alert, want)
}

// firesSince waits until an alert fires that was caused at began.
func (s *alertService) firesSince(t *testing.T, began time.Time, alert string, want matching) {
	t.Helper()
	var found *promv1.Alert
	s.alerting.eventually(t, alert+" fires for "+s.name, func() bool {
		found = s.find(t, alert, want)
		return found != nil
	})
	t.Logf("%s after %.1f s: %s; %s", alert, time.Since(began).Seconds(), found.Annotations["summary"],
		found.Annotations["description"])
	for name, text := range found.Annotations {
		assert.NotRegexp(t, "^$|<no value>|error expanding", string(text), "the annotation %s of %s", name, alert)
	}
	labels := matching{"alertname": model.LabelValue(alert), "job": model.LabelValue(s.name)}
	maps.Copy(labels, want)
	s.alerting.mutex.Lock()
	defer s.alerting.mutex.Unlock()
	s.alerting.shown = append(s.alerting.shown, demonstration{alert, labels, began})
}

// firedOnlyWhenCaused checks that no alert has fired before its cause.
func (a *alerting) firedOnlyWhenCaused(t *testing.T) {
	t.Helper()
	fired := a.samples(t, `ALERTS{alertstate="firing"}[1h]`, time.Now())
	for _, s := range fired {
		i := slices.IndexFunc(a.shown, func(d demonstration) bool { return d.labels.match(s.Metric) })
		if i < 0 {
			assert.True(t, slices.ContainsFunc(sideEffects, func(e matching) bool { return e.match(s.Metric) }),
				"nothing was done to make this fire: %v", s.Metric)
			continue
		}
		assert.False(t, s.Values[0].Timestamp.Time().Before(a.shown[i].caused),
			"this fired before anything was done to make it: %v", s.Metric)
	}
	assert.GreaterOrEqual(t, len(fired), len(a.shown))
}

// sideEffects are alerts that the causes of others make fire too.
var sideEffects = []matching{
	// Until the first scrape there is no collector.
	{"alertname": "SMTPFailureCollectorDown", "job": ""},
	// It makes the rate rise.
	{"alertname": "SMTPFailureReputationBlock", "job": "rates"},
	// Reports that cannot be stored are refused.
	{"alertname": "SMTPFailureCallsRefused", "job": "full"},
}
