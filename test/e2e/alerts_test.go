package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// alertScale is how much faster time passes for the rules: an hour is 36 seconds. Nothing else of them is changed.
	alertScale  = 100
	alertScrape = 250 * time.Millisecond
	// firing is how long an alert may take from its cause.
	firing = time.Minute
)

var (
	ruleDuration = regexp.MustCompile(`\b([0-9]+)(ms|[smhdwy])\b`)
	ruleUnits    = map[string]time.Duration{
		"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
		"d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "y": 365 * 24 * time.Hour,
	}
	alertName = regexp.MustCompile(`(?m)^ *- alert: (\w+)$`)
)

// scaled divides every duration in the text of rules: of ranges, offsets and subqueries, `for` and `interval`.
func scaled(rules string, by int64) string {
	return ruleDuration.ReplaceAllStringFunc(rules, func(text string) string {
		parts := ruleDuration.FindStringSubmatch(text)
		number, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return text
		}
		return strconv.FormatInt(number*ruleUnits[parts[2]].Milliseconds()/by, 10) + "ms"
	})
}

func TestScaled(t *testing.T) {
	for rules, want := range map[string]string{
		"for: 5m":                           "for: 3000ms",
		"interval: 1m":                      "interval: 600ms",
		"keep_firing_for: 30s":              "keep_firing_for: 300ms",
		"a:b:increase15m_usual{job=\"1h\"":  "a:b:increase15m_usual{job=\"36000ms\"",
		"increase(x_total[15m] offset 1w)":  "increase(x_total[9000ms] offset 6048000ms)",
		"max_over_time(a:b:c1h[14d:500ms])": "max_over_time(a:b:c1h[12096000ms:5ms])",
		"5.7.x, 4m.x, 0.5 * x > 20":         "5.7.x, 2400ms.x, 0.5 * x > 20",
	} {
		if got := scaled(rules, alertScale); got != want {
			t.Errorf("%s became %s, want %s", rules, got, want)
		}
	}
}

// TestAlerts brings every alert of examples/prometheus/alerts.yaml about, from calls to firing in a real Prometheus that scrapes the distribution.
//
// The rules are the ones in the files, with all their durations divided by alertScale, and so is the lookback of Prometheus. What was recorded in the
// two weeks before, which some compare with, is filled in before Prometheus starts. All else happens.
func TestAlerts(t *testing.T) {
	a := startAlerting(t)

	t.Run("from call to firing", func(t *testing.T) {
		t.Run("mail", func(t *testing.T) {
			t.Parallel()
			service := a.services["mail"]
			a.fires(t, func() {
				service.report(t, 1, "550", "5.7.20", "password-reset")
			}, "SMTPFailureNewKind", matching{"smtp_response_status_code": "550", "smtp_response_enhanced_status_code": "5.7.20"}, service)
			began := time.Now()
			a.firesDuring(t, func() {
				service.report(t, 20, "550", "5.1.1", "autumn")
			}, "SMTPFailurePermanentSpike", matching{"email_failure_class": "permanent"}, service)
			a.firesSince(t, began, "SMTPFailureTagOutlier", matching{"email_tag": "autumn"}, service)
			a.firesDuring(t, func() {
				service.reportSaying(t, 20, "550", "5.7.1", "Client host [192.0.2.1] blocked using zen.example")
			}, "SMTPFailureReputationBlock", matching{"error_type": "reputation_block"}, service)
			a.firesDuring(t, func() {
				service.reportSaying(t, 20, "550", "5.7.26", "DMARC policy of example.com rejects this message")
			}, "SMTPFailureAuthentication", matching{"error_type": "authentication_failed"}, service)
		})
		t.Run("deferrals", func(t *testing.T) {
			t.Parallel()
			service := a.services["deferrals"]
			a.firesDuring(t, func() {
				service.report(t, 10, "452", "4.2.2")
			}, "SMTPFailureDeferralsPilingUp", matching{"email_failure_class": "transient"}, service)
			a.firesDuring(t, func() {
				service.reportSaying(t, 20, "421", "4.7.28", "Too many messages from your address, slow down")
			}, "SMTPFailureRateLimited", matching{"error_type": "rate_limited"}, service)
		})
		t.Run("rates", func(t *testing.T) {
			t.Parallel()
			service := a.services["rates"]
			began := time.Now()
			a.firesDuring(t, func() {
				service.deliver(t, 20, "autumn")
				service.reportSaying(t, 10, "550", "5.7.1", "Client host [192.0.2.1] blocked using zen.example", "autumn")
			}, "SMTPFailureRateHigh", nil, service)
			a.firesSince(t, began, "SMTPFailureRateHighByTag", matching{"email_tag": "autumn"}, service)
			a.firesSince(t, began, "SMTPFailureRateHighByProvider", matching{"email_recipient_domain": "example.com"}, service)
			a.firesSince(t, began, "SMTPFailureRateOfCause", matching{"error_type": "reputation_block"}, service)
			// Nothing is sent any more.
			a.firesSince(t, service.called, "SMTPFailureDeliveriesSilent", nil, service)
		})
		t.Run("silence", func(t *testing.T) {
			t.Parallel()
			service := a.services["silent"]
			a.firesSince(t, service.called, "SMTPFailureSenderSilent", nil, service)
		})
		t.Run("forged calls", func(t *testing.T) {
			t.Parallel()
			service := a.services["signed"]
			a.fires(t, func() {
				service.call(t, 8, http.StatusUnauthorized, func(n int) url.Values { return url.Values{"id": {strconv.Itoa(n)}} })
			}, "SMTPFailureForgedCalls", matching{"reason": "missing_signature"}, service)
			a.fires(t, service.kill, "SMTPFailureCollectorDown", nil, service)
		})
		t.Run("bounds", func(t *testing.T) {
			t.Parallel()
			service := a.services["bounds"]
			a.fires(t, func() {
				service.call(t, 8, http.StatusBadRequest, func(int) url.Values { return url.Values{"state": {"rcptto"}} })
			}, "SMTPFailureCallsUnreadable", matching{"outcome": "invalid"}, service)
			a.fires(t, func() {
				service.report(t, 1, "550", "5.1.1", "one", "two", "three", "four")
			}, "SMTPFailureSeriesOverflow", matching{"metric": "email.delivery.failures.by_tag"}, service)
			a.fires(t, func() {
				service.report(t, 10, "550", "5.1.1")
			}, "SMTPFailureEvictions", nil, service)
		})
		t.Run("a backend that refuses", func(t *testing.T) {
			t.Parallel()
			service := a.services["refused"]
			began := time.Now()
			a.fires(t, func() {
				service.sink.refuse("logs")
				service.call(t, 3, http.StatusServiceUnavailable, func(n int) url.Values { return failureForm(n, "550", "5.1.1") })
			}, "SMTPFailureCallsRefused", matching{"outcome": "unavailable"}, service)
			a.firesSince(t, began, "SMTPFailureExportFailed", matching{"exporter": "otlp_http/sink", "what": "log records"}, service)
			began = time.Now()
			a.fires(t, func() { service.sink.refuse("metrics") }, "SMTPFailureFlushesRefused", nil, service)
			a.firesSince(t, began, "SMTPFailureExportFailed", matching{"what": "metric points"}, service)
		})
		t.Run("a backend that hangs", func(t *testing.T) {
			t.Parallel()
			service := a.services["hanging"]
			a.fires(t, func() {
				service.sink.hang()
				service.report(t, 10, "550", "5.1.1")
			}, "SMTPFailureExportQueueFull", matching{"exporter": "otlp_http/sink", "data_type": "logs"}, service)
		})
		t.Run("a store that is full", func(t *testing.T) {
			t.Parallel()
			service := a.services["full"]
			a.fires(t, func() {
				for n := 1000; service.post(t, failureForm(n, "550", "5.1.1", "a tag that takes some room "+strconv.Itoa(n))) == http.StatusOK; n++ {
					if n > 20000 {
						t.Fatal("the store takes all")
					}
				}
			}, "SMTPFailureStoreWritesFailed", matching{"outcome": "failed"}, service)
		})
	})
	if t.Failed() {
		return
	}

	for _, name := range a.names {
		if !slices.ContainsFunc(a.demonstrated, func(d demonstration) bool { return d.alert == name }) {
			t.Errorf("nothing brings %s about", name)
		}
	}
	a.firedOnlyWhenCaused(t)
}

type matching map[string]string

// demonstration is an alert that was brought about.
type demonstration struct {
	alert, job string
	labels     matching
	caused     time.Time
}

// alerting is a Prometheus with the alerts, and the collectors that it scrapes.
type alerting struct {
	*prometheusServer

	names    []string // of the alerts in the file
	services map[string]*alertService

	mutex        sync.Mutex
	demonstrated []demonstration
}

// alertService is a collector, which is a service of its own to the rules.
type alertService struct {
	*collector

	name            string
	counters, selfs string // addresses of what Prometheus scrapes
	sink            *alertSink
	calls           int
	called          time.Time
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
			"email.delivery.failures: {attributes: [error.type, email.failure.mode, email.failure.class, email.recipient.domain]}, " +
			"email.deliveries: {enabled: true, attributes: [email.recipient.domain]}, email.deliveries.by_tag: {enabled: true}}",
	},
	"full": {"receivers::smtp_failure::storage=file_storage", "extensions::file_storage::max_size=131072"},
}

func startAlerting(t *testing.T) *alerting {
	t.Helper()
	requireBinary(t, promtoolBinary)
	directory := t.TempDir()
	a := &alerting{services: map[string]*alertService{}}

	var config strings.Builder
	fmt.Fprintf(&config, "global: {scrape_interval: %s, evaluation_interval: %s}\nrule_files:\n", alertScrape, time.Minute/alertScale)
	for _, name := range []string{"rules.yaml", "alerts.yaml"} {
		rules, err := os.ReadFile(root + "/examples/prometheus/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range alertName.FindAllSubmatch(rules, -1) {
			a.names = append(a.names, string(match[1]))
		}
		path := filepath.Join(directory, name)
		if err := os.WriteFile(path, []byte(scaled(string(rules), alertScale)), 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&config, "  - %s\n", path)
	}
	if len(a.names) == 0 {
		t.Fatal("found no alerts")
	}

	config.WriteString("scrape_configs:\n")
	for name, settings := range alertSettings {
		service := startAlertService(t, name, settings)
		a.services[name] = service
		fmt.Fprintf(&config, "  - {job_name: %s counters, honor_labels: true, static_configs: [{targets: ['%s']}]}\n", name, service.counters)
		fmt.Fprintf(&config, "  - {job_name: %s, static_configs: [{targets: ['%s']}]}\n", name, service.selfs)
	}
	for _, service := range a.services {
		service.eventually(t, "it answers", func() bool {
			response, err := http.Get(service.failuresURL)
			return err == nil && response.Body.Close() == nil
		})
	}

	data := filepath.Join(directory, "data")
	recordHistory(t, data, time.Now())
	configFile, address := filepath.Join(directory, "prometheus.yaml"), freeAddress(t)
	if err := os.WriteFile(configFile, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	a.prometheusServer = &prometheusServer{startServer(t, "Prometheus", address, "/-/ready", nil, prometheusBinary,
		"--config.file="+configFile,
		"--storage.tsdb.path="+data,
		"--web.listen-address="+address,
		"--query.lookback-delta="+(5*time.Minute/alertScale).String(),
	)}

	// Failures as there always are: some before the first scrape, which only show that there are such counters, and some after it.
	a.failAsUsual(t)
	a.recorded(t, `count(otelcol_smtp_failure_requests{outcome="accepted"} > 0) == 7 and count(count by (job) (email_delivery_failures_total)) == 7`)
	a.failAsUsual(t)
	a.recorded(t, `count(job_outcome:otelcol_smtp_failure_requests:increase15m{outcome="accepted"} > 0) == 7`)
	a.recorded(t, `job:otelcol_smtp_failure_requests_taken:increase1h{job="silent"} > 0`)
	a.recorded(t, `count(job_class:email_delivery_failures:increase15m_usual{job=~"mail|deferrals"}) >= 2`)
	a.recorded(t, `count(job_tag:email_delivery_failures_by_tag:increase1h{job="mail"}) == 3`)
	return a
}

// failAsUsual reports some failures to every service but the one that takes only signed calls.
func (a *alerting) failAsUsual(t *testing.T) {
	t.Helper()
	for _, name := range []string{"mail", "deferrals", "silent", "refused", "hanging", "full"} {
		for _, tag := range []string{"newsletter", "receipts", "welcome"} {
			a.services[name].report(t, 1, "550", "5.1.1", tag)
		}
	}
	a.services["bounds"].report(t, 1, "550", "5.1.1")
	a.services["deferrals"].report(t, 1, "452", "4.2.2")
}

// recorded waits until a query has a result.
func (a *alerting) recorded(t *testing.T, query string) {
	t.Helper()
	a.eventually(t, deadline, query, func() error {
		if len(a.query(t, query, time.Now())) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
}

// recordHistory fills in what the rules would have recorded in the two weeks before on quiet days, in which reports came all the time.
func recordHistory(t *testing.T, data string, until time.Time) {
	t.Helper()
	known := func(job, cause, code, status string) string {
		return fmt.Sprintf(`job_kind:email_delivery_failures:increase10m{job=%q,error_type=%q,`+
			`smtp_response_status_code=%q,smtp_response_enhanced_status_code=%q}`, job, cause, code, status)
	}
	history := map[string]int{
		`job:otelcol_smtp_failure_requests_taken:increase1h{job="silent"}`: 100,
		`job:email_deliveries:increase1h{job="rates"}`:                     100,
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
			fmt.Fprintf(&text, "%s %d %s\n", name, value, unix(at))
		}
	}
	text.WriteString("# EOF\n")
	file := filepath.Join(t.TempDir(), "history.txt")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), promtoolBinary, "tsdb", "create-blocks-from", "openmetrics", "--quiet", file, data)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("fill in the history: %v\n%s", err, output)
	}
}

func startAlertService(t *testing.T, name string, settings []string) *alertService {
	t.Helper()
	receiver := freeAddress(t)
	s := &alertService{name: name, counters: freeAddress(t), selfs: freeAddress(t), sink: startAlertSink(t)}
	args := []string{"--config", "testdata/alerts.yaml"}
	for _, setting := range settings {
		args = append(args, "--set", setting)
	}
	var err error
	s.collector, err = launch([]string{
		"SERVICE=" + name, "RECEIVER=" + receiver, "COUNTERS=" + s.counters, "TELEMETRY_PORT=" + port(t, s.selfs),
		"SINK=" + s.sink.url, "STORE=" + t.TempDir(),
	}, args...)
	if err != nil {
		t.Fatal(err)
	}
	s.failuresURL = "http://" + receiver + "/failures"
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the end of the output of the collector of %s:\n%s", name, tail(s.output.String(), 20))
		}
	})
	return s
}

// failureForm is a report, the same for the same number.
func failureForm(n int, code, extended string, tags ...string) url.Values {
	return url.Values{
		"id": {"alert-" + strconv.Itoa(n)}, "type": {"failure"}, "action": {"failed"}, "time": {"1795256098"}, "recipient": {"one@example.com"},
		"state": {"rcptto"}, "code": {code}, "extended": {extended}, "description": {code + " " + extended}, "tags[]": tags,
	}
}

// report sends new reports, which have to be taken.
func (s *alertService) report(t *testing.T, count int, code, extended string, tags ...string) {
	t.Helper()
	s.call(t, count, http.StatusOK, func(n int) url.Values { return failureForm(n, code, extended, tags...) })
}

// reportSaying sends new reports with what a server said.
func (s *alertService) reportSaying(t *testing.T, count int, code, extended, words string, tags ...string) {
	t.Helper()
	s.call(t, count, http.StatusOK, func(n int) url.Values {
		form := failureForm(n, code, extended, tags...)
		form.Set("description", code+" "+extended+" "+words)
		return form
	})
}

// deliver reports deliveries.
func (s *alertService) deliver(t *testing.T, count int, tags ...string) {
	t.Helper()
	s.call(t, count, http.StatusOK, func(n int) url.Values {
		return url.Values{
			"id": {"alert-" + strconv.Itoa(n)}, "type": {"delivery"}, "time": {"1795256098"}, "recipient": {"one@example.com"}, "tags[]": tags,
		}
	})
}

// call makes calls, each with another number, which have to be answered with a status.
func (s *alertService) call(t *testing.T, count, status int, form func(n int) url.Values) {
	t.Helper()
	for range count {
		s.calls++
		if got := s.post(t, form(s.calls)); got != status {
			t.Fatalf("a call to %s was answered with %d, want %d", s.name, got, status)
		}
	}
}

func (s *alertService) post(t *testing.T, form url.Values) int {
	t.Helper()
	s.called = time.Now()
	response, err := http.PostForm(s.failuresURL, form)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// alertSink takes OTLP over HTTP, until it is told not to.
type alertSink struct {
	url string

	mutex   sync.Mutex
	refused map[string]bool
	hanging bool
}

func startAlertSink(t *testing.T) *alertSink {
	t.Helper()
	s := &alertSink{refused: map[string]bool{}}
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		s.mutex.Lock()
		refused, hanging := s.refused[strings.TrimPrefix(r.URL.Path, "/v1/")], s.hanging
		s.mutex.Unlock()
		if hanging {
			<-ended
		}
		if refused {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(ended) })
	s.url = server.URL
	return s
}

// refuse has it refuse logs or metrics from now on.
func (s *alertSink) refuse(signal string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.refused[signal] = true
}

// hang has it answer nothing from now on.
func (s *alertSink) hang() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.hanging = true
}

// activeAlert is an alert as Prometheus has it.
type activeAlert struct {
	Labels, Annotations map[string]string
	State               string
}

// active returns the alerts that are pending or firing.
func (a *alerting) active(t *testing.T) []activeAlert {
	t.Helper()
	var data struct{ Alerts []activeAlert }
	if err := a.api("/api/v1/alerts", nil, &data); err != nil {
		t.Fatal(err)
	}
	return data.Alerts
}

// find returns an alert of a service that fires, nil if none does.
func (a *alerting) find(t *testing.T, alert string, want matching, service *alertService) *activeAlert {
	t.Helper()
	for _, one := range a.active(t) {
		matches := one.State == "firing" && one.Labels["alertname"] == alert && one.Labels["job"] == service.name
		for name, value := range want {
			matches = matches && one.Labels[name] == value
		}
		if matches {
			return &one
		}
	}
	return nil
}

// fires brings an alert about, which must not fire before.
func (a *alerting) fires(t *testing.T, cause func(), alert string, want matching, service *alertService) {
	t.Helper()
	if found := a.find(t, alert, want, service); found != nil {
		t.Fatalf("%s fires before anything happened: %v", alert, found)
	}
	began := time.Now()
	cause()
	a.firesSince(t, began, alert, want, service)
}

// firesDuring brings an alert about by something that goes on until it fires.
func (a *alerting) firesDuring(t *testing.T, cause func(), alert string, want matching, service *alertService) {
	t.Helper()
	a.fires(t, func() {
		a.eventually(t, firing, alert+" fires", func() error {
			if a.find(t, alert, want, service) != nil {
				return nil
			}
			if time.Since(service.called) > time.Second/2 {
				cause()
			}
			return fmt.Errorf("active are %v", a.active(t))
		})
	}, alert, want, service)
}

// firesSince waits until an alert fires that was brought about.
func (a *alerting) firesSince(t *testing.T, began time.Time, alert string, want matching, service *alertService) {
	t.Helper()
	var found *activeAlert
	a.eventually(t, firing, alert+" fires", func() error {
		if found = a.find(t, alert, want, service); found == nil {
			return fmt.Errorf("active are %v", a.active(t))
		}
		return nil
	})
	t.Logf("%s after %.1f s: %s; %s", alert, time.Since(began).Seconds(), found.Annotations["summary"], found.Annotations["description"])
	for name, text := range found.Annotations {
		if text == "" || strings.Contains(text, "<no value>") || strings.Contains(text, "error expanding") {
			t.Errorf("%s has the annotation %s: %q", alert, name, text)
		}
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.demonstrated = append(a.demonstrated, demonstration{alert: alert, job: service.name, labels: want, caused: began})
}

// firedOnlyWhenCaused checks all that fired since Prometheus runs, of the alerts that were brought about: none did before.
func (a *alerting) firedOnlyWhenCaused(t *testing.T) {
	t.Helper()
	fired := a.samples(t, `ALERTS{alertstate="firing"}[1h]`, time.Now())
	for _, s := range fired {
		i := slices.IndexFunc(a.demonstrated, func(d demonstration) bool {
			matches := s.labels["alertname"] == d.alert && s.labels["job"] == d.job
			for name, value := range d.labels {
				matches = matches && s.labels[name] == value
			}
			return matches
		})
		switch {
		case i < 0 && !slices.ContainsFunc(sideEffects, func(e matching) bool {
			return e["alertname"] == s.labels["alertname"] && e["job"] == s.labels["job"]
		}):
			t.Errorf("nothing was done to make this fire: %v", s.labels)
		case i >= 0 && s.first().at.Before(a.demonstrated[i].caused):
			t.Errorf("this fired before anything was done to make it: %v", s.labels)
		}
	}
	if len(fired) < len(a.demonstrated) {
		t.Errorf("%d alerts fired, %d were brought about", len(fired), len(a.demonstrated))
	}
}

// sideEffects are alerts that fire along with the ones that are brought about, and should.
var sideEffects = []matching{
	// Until the first scrape there is no collector.
	{"alertname": "SMTPFailureCollectorDown"},
	// What lets the rate rise.
	{"alertname": "SMTPFailureReputationBlock", "job": "rates"},
	// The reports that cannot be stored.
	{"alertname": "SMTPFailureCallsRefused", "job": "full"},
}
